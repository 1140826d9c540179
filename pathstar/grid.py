"""Algebra of grids: a sweep's cells are dotted overrides, combined in plain Python.

    def sweep(arg=""):
      return product({"task.degree": [2, 5], "seed": range(5)},
                     zipped({"objective.name": ["next_token", "teacherless"], "train.num_steps": [1000, 4000]}))
"""

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

from pathstar.errors import UserError

Cell = dict[str, object]  # dotted field -> value


def product(*parts: Mapping[str, Iterable] | Iterable[Cell]) -> list[Cell]:
  """Every combination, the last part's values changing fastest. A mapping of lists stands for all combinations of their values.

  Raises:
    UserError: two parts set one field, or the values of one are a text.
  """
  for part in parts:
    if isinstance(part, Mapping):
      _check_lists("product", part)
  lists = [cells for part in parts for cells in (
      [[{name: value} for value in values] for name, values in part.items()] if isinstance(part, Mapping) else [list(part)])]
  before: Cell = {}
  for cells in lists:
    fields = {name: value for cell in cells for name, value in cell.items()}
    for name in before.keys() & fields.keys():
      raise UserError(f"product: {name} is set by two parts, to {before[name]!r} by one and to {fields[name]!r} by a later one: must be "
                      "set by one of them")
    before |= fields
  return [dict(itertools.chain.from_iterable(cell.items() for cell in cells)) for cells in itertools.product(*lists)]


def zipped(columns: Mapping[str, Sequence]) -> list[Cell]:
  """Lists of equal length taken side by side."""
  _check_lists("zipped", columns)
  lengths = {name: len(values) for name, values in columns.items()}
  if len(set(lengths.values())) > 1:
    raise UserError(f"zipped: lists must be equally long, they are {lengths}")
  return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _check_lists(what: str, columns: Mapping[str, Iterable]) -> None:
  for name, values in columns.items():
    if isinstance(values, str):  # which would be taken letter by letter
      raise UserError(f"{what}: {name} = {values!r}: must be a list of values, as [{values!r}]")


def chain(*parts: Iterable[Cell]) -> list[Cell]:
  """One list of cells after the other."""
  return list(itertools.chain(*parts))


def subsample(cells: Sequence[Cell], number: int, seed: int = 0) -> list[Cell]:
  """`number` cells at random, in their order."""
  keep = set(random.Random(seed).sample(range(len(cells)), min(number, len(cells))))
  return [cell for i, cell in enumerate(cells) if i in keep]
