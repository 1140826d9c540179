"""Rows of runs.csv and curves.csv: read, written, grouped. One row a run, or a run's position at a step."""

import csv
import gzip
import io
import math
import pathlib
import statistics
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pathstar import config, objectives
from pathstar.errors import UserError, first_line
from pathstar.storage import workdir

PROVENANCE = "provenance.json"
SOLVED = 0.95  # exact match from which a run counts as solved
# Columns of names, which may look like numbers; as those of config fields that are text.
_WORDS = ("run_id", "folder", "source", "task", "problem", "architecture", "objective", "order", "status")
_SECTIONS = ("task.", "data.", "model.", "objective.", "optimizer.", "train.", "eval.")  # of config fields
_METHODS = ("next_token", "reversed", "teacherless")
# Of a report: the columns that it has at least, and those of them that no line leaves empty.
_COLUMNS = {
    "runs": ("run_id", "task", "problem", "num_nodes", "num_train", "architecture", "objective", "order", "seed", "status", "steps",
             "exact_match_test", "exact_match_train", "branch_accuracy", "chance", "train_seconds", "parameters"),
    "curves": ("run_id", "step", "position", "accuracy", "loss"),
}
_FILLED = {"runs": ("run_id", "task", "problem", "architecture", "objective", "order", "seed", "status", "steps", "chance", "train_seconds",
                    "parameters"), "curves": ("run_id", "step", "position")}
_NUMBERS = {"runs": ("seed", "steps", "exact_match_test", "exact_match_train", "branch_accuracy", "legal_mass", "branch_entropy",
                     "cheat_accuracy", "chance", "train_seconds", "parameters", "cheat_step", "branch_accuracy_best"),
            "curves": ("step", "accuracy", "loss")}


def begin(out: pathlib.Path, of_runs: bool) -> None:
  """The folder of a report of runs or of a benchmark, made if absent. Raises UserError, and leaves it as it is, if it holds another."""
  workdir.refuse_foreign(out, PROVENANCE, "a report's", field="out")
  if (out / "runs.csv").exists() and is_of_runs(out) != of_runs:
    raise UserError(f"out = {str(out)!r}: holds {'a benchmark' if of_runs else 'a report of runs'}; must be another folder")
  workdir.make(out, field="out")


def is_of_runs(out: pathlib.Path) -> bool:
  """Whether the runs.csv of a folder is that of a report of runs, and not of a benchmark."""
  with open(out / "runs.csv", encoding="utf-8-sig", errors="replace") as file:
    return "run_id" in file.readline().rstrip("\n").split(",")


def write_csv(path: pathlib.Path, columns: Sequence[str], rows: Iterable[dict], compress_from: float = math.inf) -> None:
  """Floats with six digits, of config fields with all; None and what a row lacks are empty.

  One of `compress_from` bytes or more becomes `path`.gz instead.
  """
  content, packed = _as_csv(columns, rows).encode(), path.with_name(path.name + ".gz")
  if len(content) < compress_from:
    workdir.write_bytes(path, content)
    packed.unlink(missing_ok=True)
  else:
    workdir.write_bytes(packed, gzip.compress(content, mtime=0))
    path.unlink(missing_ok=True)


def cell(value) -> object:
  """A config field's value as a cell that is read again as it was."""
  return "None" if value is None else "+".join(map(str, value)) if isinstance(value, tuple) else value


def _as_csv(columns: Sequence[str], rows: Iterable[dict]) -> str:
  text = io.StringIO()
  writer = csv.DictWriter(text, columns, lineterminator="\n")
  writer.writeheader()
  writer.writerows({name: _shown(name, value) for name, value in row.items()} for row in rows)
  return text.getvalue()


def _shown(name: str, value) -> object:
  if not isinstance(value, float):
    return value
  short = f"{value:.6g}"
  return "" if math.isnan(value) else repr(value) if is_field(name) and float(short) != value else short


def is_field(name: str) -> bool:
  """Whether a column is a config field, by the section that its name begins with: a metric may have a dot in its name too."""
  return name.startswith(_SECTIONS)


def as_read(rows: Sequence[dict]) -> list[dict]:
  """Rows as they come back from a CSV file of them."""
  columns = list(dict.fromkeys(name for row in rows for name in row))
  return _rows(io.StringIO(_as_csv(columns, rows)))


def find_csv(folder: pathlib.Path, name: str) -> pathlib.Path:
  """NAME.csv of a report, or where that is large NAME.csv.gz."""
  plain, packed = folder / f"{name}.csv", folder / f"{name}.csv.gz"
  there = [file for file in (plain, packed) if file.exists()]  # both, if writing one in place of the other was cut off
  return max(there, key=lambda file: file.stat().st_mtime_ns, default=plain)


def read_report(folder: pathlib.Path, name: str) -> list[dict]:
  """Rows of a report's runs.csv or curves.csv. Raises UserError if the file is damaged or lacks what every report has."""
  file = find_csv(folder, name)
  rows = read_csv(file, _COLUMNS[name])
  if empty := [column for row in rows for column in _FILLED[name] if row[column] == "" or row[column] != row[column]]:
    raise UserError(f"{file}: has a line without {empty[0]}; it is damaged")
  if words := [(column, row[column]) for row in rows for column in _NUMBERS[name] if isinstance(row.get(column), str)]:
    raise UserError(f"{file}: {words[0][0]} = {words[0][1]!r}: must be a number; it is damaged")
  if name == "runs" and not rows:
    raise UserError(f"{file}: has no line of a run; it is damaged")
  return rows


def read_csv(path: pathlib.Path, columns: Iterable[str] = ()) -> list[dict]:
  """Rows of a CSV file, numbers as numbers, empty cells as NaN. Raises UserError if it is damaged or lacks one of `columns`."""
  try:
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode("utf-8-sig")
    if not text.endswith("\n"):
      raise ValueError("its last line is cut off")
    return _rows(io.StringIO(text), columns)
  except (OSError, EOFError, ValueError, csv.Error, zlib.error) as error:
    raise UserError(f"{path}: can't be read ({first_line(error)}); it is damaged, or not a report's") from None


def _rows(file: Iterable[str], columns: Iterable[str] = ()) -> list[dict]:
  head, *lines = csv.reader(file)
  if lacking := [column for column in columns if column not in head]:
    raise ValueError(f"has no column {lacking[0]}")
  for line in filter(None, lines):
    if len(line) != len(head):
      raise ValueError(f"a line of {len(line)} cells under {len(head)} columns")
  kinds = {name: field.kind for name, field in config.schema().items()}
  words = {*_WORDS, *(name for name, kind in kinds.items() if kind.scalar is str or kind.length is not None)}
  return [{k: v if k in words else _value(v) for k, v in zip(head, line)} for line in lines if line]


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
