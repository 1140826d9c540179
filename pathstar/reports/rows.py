"""Rows of runs.csv and curves.csv, grouped: by what is trained, by what tells runs apart, by what figures need."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pathstar import objectives
from pathstar.reports.csv_files import is_field

SOLVED = 0.95  # exact match from which a run counts as solved
_METHODS = ("next_token", "reversed", "teacherless")


def method(row: dict) -> str:
  """Objective and order of a run in a word."""
  return objectives.method(row["objective"], row["order"])


def score_of(row: dict) -> str:
  """The column that says whether a run learned what it was trained on: exact match, or the branch token if that alone was scored."""
  known = objectives.OBJECTIVES.get(row["objective"])
  return "exact_match_test" if known is None or known.scores_all else "branch_accuracy"


def ordered(methods: Iterable[str]) -> list[str]:
  """Each method once, the three of the paper first."""
  names = dict.fromkeys(methods)
  return [m for m in _METHODS if m in names] + [m for m in names if m not in _METHODS]


def parts(row: dict) -> dict[str, object]:
  """What makes up the setting of a run: all that is known of it but the seed, by name. Config fields have their dotted names."""
  shown = lambda value: "" if value is None or value != value else value  # NaN is not equal to itself
  found = {"problem": row["problem"], "architecture": row["architecture"], "method": method(row), "parameters": row["parameters"],
           "num_train": row["num_train"], "num_nodes": row["num_nodes"]}
  found |= {name: value for name, value in row.items() if is_field(name)}
  return {name: shown(value) for name, value in found.items()}


class Setting(NamedTuple):
  """A row of a table: runs of one setting differ in their seed alone."""

  problem: str
  architecture: str
  method: str
  parameters: int
  num_train: object
  num_nodes: object
  fields: tuple[tuple[str, object], ...]  # config fields in which the runs of the report differ


def groups(runs: Sequence[dict]) -> dict[Setting, list[dict]]:
  """Setting -> its runs, one a seed. Every table, figure, verdict and status pools runs by this alone."""
  found: dict[Setting, list[dict]] = {}
  for row in runs:
    known = parts(row)
    fixed = [known.pop(name) for name in Setting._fields[:-1]]
    found.setdefault(Setting(*fixed, tuple(known.items())), []).append(row)
  return found


def apart(runs: Sequence[dict], *same: str) -> list[str]:
  """The parts of the setting in which runs differ that are alike in `same` (parts, or columns)."""
  names: dict[str, None] = {}
  for alike in by(runs, lambda row: tuple((row | parts(row))[name] for name in same)).values():
    names |= dict.fromkeys(_differing([parts(row) for row in alike]))
  return list(names)


def _differing(known: Sequence[dict]) -> list[str]:
  return [name for name in known[0] if any(one[name] != known[0][name] for one in known)]


def by_field(names: Sequence[str]) -> list[str]:
  """Without the number of parameters where one config field differs too, which says more."""
  return [name for name in names if name != "parameters"] if sum("." in name for name in names) == 1 else list(names)


def split(runs: Sequence[dict], *same: str) -> dict[str, list[dict]]:
  """The runs in lots within which those alike in `same` differ in their seed alone; by what tells the lots apart, in words."""
  known = [parts(row) | {"same": tuple((row | parts(row))[name] for name in same)} for row in runs]
  # Last what follows from the others: the problem, which says degree and length too, and the number of parameters.
  names = _enough(known, sorted(apart(runs, *same), key=lambda name: (name == "problem") + 2 * (name == "parameters")), ["same"])
  return by(runs, lambda row: ", ".join(in_words(name, parts(row)[name]) for name in names))


def _enough(known: Sequence[dict], names: Iterable[str], given: Sequence[str] = ()) -> list[str]:
  """Those of the names that tell apart what all of them do beside `given`, the first first: a mixer's fields say no more than its name."""
  kept: list[str] = []
  lots = lambda names: len({tuple(one[name] for name in (*given, *names)) for one in known})
  for name in names:
    if lots([*kept, name]) > lots(kept):
      kept.append(name)
  return kept


def titles(settings: Iterable[Setting], *shown: str) -> dict[Setting, str]:
  """A title for each setting: `shown` (method, architecture, problem), and on a second line what else tells it from its likes."""
  settings, shown = list(settings), shown or ("method", "architecture", "problem")
  known = {one: one._asdict() | dict(one.fields) for one in settings}
  found = {}
  for one in settings:
    likes = [known[other] for other in settings if all(known[other][name] == known[one][name] for name in shown)]
    names = _enough(likes, sorted((name for name in _differing(likes) if name != "fields"), key=lambda name: name == "parameters"))
    more = ", ".join(in_words(name, known[one][name]) for name in names)
    found[one] = ", ".join(str(known[one][name]) for name in shown) + (f"\n{more}" if more else "")
  return found


def in_words(name: str, value) -> str:
  """A part of a setting, as titles say it."""
  number = lambda: f"{value:,.0f}" if isinstance(value, (int, float)) else value
  if name == "parameters":
    return f"{number()} parameters"
  if name == "num_train":
    return f"{number() or 'endless'} training examples"
  if name == "num_nodes":
    return f"{number()} node ids"
  return f"{name.rpartition('.')[2]} {value}" if "." in name else str(value)


def defined(rows: Iterable[dict], name: str) -> list[float]:
  """The defined values of a column."""
  found = (row.get(name, math.nan) for row in rows)
  return [value for value in found if isinstance(value, (int, float)) and not math.isnan(value)]


def span(rows: Iterable[dict], name: str, form: str = ",.0f") -> str:
  """The defined values of a column: one number, or from where to where; "" if there is none."""
  found = defined(rows, name)
  return " to ".join(dict.fromkeys(f"{value:{form}}" for value in (min(found), max(found)))) if found else ""


def mean(rows: Iterable[dict], name: str) -> float:
  """Mean of the defined values of a column; NaN if there is none."""
  found = defined(rows, name)
  return sum(found) / len(found) if found else math.nan


def median_step(rows: Iterable[dict]) -> float:
  """Median step at which the first move is learned; infinite where it is not within the budget."""
  return statistics.median(math.inf if math.isnan(row["branch_step"]) else row["branch_step"] for row in rows)


def by(runs: Iterable[dict], key: Callable) -> dict:
  """key(row) -> rows."""
  found: dict = {}
  for row in runs:
    found.setdefault(key(row), []).append(row)
  return found


def is_path(row: dict) -> bool:
  """Whether the run's target is a path with a branch token."""
  if "branch_position" in row:
    return bool(defined([row], "branch_position"))
  return row["task"] == "path_star" and row["problem"].endswith(")")  # a report of version 0.1


def paths(runs: Iterable[dict]) -> list[dict]:
  """Runs whose target is a path with a branch token."""
  return [row for row in runs if is_path(row)]


def ended(runs: Iterable[dict]) -> list[dict]:
  """Runs that did not diverge: what diverged has no scores."""
  return [row for row in runs if row.get("status", "done") == "done"]


def side_by_side(runs: Iterable[dict]) -> bool:
  """Whether the runs compare enough objectives for a leaderboard, which then draws what they reach."""
  return len({row["objective"] for row in runs}) >= 4


def on_grid(runs: Iterable[dict]) -> list[dict]:
  """Runs on graphs of one degree and one length each."""
  return [row for row in runs if defined([row], "degree") and defined([row], "length")]


def answer_length(row: dict) -> int:
  """Positions of the answer, at most; version 0.1 knew lengths alone."""
  return row["answer_length"] if defined([row], "answer_length") else row["length"]


def by_position(curves: Iterable[dict]) -> dict[tuple, list[tuple[int, float]]]:
  """(run_id, position or "cheat") -> (step, accuracy)."""
  found: dict[tuple, list[tuple[int, float]]] = {}
  for row in curves:
    found.setdefault((row["run_id"], row["position"]), []).append((row["step"], row["accuracy"]))
  return found
