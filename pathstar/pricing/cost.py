"""A model of the time that packs take on chips that are not here, and of ways to lay a sweep out on many of them.

An optimiser step of a pack on a mesh takes the sum of

    arithmetic    (matmul / matmul rate + vector / vector rate) / devices / utilisation
                  of all its runs, counted by flops.py
    optimiser     28 bytes a parameter held / memory bandwidth
                  AdamW reads a gradient, and reads and writes a parameter and two moments
    gradients     8 (n - 1) / n bytes a parameter held / link bandwidth
                  float32, all-reduced over n = the data axis
    activations   32 (m - 1) / m bytes / link bandwidth, for each number in the residual stream after each block
                  four all-reduces in float32 over m = the model axis

with a chip's published rates (topology.py). `utilisation` is the only assumption. Nothing overlaps; evaluations, input
and compiling are left out; and a step so small that its hundreds of kernels bind it takes longer than this says.
"""

import dataclasses
import heapq
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from pathstar import config
from pathstar.devices import mesh
from pathstar.pricing.topology import Chip, Topology
from pathstar.sweeps.packs import Pack
from pathstar.training import flops


@dataclasses.dataclass(frozen=True)
class Work:
  """What can be counted about a pack without choosing hardware."""

  pack: Pack
  parameters: int  # of one run, all that are trained
  parameters_used: int  # of these, what inference keeps
  flops: flops.Flops  # of one step of one run

  @property
  def config(self) -> config.Config:
    return self.pack.runs[0].config

  @property
  def tokens(self) -> int:
    """Tokens that the model reads in one step of one run."""
    return self.config.train.batch_size * self.config.input_length

  @property
  def step_flops(self) -> float:
    """Of one step of all runs: with it goes the memory that packs of a kind take."""
    return self.flops.total * len(self.pack.runs)

  @property
  def total_flops(self) -> float:
    return self.step_flops * self.config.train.num_steps

  @property
  def kind(self) -> tuple:
    """Packs of a kind have the same program but for sizes."""
    return self.config.fields["model.mixer"], self.config.fields["objective.name"], len(self.pack.runs)


def step_seconds(work: Work, shape: Mapping[str, int], chip: Chip, utilisation: float) -> float:
  """Seconds of one step of a pack on a mesh of this shape."""
  num_runs = len(work.pack.runs)
  num_devices = shape["run"] * shape["data"] * shape["model"]
  held = work.parameters * num_runs / shape["run"] / shape["model"]
  fields = work.config.model.fields
  stream = work.tokens * fields.width * num_runs / shape["run"] / shape["data"]
  ring = lambda n: (n - 1) / n
  ideal = work.flops.matmul / chip.matmul + work.flops.vector / chip.vector
  arithmetic = num_runs * ideal / num_devices / utilisation
  exchanged = 8 * ring(shape["data"]) * held + 32 * ring(shape["model"]) * stream * fields.trunk().depth
  return chip.devices * (arithmetic + 28 * held / chip.bandwidth + exchanged / chip.link)


def makespan(hours: Iterable[float], workers: int) -> float:
  """Hours until all packs are done, if each of `workers` takes the next one when it is free, as jobs on one workdir do."""
  free = [0.0] * workers
  for job in hours:
    heapq.heappushpop(free, free[0] + job)
  return max(free)


@dataclasses.dataclass(frozen=True)
class Layout:
  """How packs are put on hardware: jobs on equal slices `part` of a topology side by side, each over a mesh `spec`."""

  part: Topology
  spec: str
  num_jobs: int
  pack_hours: tuple[float, ...]

  @property
  def hours(self) -> float:
    """Until the last job is done."""
    return makespan(self.pack_hours, self.num_jobs)

  @property
  def chip_hours(self) -> float:
    """In use: a job that has nothing left to do gives its chips back."""
    return sum(self.pack_hours) * self.part.num_chips

  def __str__(self) -> str:
    jobs = "one job" if self.num_jobs == 1 else f"{self.num_jobs} jobs on one --workdir (not by --shard: each takes the next free pack)"
    return (f"{jobs} of {self.part.num_chips} chips ({self.part.name}), --config.mesh={self.spec}: done after "
            f"{self.hours:,.1f} hours, {self.chip_hours:,.0f} chip-hours in use")


def mesh_shape(work: Work, part: Topology, spec: str) -> dict[str, int]:
  return mesh.mesh_shape(spec, len(work.pack.runs), work.config.train.batch_size, part.num_devices)


def layout(works: Sequence[Work], whole: Topology, part: Topology, spec: str, utilisation: float) -> Layout:
  """Times every pack on a slice. Raises UserError if a pack does not fit the mesh."""
  steps = [step_seconds(w, mesh_shape(w, part, spec), part.chip, utilisation) for w in works]
  hours = tuple(step * w.config.train.num_steps / 3600 for w, step in zip(works, steps, strict=True))
  return Layout(part, spec, whole.num_chips // part.num_chips, hours)


def layouts(works: Sequence[Work], whole: Topology, utilisation: float) -> list[Layout]:
  """Every division into equal jobs, with every mesh over all of a job's devices; soonest done, then cheapest, first."""
  found = []
  num_runs = math.gcd(*(len(w.pack.runs) for w in works))
  width = math.gcd(*(w.config.fields[name] for w in works for name in ("model.width", "model.num_heads") if name in w.config.fields))
  batch = math.gcd(*(w.config.train.batch_size for w in works))
  for part in whole.parts():
    for run, model in itertools.product(_divisors(num_runs), _divisors(width)):
      data, rest = divmod(part.num_devices, run * model)
      if not rest and data and batch % data == 0:
        found.append(layout(works, whole, part, f"run={run},data={data},model={model}", utilisation))
  return sorted(found, key=lambda l: (l.hours, l.chip_hours))


def _divisors(number: int) -> list[int]:
  return [n for n in range(1, number + 1) if number % n == 0]
