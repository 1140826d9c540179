"""runs.csv and curves.csv of a report, one row a run, or a run's position at a step: written, read again, and checked."""

import csv
import gzip
import io
import math
import pathlib
import zlib
from collections.abc import Iterable, Sequence

from pathstar import config
from pathstar.errors import UserError, first_line
from pathstar.storage import workdir

PROVENANCE = "provenance.json"
# Columns of names, which may look like numbers; as those of config fields that are text.
_WORDS = ("run_id", "folder", "source", "task", "problem", "architecture", "objective", "order", "status")
_SECTIONS = ("task.", "data.", "model.", "objective.", "optimizer.", "train.", "eval.")  # of config fields
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
