"""The instructions of a compiled program, read from its text: each as often as it runs, and what the devices send each other.

The body of a loop counts as often as it runs, and of several branches the costliest. What an instruction takes, clock.py says for TPUs and
traffic.py for GPUs.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)")
_ARRAY = re.compile(r"\b([a-z]+\d*)\w*\[([\d,]*)\]")
# Bytes that a device sends for each byte of the result, among many devices.
_SENT = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1, "collective-permute": 1, "collective-broadcast": 1}


class Part(NamedTuple):
  """An instruction, and what it takes in one call of the program: `cycles` of a device, bytes `sent` to others, in `times` executions."""

  cycles: int  # of a GPU nanoseconds
  sent: int
  times: int
  result: str  # type, shape and layout
  operation: str  # what was traced, as in jit(steps)/while/body/mlp/up/dot_general
  place: str  # file:line that asked for it; "" where the compiler made it up


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One of a compiled program, in its text."""

  name: str
  result: str  # type, shape and layout
  opcode: str
  rest: str  # operands and attributes

  @functools.cached_property
  def operands(self) -> list[str]:
    return re.findall(r"%([\w.\-]+)", self.rest.partition(")")[0])

  def called(self, attribute: str) -> str | None:
    """The computation that an attribute names, as in `body=%body`."""
    found = re.search(rf"{attribute}=%([\w.\-]+)", self.rest)
    return found and found[1]


Computations = dict[str, list[Instruction]]


def walk(text: str, cost: Callable[[Instruction, dict[str, str], Computations], int | None]) -> list[Part]:
  """Parts of a compiled program, the costliest first.

  `cost(instruction, results, computations)` has the cycles of one execution, or None if it takes nothing; `results` are those of the
  computation that the instruction stands in, by name.
  """
  computations, entry = _computations(text)
  places = _places(text)

  def parts(name: str, times: int) -> list[Part]:
    found = []
    results = {one.name: one.result for one in computations[name]}
    for one in computations[name]:
      kind, rest = one.opcode.removesuffix("-start"), one.rest
      if one.opcode == "while":
        found += parts(one.called("body"), times * _trips(computations[one.called("condition")], rest))
      elif one.opcode == "call":
        found += parts(one.called("to_apply"), times)
      elif one.opcode == "conditional":
        branches = re.findall(r"(?:true|false)_computation=%([\w.\-]+)", rest) or re.findall(
            r"%([\w.\-]+)", re.search(r"branch_computations=\{([^}]*)\}", rest)[1])
        found += max((parts(branch, times) for branch in branches), key=cycles)
      elif (own := cost(one, results, computations)) is not None or kind in _SENT:
        operation, frame = re.search(r'op_name="([^"]*)"', rest), re.search(r"stack_frame_id=(\d+)", rest)
        found.append(Part(
            cycles=times * (own or 0),
            sent=times * _sent(kind, one, results) if kind in _SENT else 0,
            times=times,
            result=one.result,
            operation=operation[1] if operation else "",
            place=places.get(frame[1], "") if frame else ""))
    return found

  return sorted(parts(entry, 1), key=lambda part: (-part.cycles, -part.sent))


def cycles(parts: Sequence[Part]) -> int:
  """Of a device, in one call of the program."""
  return sum(part.cycles for part in parts)


def sent(parts: Sequence[Part]) -> int:
  """Bytes that a device sends in one call of the program."""
  return sum(part.sent for part in parts)


def _computations(text: str) -> tuple[Computations, str]:
  """Name -> its instructions; and the name of the one where the program begins."""
  found, current, entry = {}, [], ""
  for line in text.splitlines():
    if instruction := _INSTRUCTION.match(line):
      current.append(Instruction(*instruction.groups()))
    elif head := _HEAD.match(line):
      current = found[head[2]] = []
      entry = head[2] if head[1] else entry
  return found, entry


def _trips(condition: list[Instruction], rest: str) -> int:
  """How often a loop runs: it counts from 0 to the constant in its condition, or the compiler says. One of unknown length counts once."""
  limits = [int(one.rest.partition(")")[0]) for one in condition if one.opcode == "constant" and one.result.startswith("s32[]")]
  known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest)
  return max(limits) if limits else int(known[1]) if known else 1


def _sent(kind: str, one: Instruction, results: dict[str, str]) -> int:
  """Bytes that a device sends in one collective."""
  # What is given to a reduce-scatter is larger than what comes back.
  result = results.get(one.operands[0], one.result) if kind == "reduce-scatter" else one.result
  # Several gradients are reduced at once; a gather's start names what goes in beside what comes out.
  return _SENT[kind] * (sum if kind == "all-reduce" else max)(sizes(result))


def sizes(result: str) -> list[int]:
  """Bytes of each array of a result, without padding."""
  width = lambda name: 8 if name == "pred" else int(re.sub(r"\D", "", name))
  return [math.prod(int(n) for n in shape.split(",") if n) * width(name) // 8 for name, shape in _ARRAY.findall(result)]


def _places(text: str) -> dict[str, str]:
  """Number of a stack frame, as instructions name it -> file:line."""
  table = lambda name: re.search(rf"^{name}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
  rows = {name: dict(line.split(" ", 1) for line in found[1].splitlines()) if (found := table(name)) else {}
          for name in ("FileNames", "FileLocations", "StackFrames")}
  number = lambda name, row: re.search(rf"{name}=(\d+)", row)[1]
  lines = {key: f"{rows['FileNames'][number('file_name_id', row)].strip(chr(34))}:{number('line', row)}"
           for key, row in rows["FileLocations"].items()}
  return {key: lines[number("file_location_id", row)] for key, row in rows["StackFrames"].items()}
