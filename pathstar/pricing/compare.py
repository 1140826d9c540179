"""What a training step costs by mixer, objective, runs in a pack and length, timed in turn in one process: all see the same machine.

On the config's own task, or (`lengths`) on random tokens of that many positions, every one of which is predicted: graphs of a path-star
task that long would change the vocabulary and the share of the target as well. `pathstar bench --mixers=... --objectives=... --packs=...`
prints and draws it.
"""

import dataclasses
import pathlib
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np
from matplotlib.figure import Figure

from pathstar import config
from pathstar.devices.mesh import make_mesh, over_runs
from pathstar.objectives.next_token import NextToken
from pathstar.reports import figures
from pathstar.reports.csv_files import PROVENANCE, begin, read_csv, write_csv
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.training import flops
from pathstar.training.feed import device_batches
from pathstar.training.program import abstract_inputs, compile_program, pack_values, parameter_counts

COLUMNS = ("mixer", "objective", "runs", "inputs", "length", "batch_size", "step_ms", "step_ms_median", "ratio", "examples_per_second",
           "peak_mib", "parameters", "parameters_used", "flops_per_step")


@dataclasses.dataclass(frozen=True)
class RandomTokens:
  """A stand-in for a task: `length` inputs, each of which predicts the next token, over a vocabulary of the task's size."""

  length: int
  vocab_size: int
  prefix_length: int = 1

  answers_vary = False
  branch = separator = None

  @property
  def target_length(self) -> int:
    return self.length

  def examples(self, seed, split: str, index_B) -> dict[str, np.ndarray]:
    """Prefix (B, 1), target and weight (B, length), drawn from the first index."""
    tokens = np.random.default_rng(int(index_B[0])).integers(0, self.vocab_size, (len(index_B), 1 + self.length), np.int32)
    return {"prefix": tokens[:, :1], "target": tokens[:, 1:], "weight": np.ones((len(index_B), self.length), np.float32)}


def on_random_tokens(resolved: config.Config, length: int) -> config.Config:
  """The config with random tokens in place of its task, and one step per dispatch."""
  task = RandomTokens(length, resolved.task.vocab_size)
  model = dataclasses.replace(resolved.model, max_length=length)
  one_step = dataclasses.replace(resolved.train, steps_per_call=1)
  return dataclasses.replace(resolved, task=task, model=model, objective=NextToken(task), train=one_step, files=None)


def prepare(configs: Sequence[config.Config]) -> tuple[Callable[[], float], dict]:
  """(a function that runs one dispatch of a pack and returns its milliseconds a step, what is known without running)."""
  configs, resolved = tuple(configs), configs[0]
  mesh = make_mesh(resolved.mesh, len(configs), resolved.train.batch_size)
  with jax.set_mesh(mesh):
    program = compile_program(configs, mesh)
    steps = program.steps.lower(*abstract_inputs(configs, program)).compile()
    values = over_runs(mesh, pack_values(configs))
    state = program.init(values)
    batch = next(device_batches(configs, program.batch_sharding, 0))  # the same every time: only the step is timed

  def dispatch() -> float:
    nonlocal state
    begin = time.perf_counter()
    state, _ = jax.block_until_ready(steps(state, values, batch))
    return 1e3 * (time.perf_counter() - begin) / resolved.steps_per_call

  memory = steps.memory_analysis()
  peak = (memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes)
  return dispatch, {
      "mixer": resolved.fields["model.mixer"],
      "objective": resolved.fields["objective.name"],
      "runs": len(configs),
      "inputs": str(resolved.task) if not isinstance(resolved.task, RandomTokens) else "random tokens",
      "length": resolved.input_length,
      "batch_size": resolved.train.batch_size,
      "peak_mib": peak / 2**20,
      "flops_per_step": flops.of_step(resolved, mesh.devices.flat[0].platform).total,
      **parameter_counts(resolved),
  }


def compare(fields, ways: Sequence[dict], lengths: Sequence[int], repeats: int, packs: Sequence[int] = (1,),
            given: Iterable[str] = ()) -> Iterator[dict]:
  """One row (see COLUMNS) per length, way (fields that it sets, as {"model.mixer": "s5"}) and number of runs in a pack.

  `ratio`: a step's time over that of the first way and pack, median over rounds of taking turns. `examples_per_second`: of all runs of a
  pack together, at its median; two packs of one run each, one after the other, have that of one run. `given`: fields that one of them
  must use.
  """
  one = lambda way, seed: config.resolve(config.override(fields, way | {"seed": seed}), given=())
  resolved = [[one(way, seed) for seed in range(runs)] for way in ways for runs in packs]
  config.check_used(fields, given, [runs[0] for runs in resolved])
  for length in lengths or (None,):
    settings = [prepare(runs if length is None else [on_random_tokens(one, length) for one in runs]) for runs in resolved]
    for dispatch, _ in settings:  # the first is not counted
      dispatch()
    ms_KxM = np.array([[dispatch() for dispatch, _ in settings] for _ in range(repeats)])
    for m, (_, known) in enumerate(settings):
      median = np.median(ms_KxM[:, m])
      yield known | {"step_ms": ms_KxM[:, m].min(), "step_ms_median": median, "ratio": np.median(ms_KxM[:, m] / ms_KxM[:, 0]),
                     "examples_per_second": 1e3 * known["runs"] * known["batch_size"] / median}


_SHOWN = {  # heading -> text of a row
    "inputs": lambda row, first: row["inputs"],
    "length": lambda row, first: str(row["length"]),
    "batch": lambda row, first: str(row["batch_size"]),
    "mixer": lambda row, first: row["mixer"],
    "objective": lambda row, first: row["objective"],
    "runs": lambda row, first: str(row["runs"]),
    "ms a step": lambda row, first: f"{row['step_ms']:,.1f}",
    "median": lambda row, first: f"{row['step_ms_median']:,.1f}",
    "over the first": lambda row, first: f"{row['ratio']:.2f}",
    "FLOPs over the first": lambda row, first: f"{row['flops_per_step'] / first['flops_per_step']:.2f}",
    "examples/s": lambda row, first: f"{row['examples_per_second']:,.0f}",
    "peak MiB": lambda row, first: f"{row['peak_mib']:,.1f}",
    "parameters": lambda row, first: f"{row['parameters']:,}",
    "kept": lambda row, first: f"{row['parameters_used']:,}",
}
_LATER = {"objective": "objective", "FLOPs over the first": "flops_per_step", "kept": "parameters_used"}  # columns that old files lack


def markdown(rows: Iterable[dict]) -> Iterator[str]:
  """Markdown, line by line as rows come."""
  first = None
  for row in rows:
    if first is None:
      first = row
      shown = [name for name in _SHOWN if _LATER.get(name, "inputs") in row]
      yield "| " + " | ".join(shown) + " |\n|" + "---|" * len(shown)
    yield "| " + " | ".join(_SHOWN[name](row, first) for name in shown) + " |"


def draw(rows: Sequence[dict]) -> Figure:
  """Time and peak memory of a training step against sequence length, both axes logarithmic, with lines of slope 1 and 2."""
  figure = Figure(figsize=(7.4, 3.2), layout="constrained")
  lengths = sorted({row["length"] for row in rows})
  for axes, (column, label) in zip(figure.subplots(1, 2), (("step_ms", "ms a training step"), ("peak_mib", "peak memory, MiB"))):
    for m, mixer in enumerate(dict.fromkeys(row["mixer"] for row in rows)):
      axes.plot(lengths, [row[column] for n in lengths for row in rows if row["mixer"] == mixer and row["length"] == n],
                color=str(0.6 * m / 3), ls=figures.LINES[m % 4], marker=figures.MARKERS[m], ms=4.5, label=mixer)
    top = max(row[column] for row in rows if row["length"] == lengths[-1])
    for slope, name in ((1, "slope 1"), (2, "slope 2")):
      axes.plot(lengths, [top * (n / lengths[-1])**slope for n in lengths], color="0.75", lw=0.8, ls=(0, (1, 3)), zorder=0)
      axes.annotate(name, (lengths[-2], top * (lengths[-2] / lengths[-1])**slope), fontsize=7, color="0.5", ha="right", va="bottom")
    values = [row[column] for row in rows]
    axes.set(xscale="log", yscale="log", xlabel="sequence length", ylabel=label, ylim=(min(values) / 2, 2 * max(values)))
    axes.set_xticks(lengths, [str(n) for n in lengths])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
  figures.top_legend(figure, [axes], 5, 9)
  return figure


def write(out: pathlib.Path, rows: Sequence[dict]) -> None:
  """runs.csv and provenance.json, and what is drawn from them."""
  begin(out, of_runs=False)
  workdir.write_json(out / PROVENANCE, environment())
  write_csv(out / "runs.csv", COLUMNS, rows)
  redraw(out)


def redraw(out: pathlib.Path) -> None:
  """table.md, a figure if there are several lengths, and a README that says where they come from, from the files in `out`."""
  rows, source = read_csv(out / "runs.csv", set(COLUMNS) - set(_LATER.values())), workdir.read_json(out / PROVENANCE)
  lines = "\n".join(markdown(rows)) + "\n"
  workdir.write_text(out / "table.md", lines)
  picture = []
  lengths, mixers, objectives, packs = ({row.get(name) for row in rows} for name in ("length", "mixer", "objective", "runs"))
  (out / "scaling.png").unlink(missing_ok=True)
  if len(lengths) > 1 and len(objectives) == len(packs) == 1 and len(rows) == len(lengths) * len(mixers):  # a line a mixer
    draw(rows).savefig(out / "scaling.png", dpi=150)
    picture = ["![cost of a training step against sequence length](scaling.png)", ""]
  workdir.write_text(out / "README.md", "\n".join([
      f"# {shlex.quote(out.as_posix())}", "",
      f"- command: `{source['command']}`",
      f"- commit: `{source['commit']}`",
      f"- hardware: {', '.join(source['devices'])}; {source['cpu']}",
      f"- versions: {', '.join(f'{k} {source[k]}' for k in ('python', 'jax', 'flax', 'optax'))}", "",
      lines,
      "`ms a step`, of all runs of a pack together, is the fastest dispatch; `over the first` the median of ratios between dispatches",
      "that took turns; `examples/s` of all runs together; peak MiB is what the compiler reserves for a step: arguments, results and",
      "temporaries.", "",
      *picture,
      f"Table and figure are drawn again from runs.csv by `pathstar report --out={shlex.quote(out.as_posix())}`.", ""]))
