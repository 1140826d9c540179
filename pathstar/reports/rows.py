"""Rows of runs.csv and curves.csv: read, written, grouped. One row a run, or a run's position at a step."""

import csv
import math
import pathlib
import statistics
from collections.abc import Callable, Iterable, Sequence

from pathstar import objectives

SOLVED = 0.95  # exact match from which a run counts as solved
_METHODS = ("next_token", "reversed", "teacherless")


def write_csv(path: pathlib.Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
  """Floats with six digits; None and what a row lacks are empty."""
  with open(path, "w", newline="") as file:
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_csv(path: pathlib.Path) -> list[dict]:
  """Rows of a CSV file, numbers as numbers, empty cells as NaN."""
  with open(path, newline="") as file:
    return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _value(text: str):
  for kind in (int, float):
    try:
      return kind(text or "nan")
    except ValueError:
      continue
  return text


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


def groups(runs: Sequence[dict]) -> dict[tuple, list[dict]]:
  """(problem, architecture, method, parameters, training examples) -> its runs, one a seed."""
  found: dict[tuple, list[dict]] = {}
  for row in runs:
    key = (row["problem"], row["architecture"], method(row), row["parameters"], str(row["num_train"]))
    found.setdefault(key, []).append(row)
  return found


def defined(rows: Iterable[dict], name: str) -> list[float]:
  """The defined values of a column."""
  found = (row.get(name, math.nan) for row in rows)
  return [value for value in found if isinstance(value, (int, float)) and not math.isnan(value)]


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
    return not math.isnan(row["branch_position"])
  return row["task"] == "path_star" and row["problem"].endswith(")")  # a report of version 0.1


def paths(runs: Iterable[dict]) -> list[dict]:
  """Runs whose target is a path with a branch token."""
  return [row for row in runs if is_path(row)]


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
