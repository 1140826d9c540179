"""What a program takes on a GPU that is not here, by what its kernels move.

XLA's compiler for GPUs writes no times. But the steps of this project are bound by memory there: a kernel takes as long as the memory needs
to read its operands and to write its result, of which a slice counts as a slice; a matrix product as long as its arithmetic besides; and
each a launch. Nothing overlaps, and nothing stays in a cache. Of three steps that an H100 took in 11.5, 13.7 and 22.9 ms (results/gpu)
this tells, with its 3.35 TB/s, 109, 93 and 100 %, the time of a launch having been set on them. The program that is read has cuBLAS's
products; the one that ran may have had Triton's, which take in what stands around them (topology.py). What binds a small step is not seen:
kernels of few threads take longer than this says.
"""

import functools
import math
import re

from pathstar.pricing.instructions import Computations, Instruction, Part, sizes, walk

HERTZ = 1e9  # cycles, here, are nanoseconds
_LAUNCH = 2500  # nanoseconds of a kernel beside its bytes: set on three steps of an H100, see above
_NO_KERNEL = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "partition-id", "replica-id"}
_SLICES = {"slice", "dynamic-slice", "dynamic-update-slice"}


def read(text: str, bandwidth: float, products: float) -> list[Part]:
  """What a program compiled for GPUs is made of, the costliest first; `cycles` are nanoseconds.

  Args:
    text: `jitted.lower(...).compile().as_text()`.
    bandwidth: bytes/s of the device's memory.
    products: FLOP/s of matrix products in bfloat16; in float32, rounded to TensorFloat-32 on their way, half of it.
  """
  return walk(text, functools.partial(_nanoseconds, bandwidth, products))


def _nanoseconds(bandwidth: float, products: float, one: Instruction, results: dict[str, str], computations: Computations) -> int | None:
  if one.opcode in _NO_KERNEL or one.opcode.endswith("-done"):
    return None
  return _LAUNCH + round(1e9 * (_moved(one, results, computations) / bandwidth + _multiplied(one, results, computations) / products))


def _inside(one: Instruction, computations: Computations) -> list[Instruction]:
  """Of a fusion."""
  called = one.called("calls")
  return computations[called] if called else []


def _bytes(result: str) -> int:
  return sum(sizes(result))


def _moved(one: Instruction, results: dict[str, str], computations: Computations) -> int:
  """Bytes that a kernel reads and writes."""
  operands = [results[name] for name in one.operands]
  inside = _inside(one, computations)
  if not inside:
    # A product's scratch memory comes back with its result, as bytes; and what starts a copy or a gather names its operands besides.
    result = re.sub(r"\bs8\[[\d,]*\]", "", one.result) if one.opcode == "custom-call" else one.result
    repeated = one.opcode.endswith("-start") and one.opcode != "all-reduce-start"
    return _bytes(result) + sum(map(_bytes, operands)) * (not repeated)
  within = {other.name: other.result for other in inside}
  # What is updated in place is written where it is updated alone, and what is sliced alone is read where it is sliced.
  updates = [other for other in inside if other.opcode == "dynamic-update-slice"]
  written = _bytes(one.result) + sum(_bytes(within[other.operands[1]]) - _bytes(other.result) for other in updates)
  parameters = {int(other.rest.partition(")")[0]): other.name for other in inside if other.opcode == "parameter"}
  return max(written, 0) + sum(_read(parameters[number], operand, inside) for number, operand in enumerate(operands))


def _read(name: str, operand: str, inside: list[Instruction]) -> int:
  """Bytes that a fusion reads of one operand, which it calls `name`."""
  found, names = 0, [name]
  while names:
    name = names.pop()
    for other in inside:
      if other.opcode == "parameter" or name not in other.operands:
        continue
      if other.opcode == "bitcast":
        names.append(other.name)
      elif other.opcode in _SLICES and other.operands[0] == name:
        found += 0 if other.opcode == "dynamic-update-slice" else _bytes(other.result)
      else:
        return _bytes(operand)
  return min(found, _bytes(operand))


def _multiplied(one: Instruction, results: dict[str, str], computations: Computations) -> float:
  """FLOPs of the matrix products of a kernel, as many as it would take bfloat16 in the time."""
  inside = _inside(one, computations)
  if inside:
    within = {other.name: other.result for other in inside}
    return sum(_multiplied(other, within, computations) for other in inside)
  contracted = re.search(r'lhs_contracting_dim(?:ension)?s"?[:=][\[{]((?:"?\d+"?,?)+)', one.rest)
  if not contracted:
    return 0.0
  shape = lambda result: [int(n) for n in re.search(r"\[([\d,]*)\]", result)[1].split(",") if n]
  left = results[one.operands[0]]
  inner = math.prod(shape(left)[int(axis)] for axis in re.findall(r"\d+", contracted[1]))
  return 2.0 * math.prod(shape(one.result)) * inner * (2 if left.startswith("f32") else 1)
