"""Run folders -> rows: one a run (runs.csv), and one a point of a curve (curves.csv)."""

import json
import math
import pathlib
from collections.abc import Sequence

from pathstar import config
from pathstar.errors import UserError
from pathstar.reports.curves import crossing, learning_order, timeline
from pathstar.reports.rows import SOLVED
from pathstar.storage import workdir
from pathstar.training import metrics

SCORES = ("branch_accuracy", "legal_mass", "branch_entropy", "cheat_accuracy", "end_follows_arm", "end_copies_goal",
          "generated_exact_match", "token_error", "snowball_prediction")
COLUMNS = ("run_id", "task", "problem", "degree", "length", "answer_length", "branch_position", "num_nodes", "num_train", "epochs",
           "architecture", "objective", "order", "seed", "status", "steps", "exact_match_test", "exact_match_train", *SCORES, "chance",
           "train_seconds", "parameters", "parameters_used", "cheat_step", "branch_accuracy_best", "branch_step")
# and position_k_step_50, .._95, and every other metric that a run ends with on test, by its own name.
# `position`: of the path, 0 = start; `cheat`: accuracy along a wrong arm.
CURVE_COLUMNS = ("run_id", "step", "position", "accuracy", "loss")


def collect(folder: pathlib.Path) -> tuple[list[dict], list[dict]]:
  """Rows of runs.csv and of curves.csv (test split, per position of the path) for every finished run below `folder`.

  Raises:
    UserError: there is none.
  """
  runs, curves = [], []
  for result_file in sorted(folder.rglob(workdir.RESULT)):
    run_folder = result_file.parent
    result = json.loads(result_file.read_text())
    fields = json.loads((run_folder / workdir.CONFIG).read_text())
    runs.append(_run_row(run_folder.name, fields, result))
    rows = list(metrics.read(run_folder))
    runs[-1] |= _when(rows)
    curves += [{"run_id": run_folder.name} | point for row in rows for point in _points(row)]
  if not runs:
    raise UserError(f"workdir = {str(folder)!r}: holds no finished run (a folder with {workdir.RESULT})")
  by = ("task", "degree", "length", "problem", "architecture", "objective", "order", "seed")
  runs.sort(key=lambda r: [r[name] for name in by])
  return runs, curves


def _when(rows: Sequence[dict]) -> dict:
  """What a run learned at which step, from its metrics.jsonl."""
  found = timeline(rows)
  return {
      "cheat_step": found["cheat_step"], "branch_accuracy_best": found["branch_accuracy_best"],
      "branch_step": crossing(rows, "eval/test/branch_accuracy", SOLVED),
      **{f"position_{p['position']}_{name}": p[name] for p in learning_order(rows) for name in ("step_50", "step_95")},
  }


def _points(row: dict) -> list[dict]:
  """A line of metrics.jsonl as rows of curves.csv."""
  found, at = [], lambda position: {"step": row["step"], "position": position}
  while (tag := f"eval/test/position_{len(found)}") + "/accuracy" in row:
    found.append(at(len(found)) | {"accuracy": row[f"{tag}/accuracy"], "loss": row.get(f"{tag}/loss", math.nan)})
  if "eval/test/cheat_accuracy" in row:
    found.append(at("cheat") | {"accuracy": row["eval/test/cheat_accuracy"]})
  return found


def _run_row(run_id: str, fields: dict, result: dict) -> dict:
  resolved = config.recorded(fields)
  fields = resolved.fields
  task = resolved.task
  score = lambda name: result.get(f"eval/test/{name}", math.nan)
  return {
      "run_id": run_id, "task": fields["task.name"], "problem": str(task),
      **{name: getattr(task, name, "") for name in ("degree", "length", "num_nodes")},  # which not every task has
      "answer_length": task.answer_length, "branch_position": "" if task.branch is None else task.branch,
      "num_train": fields["data.num_train"],
      "epochs": result["steps"] * fields["train.batch_size"] / (fields["data.num_train"] or math.inf),
      "architecture": resolved.architecture, "objective": fields["objective.name"], "order": fields["objective.order"],
      "seed": resolved.seed, "status": result["status"], "steps": result["steps"],
      "exact_match_test": score("exact_match"), "exact_match_train": result.get("eval/train/exact_match", math.nan),
      **{name: score(name) for name in SCORES},
      "chance": task.chance, "train_seconds": result["train_seconds"], "parameters": result["parameters"],
      "parameters_used": result.get("parameters_used", math.nan),  # not counted by version 0.1
      **_others(result),
  }


def _others(result: dict) -> dict:
  """The metrics on test that no column of COLUMNS has, but for those of single positions, which are curves."""
  found = {name.removeprefix("eval/test/"): value for name, value in result.items() if name.startswith("eval/test/")}
  return {name: value for name, value in found.items() if name not in (*SCORES, "exact_match") and not name.startswith("position_")}
