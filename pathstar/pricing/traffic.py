"""What a program takes on a GPU that is not here, by what its kernels move.

XLA's compiler for GPUs writes no times. But the steps of this project are bound by memory there: a kernel takes as long as the memory needs
to read its operands and to write its result, of which a slice counts as a slice; a matrix product as long as its arithmetic besides; and
each a launch. Nothing overlaps, and nothing stays in a cache. Of three steps that an H100 took in 11.5, 13.7 and 22.9 ms (results/gpu)
this tells, with its 3.35 TB/s, 111, 96 and 102 %. What binds a small step is not seen: kernels of few threads take longer than this says.
"""

import functools
import math
import re

from pathstar.pricing import clock

HERTZ = 1e9  # cycles, here, are nanoseconds
_LAUNCH = 2500  # nanoseconds of a kernel beside its bytes; the three steps, of 795 to 1,477 kernels, leave 1,600 to 3,100 each
_NO_KERNEL = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "opt-barrier", "partition-id", "replica-id"}
_SLICES = {"dynamic-slice", "dynamic-update-slice"}


def read(text: str, bandwidth: float, products: float) -> list[clock.Part]:
  """What a program compiled for GPUs is made of, the costliest first; `cycles` are nanoseconds.

  Args:
    text: `jitted.lower(...).compile().as_text()`.
    bandwidth: bytes/s of the device's memory.
    products: FLOP/s of matrix products in bfloat16; in float32, rounded to TensorFloat-32 on their way, half of it.
  """
  return clock.walk(text, functools.partial(_nanoseconds, bandwidth, products))


def _nanoseconds(bandwidth: float, products: float, one: clock.Instruction, results: dict[str, str],
                 computations: clock.Computations) -> int | None:
  if one.opcode in _NO_KERNEL or one.opcode.endswith("-done"):
    return None
  return _LAUNCH + round(1e9 * (_moved(one, results, computations) / bandwidth + _product(one, results) / products))


def _bytes(result: str) -> int:
  # A product's scratch memory comes back with its result, as bytes.
  return sum(clock.sizes(re.sub(r"\bs8\[[\d,]*\]", "", result)))


def _moved(one: clock.Instruction, results: dict[str, str], computations: clock.Computations) -> int:
  """Bytes that a kernel reads and writes."""
  operands = [results.get(name, "") for name in one.operands]
  if not (called := re.search(r"calls=%([\w.\-]+)", one.rest)):
    return _bytes(one.result) + sum(map(_bytes, operands))
  inside = computations[called[1]]
  within = {other.name: other.result for other in inside}
  # What is updated in place is written where it is updated alone, and what is sliced alone is read where it is sliced.
  updates = [other for other in inside if other.opcode == "dynamic-update-slice"]
  written = _bytes(one.result) + sum(_bytes(within.get(other.operands[1], "")) - _bytes(other.result) for other in updates)
  parameters = {int(other.rest.partition(")")[0]): other.name for other in inside if other.opcode == "parameter"}
  return max(written, 0) + sum(_read(parameters.get(number), operand, inside) for number, operand in enumerate(operands))


def _read(name: str | None, operand: str, inside: list[clock.Instruction]) -> int:
  """Bytes that a fusion reads of one operand."""
  found, names = 0, [name]
  while names:
    name = names.pop()
    for other in inside:
      if other.opcode == "parameter" or name not in other.operands:
        continue
      if other.opcode == "bitcast":
        names.append(other.name)
      elif other.opcode in _SLICES and other.operands[0] == name:
        found += _bytes(other.result) if other.opcode == "dynamic-slice" else 0
      else:
        return _bytes(operand)
  return found


def _product(one: clock.Instruction, results: dict[str, str]) -> float:
  """FLOPs of a matrix product, as many as it would take bfloat16 in the time."""
  contracted = re.search(r'"?lhs_contracting_dimensions"?[:=]\[?\{?((?:"?\d+"?,?)+)', one.rest)
  if not contracted:
    return 0.0
  shape = lambda result: [int(n) for n in re.search(r"\[([\d,]*)\]", result)[1].split(",") if n]
  left = results.get(one.operands[0], "[]")
  inner = math.prod(shape(left)[int(axis)] for axis in re.findall(r"\d+", contracted[1]))
  return 2.0 * math.prod(shape(one.result)) * inner * (2 if left.startswith("f32") else 1)
