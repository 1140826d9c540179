"""Collectives of a compiled program: which axes of its mesh they cross."""

import math
import re

import numpy as np
from jax.sharding import Mesh

from pathstar.devices.mesh import AXES

_COLLECTIVE = re.compile(r" (?:all-reduce|all-gather|reduce-scatter|(?:ragged-)?all-to-all|collective-permute|collective-broadcast)"
                         r"(?:-start)?\((.*)")


def collectives(compiled_text: str, mesh: Mesh) -> dict[str, int]:
  """How many collectives of a compiled program cross which axes of its mesh.

  Args:
    compiled_text: `jitted.lower(...).compile().as_text()`. A collective in a loop's body counts once.
    mesh: the mesh that it was compiled for.

  Returns:
    {"data": 4, "data+model": 1, ...}; what moves nothing between devices is left out.

  Raises:
    ValueError: a collective whose groups are written in an unknown way.
  """
  shape, counts = tuple(mesh.shape.values()), {}
  for line in compiled_text.splitlines():
    if (found := _COLLECTIVE.search(line)) is None:
      continue
    crossed = set()
    for group in _groups(found[1], mesh.size):
      coordinates = np.array(np.unravel_index(group, shape))
      crossed |= {axis for axis, ids in zip(AXES, coordinates, strict=True) if len(set(ids)) > 1}
    if crossed:
      name = "+".join(axis for axis in AXES if axis in crossed)
      counts[name] = counts.get(name, 0) + 1
  return counts


def _groups(attributes: str, num_devices: int) -> list[list[int]]:
  """Device numbers, as places in the mesh, that talk to each other in one collective; XLA has four ways of writing them."""
  if pairs := re.search(r"source_target_pairs=\{([\d,{} ]*)\}", attributes):
    return [_numbers(pair) for pair in re.findall(r"\{([\d, ]*)\}", pairs[1])]
  if listed := re.search(r"replica_groups=\{((?:\{[\d, ]*\},?)*)\}", attributes):
    return [_numbers(group) for group in re.findall(r"\{([\d, ]*)\}", listed[1])] or [list(range(num_devices))]
  if iota := re.search(r"replica_groups=\[([\d,]+)\]<=(\S+)", attributes):
    return _iota(iota[2]).reshape(_numbers(iota[1])).tolist()
  if named := re.search(r"replica_groups=mesh\[([^]]*)\](?:, device_ids=\((\S*)\))? \{([^}]*)\}", attributes):
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", named[1])}
    chosen = {name: (int(before or 1), int(size or sizes[name]))
              for name, before, size in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", named[3])}
    shape, talking = [], []
    for name, size in sizes.items():  # part of an axis: its size as (before, the part, the rest)
      before, part = chosen.get(name, (1, 1))
      talking.append(len(shape) + 1)
      shape += [before, part, size // before // part]
    order = named[2] or f"[{math.prod(shape)}]"
    ids = _iota(order) if order.startswith("[") else np.array(_numbers(order))
    ids = np.moveaxis(ids.reshape(shape), talking, range(-len(talking), 0))
    return ids.reshape(-1, math.prod(part for _, part in chosen.values())).tolist()
  raise ValueError(f"unknown form of a collective's groups: {attributes[:300]}")


def _numbers(text: str) -> list[int]:
  return [int(n) for n in re.findall(r"\d+", text)]


def _iota(text: str) -> np.ndarray:
  """`[4,2]T(1,0)`: 0, 1, ... in shape (4, 2), its axes in the order (1, 0)."""
  shape, order = re.match(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text).groups(default="")
  ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
  return ids.transpose(_numbers(order)) if order else ids
