"""The TPU compiler's own clock: how long a program takes on a TPU that is not here.

XLA's compiler for TPUs writes the cycles that it expects onto every instruction it schedules ("estimated_cycles"), with layouts, padding to
tiles and memory traffic in them. Summed over the program (instructions.py) they are an estimate, not a measurement: on v5e a large product
comes out at 88 % of the peak, a large copy at 80 % of the bandwidth. Of changes of layout the compiler often says a placeholder, or
nothing: they count as much as memory takes to read and write them, if that is more. Copies that run beside the arithmetic count nothing,
nor do kernels written by hand, nor collectives: those are told by the bytes that they send, to be divided by the rate of the links.
"""

import re

from pathstar.pricing.instructions import Computations, Instruction, Part, sizes, walk

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_MOVES = ("copy", "reshape", "transpose")


def read(text: str, bytes_per_cycle: float) -> list[Part]:
  """What a program compiled for TPUs is made of, the costliest first.

  Args:
    text: `jitted.lower(...).compile().as_text()`.
    bytes_per_cycle: that a device reads from and writes to its memory.
  """

  def cost(one: Instruction, results: dict[str, str], computations: Computations) -> int | None:
    least = int(2 * sum(sizes(one.result)) / bytes_per_cycle) if one.opcode in _MOVES else 0
    own = _CYCLES.search(one.rest)
    return max(least, int(own[1]) if own else 0) if own or one.opcode in _MOVES else None

  return walk(text, cost)
