"""Devices: the mesh (run, data, model) and the rules from logical axes to mesh axes. No other module names devices."""

import math
import re

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

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


def mesh_shape(spec: str, num_runs: int, batch_size: int, num_devices: int) -> dict[str, int]:
  """`"run=4,data=2"` or `"auto"` -> size of each axis. `auto` gives devices to runs first, then to the batch.

  Raises:
    UserError: unknown axis, more devices than there are, or a size that doesn't divide what it shards.
  """
  if spec == "auto":
    run = math.gcd(num_devices, num_runs)
    return {"run": run, "data": math.gcd(num_devices // run, batch_size), "model": 1}
  shape = dict.fromkeys(AXES, 1)
  for part in spec.split(","):
    name, _, size = part.partition("=")
    choose("mesh axis", name, AXES)
    require(size.isdigit() and int(size) >= 1, f"mesh axis {name}", size, "an integer >= 1, as in run=4,data=2")
    shape[name] = int(size)
  total = math.prod(shape.values())
  require(total <= num_devices, "mesh", spec, f"of at most {num_devices} devices; it asks for {total}")
  require(num_runs % shape["run"] == 0, "mesh", spec, f"such that run divides the pack's {num_runs} run(s)")
  require(batch_size % shape["data"] == 0, "mesh", spec, f"such that data divides train.batch_size = {batch_size}")
  return shape


def make_mesh(spec: str, num_runs: int, batch_size: int) -> Mesh:
  """The mesh over this job's devices; see `mesh_shape`."""
  devices = jax.devices()
  shape = mesh_shape(spec, num_runs, batch_size, len(devices))
  used = math.prod(shape.values())
  if used < len(devices) and jax.process_count() > 1:
    raise UserError(f"mesh = {spec!r}: must use all {len(devices)} devices when several processes run; it uses {used}")
  return jax.make_mesh(tuple(shape.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices[:used])


def sharding(mesh: Mesh, *logical: str | None) -> NamedSharding:
  """The sharding of an array whose axes have these logical names; further axes are replicated."""
  return NamedSharding(mesh, PartitionSpec(*(RULES.get(name) for name in logical)))


def state_shardings(mesh: Mesh, boxed_state):
  """Shardings of a training state with leading run axis, from its abstract form with flax's logical-axis boxes."""

  def one(path, leaf):
    boxed = isinstance(leaf, nn.LogicallyPartitioned)
    if boxed and not jax.tree.leaves(leaf):  # a box around nothing: a parameter that another part of the optimiser holds
      return leaf.value
    stacked = re.search(r"\bbody\b", jax.tree_util.keystr(path)) and leaf_ndim(leaf) > 1
    names = tuple(leaf.names) if boxed else ()
    return sharding(mesh, "run", *(("layer",) if stacked else ()), *names)

  def leaf_ndim(leaf):
    return np.ndim(leaf.value) if isinstance(leaf, nn.LogicallyPartitioned) else np.ndim(leaf)

  return jax.tree_util.tree_map_with_path(one, boxed_state, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))


def local_part(target: NamedSharding, shape: tuple[int, ...]) -> tuple[slice, ...]:
  """The box of a global array that this process's devices hold, as one slice an axis."""
  indices = list(target.addressable_devices_indices_map(shape).values())
  bounds = [[index[axis].indices(size)[:2] for index in indices] for axis, size in enumerate(shape)]
  return tuple(slice(min(b[0] for b in axis), max(b[1] for b in axis)) for axis in bounds)


def put(target: NamedSharding, local: np.ndarray) -> jax.Array:
  """A global array from the part that this process holds."""
  return jax.make_array_from_process_local_data(target, local)
