"""Run folders, and reports of earlier ones, -> rows: one a run (runs.csv), and one a point of a curve (curves.csv)."""

import itertools
import json
import math
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pathstar import config
from pathstar.errors import UserError
from pathstar.reports import kept
from pathstar.reports.csv_files import cell
from pathstar.reports.curves import crossing, learning_order, timeline
from pathstar.reports.kept import Found, about
from pathstar.reports.rows import SOLVED
from pathstar.storage import results, workdir
from pathstar.training import metrics

SCORES = ("branch_accuracy", "legal_mass", "branch_entropy", "cheat_accuracy", "end_follows_arm", "end_copies_goal",
          "generated_exact_match", "token_error", "snowball_prediction")
COLUMNS = ("run_id", "task", "problem", "degree", "length", "answer_length", "branch_position", "num_nodes", "num_train", "epochs",
           "architecture", "objective", "order", "seed", "status", "steps", "exact_match_test", "exact_match_train", *SCORES, "chance",
           "train_seconds", "parameters", "parameters_used", "cheat_step", "branch_accuracy_best", "branch_step",
           "solve_step", "flops_per_step")
# and position_k_step_50, .._95, and every other metric that a run ends with on test, by its own name.
# `position`: of the path, 0 = start; `cheat`: accuracy along a wrong arm; `answer`, `answer_train`: exact match; `training`: of the step;
# `loss_NAME`: a term of its loss.
CURVE_COLUMNS = ("run_id", "step", "position", "accuracy", "loss")
MAX_POINTS = 200  # of a curve
# Fields that other columns tell.
_HAVE_COLUMNS = ("task.name", "task.degree", "task.length", "task.num_nodes", "task.target", "model.mixer", "objective.name",
                 "objective.order", "data.num_train")


class Collected(NamedTuple):
  """Rows of runs.csv and of curves.csv, and each run's config by run_id."""

  runs: list[dict]
  curves: list[dict]
  configs: dict[str, config.Config]


def collect(folders: Sequence[pathlib.Path], max_points: int | None = MAX_POINTS, only: Sequence[str] = ()) -> Collected:
  """Rows of every finished run below the folders (curves: test split, per position of the path), or in them if they are reports.

  A run that is found twice counts once, and one whose files are damaged is passed over; both are said. `max_points` thins each curve;
  None: every point that is there. `only`: `FIELD=VALUE,...`.

  Raises:
    UserError: there is none, or a report is damaged.
  """
  found = config.selected(_find(folders, max_points), only, lambda run: run.config.fields)
  if not found:
    raise UserError(f"workdir = {', '.join(map(str, folders))!r}: holds no finished run (a folder with {workdir.RESULT})")
  differing = _differing([run.config for run in found])
  made = {}
  for run in found:
    # Runs of one's own may be called alike. A name that a report has given stays: found before others, it is the first of its kind.
    names = itertools.chain([run.name, str(run.place)], (f"{run.place}.{number}" for number in itertools.count(2)))
    run_id = next(name for name in names if name not in made)
    made[run_id] = run, run.row | {"run_id": run_id} | {name: cell(run.config.fields.get(name, "")) for name in differing}
  by = ("task", "degree", "length", "problem", "num_nodes", "architecture", "objective", "order", *differing, "seed")
  ordered = sorted(made.items(), key=lambda item: [_in_order(item[1][1][name]) for name in by])
  return Collected([row for _, (_, row) in ordered], [point | {"run_id": run_id} for run_id, (run, _) in ordered for point in run.points],
                   {run_id: run.config for run_id, (run, _) in ordered})


def _in_order(value) -> tuple:
  """Numbers before words, and what is empty last."""
  return (2, "") if value in ("", None) or value != value else (1, value) if isinstance(value, str) else (0, value)


def _find(folders: Sequence[pathlib.Path], max_points: int | None) -> list[Found]:
  """The finished runs of the folders, each once."""
  found, twice, damaged = {}, [], []
  for folder in sorted(folders, key=lambda folder: not kept.is_report(folder)):
    number = len(found) + len(twice)
    for run in kept.read(folder) if kept.is_report(folder) else _below(folder, max_points, damaged):
      key = json.dumps(run.config.identity, sort_keys=True)
      twice += [str(run.place)] * (key in found)
      found.setdefault(key, run._replace(row={"source": str(folder)} | run.row))
    if len(found) + len(twice) == number and len(folders) > 1:
      print(f"workdir = {str(folder)!r}: holds no finished run", file=sys.stderr)
  for problem, names in (("found twice and count once", twice), ("damaged and left out", damaged)):
    if names:
      print(f"{len(names)} runs are {problem}: {'; '.join(names[:3])}{'; ...' * (len(names) > 3)}", file=sys.stderr)
  return list(found.values())


def _below(folder: pathlib.Path, max_points: int | None, damaged: list[str]) -> Iterator[Found]:
  """The finished runs below a folder; what is said of the others is added to `damaged`."""
  for file in sorted(folder.rglob(workdir.RESULT)):
    place = file.parent
    try:
      of_run, result, rows = config.of_run(place), results.read(place, (workdir.CONFIG, workdir.METRICS)), metrics.read(place)
      if missing := {"status", "steps", "train_seconds", "parameters"} - result.keys():
        raise UserError(f"{file}: has no {sorted(missing)[0]}; it is damaged")
    except UserError as error:
      damaged.append(str(error))
      continue
    row = about(of_run) | _scored(of_run, result) | _when(rows) | {"folder": _encodable(place.relative_to(folder).as_posix())}
    points = [point for line in thinned(rows, max_points) for point in _points(line)]
    yield Found(_encodable(place.resolve().name), place, of_run, row, points)


def _encodable(name: str) -> str:
  """A file's name without the bytes that are no UTF-8."""
  return name.encode(errors="surrogateescape").decode(errors="replace")


def thinned(rows: Sequence[dict], most: int | None) -> list[dict]:
  """At most so many of the rows that hold an evaluation, and of the others, evenly spread, the first and the last among them."""
  if most is None:
    return list(rows)
  chosen = set()
  for evaluated in (True, False):
    numbers = [number for number, row in enumerate(rows) if any(tag.startswith("eval/") for tag in row) == evaluated]
    step = max(1, (len(numbers) - 1) / max(1, most - 1))
    chosen |= {numbers[round(i * step)] for i in range(most) if round(i * step) < len(numbers)}
  return [row for number, row in enumerate(rows) if number in chosen]


def _differing(configs: Sequence[config.Config]) -> list[str]:
  """The fields in which runs differ, or that only some use, but for those that have columns of their own."""
  names = set(config.varied([one.fields for one in configs])).difference(_HAVE_COLUMNS)
  return [name for name in config.schema() if name in names]


def _when(rows: Sequence[dict]) -> dict:
  """What a run learned at which step, from its metrics.jsonl."""
  found = timeline(rows)
  return {
      "cheat_step": found["cheat_step"], "branch_accuracy_best": found["branch_accuracy_best"],
      "branch_step": crossing(rows, "eval/test/branch_accuracy", SOLVED),
      "solve_step": crossing(rows, "eval/test/exact_match", SOLVED),
      **{f"position_{p['position']}_{name}": p[name] for p in learning_order(rows) for name in ("step_50", "step_95")},
  }


def _points(row: dict) -> list[dict]:
  """A line of metrics.jsonl as rows of curves.csv."""
  found, at = [], lambda position: {"step": row["step"], "position": position}
  while (tag := f"eval/test/position_{len(found)}") + "/accuracy" in row:
    found.append(at(len(found)) | {"accuracy": row[f"{tag}/accuracy"], "loss": row.get(f"{tag}/loss", math.nan)})
  for position, accuracy, loss in (("cheat", "eval/test/cheat_accuracy", ""), ("answer", "eval/test/exact_match", "eval/test/loss"),
                                   ("answer_train", "eval/train/exact_match", "eval/train/loss"),
                                   ("training", "train/accuracy", "train/loss")):
    if accuracy in row:
      found.append(at(position) | {"accuracy": row[accuracy], "loss": row.get(loss, math.nan)})
  terms = {tag.removeprefix("train/"): value for tag, value in row.items() if tag.startswith("train/loss_")}
  return found + [at(name) | {"accuracy": math.nan, "loss": value} for name, value in terms.items()]


def _scored(resolved: config.Config, result: dict) -> dict:
  score = lambda name: result.get(f"eval/test/{name}", math.nan)
  fields = resolved.fields
  return {
      "epochs": result["steps"] * fields["train.batch_size"] / (fields["data.num_train"] or math.nan),
      "status": result["status"], "steps": result["steps"],
      "exact_match_test": score("exact_match"), "exact_match_train": result.get("eval/train/exact_match", math.nan),
      **{name: score(name) for name in SCORES},
      "train_seconds": result["train_seconds"], "parameters": result["parameters"],
      # Not counted by older versions.
      "parameters_used": result.get("parameters_used", math.nan), "flops_per_step": result.get("flops_per_step", math.nan),
      **_others(result),
  }


def _others(result: dict) -> dict:
  """The metrics on test that no column of COLUMNS has, but for those of single positions, which are curves."""
  found = {name.removeprefix("eval/test/"): value for name, value in result.items() if name.startswith("eval/test/")}
  others = {name: value for name, value in found.items() if name not in (*SCORES, "exact_match") and not re.match(r"position_\d+/", name)}
  return {f"eval/{name}" if name in COLUMNS else name: value for name, value in others.items()}  # a column keeps its meaning
