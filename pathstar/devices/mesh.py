"""Devices: the mesh (run, data, model) and the rules from logical axes to mesh axes.

A mesh is given as `run=4,data=8,model=2`, an axis left out being 1, or `auto`. `,fsdp` after either also shards parameters and
optimiser state over `data`, each along its largest axis that divides (ZeRO stage 3, Rajbhandari et al. 2020, arXiv 1910.02054).
"""

import math
import os
import re
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from pathstar.devices import hosts
from pathstar.errors import UserError, choose, require

AXES = ("run", "data", "model")

# Logical axis of a parameter or an array -> mesh axis. What is not listed is replicated.
RULES = {
    "run": "run",
    "batch": "data",
    "heads": "model",
    "mlp": "model",
    "state": "model",
}


# By the TPU compiler's clock, packs of 4 and 8 on one v5e chip: one after another, runs of 0.5 M numbers take 1.2 times as long as side by
# side, of 0.8 to 1 M as long, of 1.5 M 0.87, of 2 M 0.75, of 3 M (12 layers of 384, batch 256) 0.64.
_FILLS_TPU = 2**20


def cores_as_devices() -> None:
  """Makes each core of a CPU a device, so that runs of a pack have one each. To be called before JAX looks for devices.

  A small model can't use several cores: two runs, each on a core of its own, are 1.6 times as fast as two on both cores.
  """
  if jax.config.jax_num_cpu_devices < 1 and "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


def split_spec(spec: str) -> tuple[str, bool]:
  """`"run=4,data=2,fsdp"` -> (`"run=4,data=2"`, True)."""
  sizes = [part for part in spec.split(",") if part != "fsdp"]
  return ",".join(sizes), len(sizes) < spec.count(",") + 1


def sizes_of(spec: str) -> dict[str, int] | None:
  """Size of each axis as a mesh is written; None: `auto`. Raises UserError if it isn't written so, whatever devices there are."""
  sizes, _ = split_spec(spec)
  if sizes == "auto":
    return None
  shape = {}
  for part in sizes.split(","):
    name, _, size = part.partition("=")
    choose("mesh axis", name, AXES)
    require(name not in shape, "mesh", spec, f"such that it has {name} once")
    require(re.fullmatch("[1-9][0-9]{0,8}", size) is not None, f"mesh axis {name}", size, "an integer >= 1, as in run=4,data=2")
    shape[name] = int(size)
  return dict.fromkeys(AXES, 1) | shape


def check_mesh(spec: str, batch_size: int) -> None:
  """Raises UserError if no devices could ever be this mesh."""
  if shape := sizes_of(spec):
    require(batch_size % shape["data"] == 0, "mesh", spec, f"such that data divides train.batch_size = {batch_size}")


def mesh_shape(spec: str, num_runs: int, batch_size: int, num_devices: int) -> dict[str, int]:
  """Size of each axis. `auto` uses the most devices it can, and shares them out to runs first, then to the batch.

  Raises:
    UserError: unknown axis, more devices than there are, or a size that doesn't divide what it shards.
  """
  if (shape := sizes_of(spec)) is None:
    largest = lambda whole, most: max(n for n in range(1, most + 1) if whole % n == 0)
    pairs = [(run, largest(batch_size, num_devices // run)) for run in range(1, num_devices + 1) if num_runs % run == 0]
    run, data = max(pairs, key=lambda pair: (math.prod(pair), pair))
    return {"run": run, "data": data, "model": 1}
  total = math.prod(shape.values())
  require(total <= num_devices, "mesh", spec, f"of at most {num_devices} devices; it asks for {total}")
  require(num_runs % shape["run"] == 0, "mesh", spec, f"such that run divides the pack's {num_runs} run(s)")
  check_mesh(spec, batch_size)
  return shape


def make_mesh(spec: str, num_runs: int, batch_size: int, devices: Sequence | None = None) -> Mesh:
  """The mesh of a pack; see `mesh_shape`.

  Args:
    spec: config field `mesh`.
    num_runs: runs of the pack.
    batch_size: examples per step and run.
    devices: what to build it from, attached or not; None: this job's devices.

  Raises:
    UserError: as `mesh_shape`; or it leaves out devices of other processes, or can't be laid over the slices.
  """
  devices = hosts.devices() if devices is None else list(devices)
  if split_spec(spec)[0] == "auto" and devices[0].platform == "cpu" and jax.process_count() == 1:
    batch_size = 1  # not shared out: one program on all cores is faster
  shape = mesh_shape(spec, num_runs, batch_size, len(devices))
  used = math.prod(shape.values())
  if used < len(devices):
    require(len({d.process_index for d in devices}) == 1, "mesh", spec,
            f"of all {len(devices)} devices, since they belong to several processes; it uses {used}")
    grid = np.array(devices[:used]).reshape(tuple(shape.values()))
  else:
    grid = _grid(spec, shape, devices)
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _grid(spec: str, shape: dict[str, int], devices: Sequence) -> np.ndarray:
  """Devices in the shape of the mesh, such that `model`, the last axis, has the shortest ways."""
  slices = len({getattr(d, "slice_index", 0) for d in devices})
  if slices == 1:
    return mesh_utils.create_device_mesh(tuple(shape.values()), devices, allow_split_physical_axes=True)
  # The network between slices is slow: runs never talk to each other, the batch does so once a step.
  across = next((axis for axis in ("run", "data") if shape[axis] % slices == 0), None)
  if across is None:
    raise UserError(f"mesh = {spec!r}: must have run or data a multiple of the {slices} slices")
  outer = {axis: slices if axis == across else 1 for axis in AXES}
  inner = [shape[axis] // outer[axis] for axis in AXES]
  return mesh_utils.create_hybrid_device_mesh(inner, tuple(outer.values()), devices, allow_split_physical_axes=True)


def logical_sharding(mesh: Mesh, *logical: str | None) -> NamedSharding:
  """The sharding of an array whose axes have these logical names; further axes are replicated."""
  return NamedSharding(mesh, PartitionSpec(*(RULES.get(name) for name in logical)))


def runs_apart(mesh: Mesh, size: int) -> bool:
  """Whether each device takes its runs one after another (`each_run`); else, or where a run is shared out, it takes them side by side.

  A CPU does: a run fits the cache, and XLA's reductions there are several times slower with a leading axis of size 1. So does a TPU with
  runs large enough to fill it, and their activations wait in memory for one run at a time.

  Args:
    size: numbers in the residual stream of one run's batch.
  """
  platform = mesh.devices.flat[0].platform
  return mesh.size == mesh.shape["run"] and (platform == "cpu" or (platform == "tpu" and size >= _FILLS_TPU))


def each_run(mesh: Mesh, f: Callable, apart: bool, axes: Sequence[int] = (0, 0, 0)) -> Callable:
  """`f` of one run as a function of a pack: its arguments with a run axis at `axes`, its results with a leading one, sharded over `run`.

  `apart`: each device has a program of its own, for one run after another.
  """
  if not apart:
    return jax.vmap(f, axes, spmd_axis_name="run")

  def of_device(*args):
    args = tuple(jax.tree.map(lambda x: jnp.moveaxis(x, axis, 0), arg) for arg, axis in zip(args, axes, strict=True))
    if len(jax.tree.leaves(args)[0]) > 1:
      return jax.lax.map(lambda one: f(*one), args)
    return jax.tree.map(lambda x: x[None], f(*jax.tree.map(lambda x: x[0], args)))

  runs = lambda axis: PartitionSpec(*[None] * axis, "run")
  return jax.shard_map(of_device, mesh=mesh, in_specs=tuple(map(runs, axes)), out_specs=runs(0), check_vma=False)


def alone() -> bool:
  """Whether what is being traced runs on one device."""
  mesh = jax.sharding.get_abstract_mesh()
  return math.prod(size for axis, size in mesh.shape.items() if axis not in mesh.manual_axes) == 1


def platform() -> str:
  """What the program being traced is for: the platform of its mesh, whose devices need not be here, or this machine's without one."""
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device.platform if device else jax.default_backend()


def shares(logical: str) -> int:
  """Into how many parts the program being traced cuts an axis of this logical name."""
  return jax.sharding.get_abstract_mesh().shape.get(RULES.get(logical), 1)


def constrain(x, *logical: str | None):
  """`x` sharded by its logical axes inside a compiled function; as it is where there is one device or no mesh.

  Raises:
    UserError: `model` does not divide such an axis.
  """
  if alone():
    return x
  shape = jax.sharding.get_abstract_mesh().shape
  axes = [RULES.get(name) for name in logical]
  for i, (name, axis) in enumerate(zip(logical, axes, strict=True)):
    if axis is not None and x.shape[i] % shape[axis]:
      if name != "batch":  # the chunk of an evaluation may be of any size, and is then not shared out
        raise UserError(f"mesh axis {axis} = {shape[axis]}: must divide axis {name!r} of the model, of size {x.shape[i]}")
      axes[i] = None
  return jax.lax.with_sharding_constraint(x, PartitionSpec(*axes))


def state_shardings(mesh: Mesh, boxed_state, spec: str):
  """Shardings of a training state with leading run axis, from its abstract form with flax's logical-axis boxes.

  Raises:
    UserError: `model` does not divide an axis of a parameter.
  """
  _, fsdp = split_spec(spec)
  is_box = lambda x: isinstance(x, nn.LogicallyPartitioned)

  def one(path, leaf):
    if is_box(leaf) and not jax.tree.leaves(leaf):  # nothing in it: a parameter that another part of the optimiser holds
      return leaf.value
    shape = np.shape(leaf.value if is_box(leaf) else leaf)
    own = leaf.names if is_box(leaf) else ()
    stacked = max(0, len(shape) - 1 - len(own)) if is_box(leaf) else 0  # copies of a block (layers, heads), stacked in front
    names = ["run", *["layer"] * stacked, *own]
    names += [None] * (len(shape) - len(names))
    axes = [RULES.get(name) for name in names]
    for name, axis, size in zip(names[1:], axes[1:], shape[1:], strict=True):
      require(axis is None or size % mesh.shape[axis] == 0, f"mesh axis {axis}", mesh.shape.get(axis),
              f"a divisor of axis {name!r} of {jax.tree_util.keystr(path, simple=True, separator='/')}, of size {size}")
    free = [i for i in range(1 + stacked, len(shape)) if axes[i] is None and shape[i] % mesh.shape["data"] == 0]
    if fsdp and free:
      axes[max(free, key=lambda i: shape[i])] = "data"
    return NamedSharding(mesh, PartitionSpec(*axes))

  return jax.tree_util.tree_map_with_path(one, boxed_state, is_leaf=is_box)


def local_part(target: NamedSharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
  """The smallest box of a global array that holds what is on this process's devices, as one slice an axis."""
  indices = list(target.addressable_devices_indices_map(shape).values())
  bounds = [[index[axis].indices(size)[:2] for index in indices] for axis, size in enumerate(shape)]
  return tuple(slice(min(b[0] for b in axis), max(b[1] for b in axis)) for axis in bounds)


def put(target: NamedSharding, shape: tuple[int, ...], local: np.ndarray) -> jax.Array:
  """A global array whose leading axes are `shape`, from this process's part of it (see `local_part`)."""
  if jax.process_count() == 1:
    return jax.device_put(local, target)
  start = [part.start for part in local_part(target, shape)]
  whole = shape + local.shape[len(shape):]

  def shard(index):
    bounds = [i.indices(n) for i, n in zip(index, shape, strict=False)]
    return local[tuple(slice(b[0] - s, b[1] - s) for b, s in zip(bounds, start, strict=True))]

  return jax.make_array_from_callback(whole, target, shard)


def over_runs(mesh: Mesh, tree):
  """Arrays (R, ...) that every process holds whole, as global ones sharded over the runs."""
  target = logical_sharding(mesh, "run")
  return jax.tree.map(lambda x: put(target, x.shape[:1], x[local_part(target, x.shape[:1])]), tree)
