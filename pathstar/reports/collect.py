"""Run folders -> rows: one a run (runs.csv), and one a point of a curve (curves.csv)."""

import collections
import json
import math
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from pathstar import config
from pathstar.errors import UserError
from pathstar.reports.curves import crossing, learning_order, timeline
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
_HAVE_COLUMNS = ("seed", "task.name", "task.degree", "task.length", "task.num_nodes", "task.target", "model.mixer", "objective.name",
                 "objective.order", "data.num_train")


class Found(NamedTuple):
  """A finished run, as it lies on disk."""

  folder: pathlib.Path  # in which it was found
  place: pathlib.Path
  config: config.Config
  result: dict
  rows: list[dict]


def collect(folders: Sequence[pathlib.Path], max_points: int | None = MAX_POINTS,
            only: Sequence[str] = ()) -> tuple[list[dict], list[dict]]:
  """Rows of runs.csv and of curves.csv (test split, per position of the path) for every finished run below the folders.

  A run that is found twice counts once, and one whose files are damaged is passed over; both are said. `max_points` thins each curve;
  None: every point. `only`: `FIELD=VALUE,...`.

  Raises:
    UserError: there is none.
  """
  found = config.selected(_find(folders), only, lambda run: run.config.fields)
  if not found:
    raise UserError(f"workdir = {', '.join(map(str, folders))!r}: holds no finished run (a folder with {workdir.RESULT})")
  differing = _differing([run.config for run in found])
  names = collections.Counter(run.place.name for run in found)
  runs, curves = [], []
  for run in found:
    run_id = run.place.name if names[run.place.name] == 1 else str(run.place)  # runs of one's own may be called alike
    where = {"folder": run.place.relative_to(run.folder).as_posix()} | ({"source": str(run.folder)} if len(folders) > 1 else {})
    fields = {name: _cell(run.config.fields[name] if name in run.config.fields else "") for name in differing}
    runs.append(_run_row(run_id, run.config, run.result) | _when(run.rows) | where | fields)
    curves += [{"run_id": run_id} | point for row in thinned(run.rows, max_points) for point in _points(row)]
  by = ("task", "degree", "length", "problem", "num_nodes", "architecture", "objective", "order", *differing, "seed")
  in_order = lambda value: (1, str(value)) if isinstance(value, str) or value is None else (0, value)  # numbers before words
  runs.sort(key=lambda r: [in_order(r[name]) for name in by])
  return runs, curves


def _find(folders: Sequence[pathlib.Path]) -> list[Found]:
  """The finished runs below the folders, each once."""
  found, twice, damaged = {}, [], []
  for folder in folders:
    for file in sorted(folder.rglob(workdir.RESULT)):
      place = file.parent
      try:
        run = Found(folder, place, config.of_run(place), results.read(place, (workdir.CONFIG, workdir.METRICS)),
                    metrics.read(place))
        if missing := {"status", "steps", "train_seconds", "parameters"} - run.result.keys():
          raise UserError(f"{file}: has no {sorted(missing)[0]}; it is damaged")
      except UserError as error:
        damaged.append(str(error))
        continue
      key = json.dumps(run.config.identity, sort_keys=True)
      twice += [str(place)] * (key in found)
      found.setdefault(key, run)
  for problem, names in (("found twice and count once", twice), ("damaged and left out", damaged)):
    if names:
      print(f"{len(names)} runs are {problem}: {'; '.join(names[:3])}{'; ...' * (len(names) > 3)}", file=sys.stderr)
  return list(found.values())


def thinned(rows: Sequence[dict], most: int | None) -> list[dict]:
  """At most so many of the rows that hold an evaluation, and of the others, evenly spread, the first and the last among them."""
  if most is None:
    return list(rows)
  kept = set()
  for evaluated in (True, False):
    numbers = [number for number, row in enumerate(rows) if any(tag.startswith("eval/") for tag in row) == evaluated]
    step = max(1, (len(numbers) - 1) / max(1, most - 1))
    kept |= {numbers[round(i * step)] for i in range(most) if round(i * step) < len(numbers)}
  return [row for number, row in enumerate(rows) if number in kept]


def _differing(configs: Sequence[config.Config]) -> list[str]:
  """The fields in which runs differ, or that only some use, but for those that have columns of their own."""
  names = (name for name in config.schema() if name not in (*_HAVE_COLUMNS, *config.FREE_FIELDS))
  return [name for name in names if any(one.fields.get(name) != configs[0].fields.get(name) for one in configs)]


def _cell(value) -> object:
  """A field's value as a CSV cell that is read again as it was."""
  return "None" if value is None else "+".join(map(str, value)) if isinstance(value, tuple) else value


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


def _run_row(run_id: str, resolved: config.Config, result: dict) -> dict:
  fields, task = resolved.fields, resolved.task
  score = lambda name: result.get(f"eval/test/{name}", math.nan)
  return {
      "run_id": run_id, "task": fields["task.name"], "problem": str(task),
      **{name: getattr(task, name, "") for name in ("degree", "length", "num_nodes")},  # which not every task has
      **({"length": ""} if task.answers_vary else {}),
      "answer_length": task.answer_length, "branch_position": "" if task.branch is None else task.branch,
      "num_train": fields["data.num_train"],
      "epochs": result["steps"] * fields["train.batch_size"] / (fields["data.num_train"] or math.nan),
      "architecture": resolved.architecture, "objective": fields["objective.name"], "order": fields["objective.order"],
      "seed": resolved.seed, "status": result["status"], "steps": result["steps"],
      "exact_match_test": score("exact_match"), "exact_match_train": result.get("eval/train/exact_match", math.nan),
      **{name: score(name) for name in SCORES},
      "chance": task.chance, "train_seconds": result["train_seconds"], "parameters": result["parameters"],
      # Not counted by older versions.
      "parameters_used": result.get("parameters_used", math.nan), "flops_per_step": result.get("flops_per_step", math.nan),
      **_others(result),
  }


def _others(result: dict) -> dict:
  """The metrics on test that no column of COLUMNS has, but for those of single positions, which are curves."""
  found = {name.removeprefix("eval/test/"): value for name, value in result.items() if name.startswith("eval/test/")}
  others = {name: value for name, value in found.items() if name not in (*SCORES, "exact_match") and not re.match(r"position_\d+/", name)}
  return {f"eval/{name}" if name in COLUMNS else name: value for name, value in others.items()}  # a column keeps its meaning
