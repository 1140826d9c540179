"""Accelerators that are not here: what their chips can do, their devices, and programs compiled for them.

    v5e:16x16   a TPU slice, from the `libtpu` package alone (extra `tpu-aot`)
    h200:8      GPUs of one machine, from jax's CUDA plugin alone (extra `cuda-aot`)

Rates and bandwidths are the makers' (cloud.google.com/tpu/docs, NVIDIA's H200 data sheet). That of a TPU's vector unit
is 8 x 128 lanes x 4 units x cores x clock ("How to scale your model", jax-ml.github.io/scaling-book); for v6e and tpu7x
it is a guess. Memory is what XLA says that a program can have; on a GPU, what jax takes by default, three quarters. A TPU's clock is its
rate over the size of its matrix units: 4 of 128 x 128 on v5e, twice that on v4 and v5p, 4 of 256 x 256 on v6e, twice that on tpu7x; on a
GPU time is counted in nanoseconds (traffic.py).
"""

import dataclasses
import importlib.util
import math
import os
import pathlib
import re
import time
from collections.abc import Sequence

import jax

from pathstar.config import Config
from pathstar.devices.collectives import collectives
from pathstar.errors import UserError, choose, nearest
from pathstar.pricing import clock, instructions, traffic
from pathstar.training.program import abstract_inputs, compile_program


@dataclasses.dataclass(frozen=True)
class Chip:
  """One chip, which is `devices` devices to jax. FLOP/s and bytes/s of the chip, memory in bytes of a device."""

  platform: str
  matmul: float  # bfloat16
  vector: float  # float32
  memory: int
  bandwidth: float  # to its own memory
  link: float  # to other chips, in one direction, all links together
  # Share of the peak to assume where nothing is compiled: for TPUs what the clock says of configs/paper.py on one v5e, for GPUs what its
  # step of G(5,5) took on an H100, whose products are as fast (results/gpu); Mamba's share is a quarter of it.
  utilisation: float
  clock: float  # Hz: in a second so many `cycles` of an instruction
  devices: int = 1


_GIB = 2**30
CHIPS = {
    "v4": Chip("tpu", 275e12, 8.6e12, int(30.75 * _GIB), 1.23e12, 300e9, 0.25, 1.05e9),
    "v5e": Chip("tpu", 197e12, 6.1e12, int(15.75 * _GIB), 0.82e12, 200e9, 0.25, 1.5e9),
    "v5p": Chip("tpu", 459e12, 14e12, int(95.74 * _GIB), 2.77e12, 600e9, 0.25, 1.75e9),
    "v6e": Chip("tpu", 918e12, 14e12, int(31.25 * _GIB), 1.64e12, 400e9, 0.25, 1.75e9),
    "tpu7x": Chip("tpu", 2307e12, 28e12, int(94.75 * _GIB), 7.37e12, 600e9, 0.25, 2.2e9, devices=2),
    "h200": Chip("gpu", 989e12, 67e12, 151397597184 * 3 // 4, 4.8e12, 450e9, 0.15, traffic.HERTZ),
}
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBIC = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
SHAPES = {"v4": _CUBIC, "v5e": _FLAT, "v5p": _CUBIC, "v6e": _FLAT, "tpu7x": _CUBIC, "h200": ("1", "2", "4", "8")}
NAMES = tuple(f"{kind}:{shape}" for kind, shapes in SHAPES.items() for shape in shapes)

_PACKAGES = {"tpu": ("libtpu", "tpu-aot"), "gpu": ("jax_cuda13_plugin", "cuda-aot")}  # and the extra that installs it
# libtpu looks for a TPU machine's settings, and only one process may hold it; jax's CUDA plugin looks for a driver and
# cuDNN, which programs need to run, not to compile.
_SETTINGS = {"TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-8", "TPU_WORKER_HOSTNAMES": "localhost",
             "TPU_LOG_DIR": "disabled", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
# Triton's matrix products are tuned by running them, which needs the GPU; without tuning XLA fails on them.
_OPTIONS = {"tpu": None, "gpu": {"xla_gpu_enable_triton_gemm": False}}


@dataclasses.dataclass(frozen=True)
class Topology:
  """A slice or a machine by name, such as v5e:16x16. Raises UserError on an unknown one."""

  name: str

  def __post_init__(self):
    kind, colon, _ = self.name.partition(":")
    if not colon:
      raise UserError(f"topology = {self.name!r}: must be written KIND:SHAPE, as in v5e:4x4{nearest(self.name, NAMES)}")
    choose("topology kind", kind, CHIPS)
    choose("topology", self.name, [name for name in NAMES if name.startswith(f"{kind}:")])

  @property
  def kind(self) -> str:
    return self.name.partition(":")[0]

  @property
  def shape(self) -> str:
    return self.name.partition(":")[2]

  @property
  def chip(self) -> Chip:
    return CHIPS[self.kind]

  @property
  def num_chips(self) -> int:
    return math.prod(map(int, self.shape.split("x")))

  @property
  def num_devices(self) -> int:
    return self.num_chips * self.chip.devices

  def parts(self) -> list["Topology"]:
    """Equal slices that it can be exchanged for, itself first."""
    of_kind = [Topology(f"{self.kind}:{shape}") for shape in reversed(SHAPES[self.kind])]
    return [t for t in of_kind if t.num_chips <= self.num_chips and self.num_chips % t.num_chips == 0]


def missing(topology: Topology) -> str | None:
  """Why there is no compiler for the topology, and how to get it; None: there is one."""
  package, extra = _PACKAGES[topology.chip.platform]
  if importlib.util.find_spec(package):
    return None
  return (f"package {package} is missing: nothing was compiled, so memory and collectives are unknown; to compile, "
          f"install pathstar with its extra {extra!r}, in a checkout by pip install -e '.[{extra}]', and run this again")


def compile_only() -> None:
  """Keeps this process off any accelerator of this machine, since it compiles for others. Call before jax is used."""
  for name, value in _SETTINGS.items():
    os.environ.setdefault(name, value)
  jax.config.update("jax_platforms", "cpu")


def devices(topology: Topology) -> list:
  """The topology's devices, which programs can be compiled for but not run on. Needs what `missing` asks for."""
  from jax.experimental import topologies

  if topology.chip.platform == "gpu":
    target = (pathlib.Path(__file__).parent / "topologies" / f"{topology.kind}.txtpb").read_text()
    return topologies.get_topology_desc(platform="cuda", topology_name=topology.kind, topology=f"1x1x{topology.shape}",
                                        target_config=target).devices
  options = {"chips_per_host_bounds": [1, 1, 1]} if topology.num_chips == 1 else {}
  options |= {"chip_config_name": "megacore"} if topology.kind == "v4" else {}
  return topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **options).devices


@dataclasses.dataclass(frozen=True)
class Compiled:
  """What the compiler says of a training step on one device.

  Attributes:
    peak_bytes: memory at its fullest; where the compiler refused, what it says it would need.
    memory_bytes: what the device has for a program.
    collectives: mesh axes that they cross -> number in the program; None where the compiler refused.
    seconds: time to compile.
    step_seconds: of one optimiser step, by clock.py or traffic.py and the rate of the links; None where the compiler refused.
    parts: what the time goes into, the costliest first.
  """

  peak_bytes: int
  memory_bytes: int
  collectives: dict[str, int] | None
  seconds: float
  step_seconds: float | None = None
  parts: tuple[instructions.Part, ...] = ()

  @property
  def fits(self) -> bool:
    return self.collectives is not None and self.peak_bytes <= self.memory_bytes


def compile_for(configs: Sequence[Config], mesh, chip: Chip) -> Compiled:
  """Compiles the training block of a pack for a mesh of such chips; a program too large is an answer, not an error."""
  with jax.set_mesh(mesh):
    program = compile_program(configs, mesh)
    lowered = program.steps.lower(*abstract_inputs(configs, program))
  begin = time.monotonic()
  try:
    executable = lowered.compile(_OPTIONS[chip.platform])
  except jax.errors.JaxRuntimeError as error:
    wanted = wanted_bytes(str(error))
    if wanted is None:
      raise
    return Compiled(wanted, chip.memory, None, time.monotonic() - begin)
  seconds = time.monotonic() - begin
  text = executable.as_text()
  bandwidth = chip.bandwidth / chip.devices
  parts = tuple(traffic.read(text, bandwidth, chip.matmul) if chip.platform == "gpu" else clock.read(text, bandwidth / chip.clock))
  call_seconds = instructions.cycles(parts) / chip.clock + instructions.sent(parts) * chip.devices / chip.link
  return Compiled(executable.memory_analysis().peak_memory_in_bytes, chip.memory, collectives(text, mesh), seconds,
                  call_seconds / configs[0].steps_per_call, parts)


def wanted_bytes(message: str) -> int | None:
  """Bytes that a refused program would need, from XLA's message; None: it was refused for another reason.

  XLA writes "... memory required for HLO temporaries (18.59G) exceeds available HBM" or "Used 18.59G of 15.75G hbm".
  """
  found = re.search(r"RESOURCE_EXHAUSTED.*?(?:\(|Used )([\d.]+)([KMGT])(?:\) exceeds| of)", message, re.DOTALL)
  return None if found is None else int(float(found[1]) * 1024 ** " KMGT".index(found[2]))
