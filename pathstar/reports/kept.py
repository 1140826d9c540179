"""What a report keeps of its runs, so that more can be added when their folders are gone: rows, points, and in configs.json every config.

configs.json: `shared`, the fields that all its runs have alike, and `runs`, by run_id those that each has beside them. Like curves.csv it
is written before runs.csv, which alone says what the runs are: a report whose writing was cut off is still the one before.
"""

import json
import math
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pathstar import config
from pathstar.errors import UserError, shown
from pathstar.reports.csv_files import PROVENANCE, as_read, cell, is_of_runs, read_report
from pathstar.reports.rows import by
from pathstar.storage import workdir

CONFIGS = "configs.json"


class Found(NamedTuple):
  """A finished run: what it is called, where it was found, its config, and its rows of runs.csv and curves.csv."""

  name: str
  place: pathlib.Path
  config: config.Config
  row: dict
  points: list[dict]


def write_configs(out: pathlib.Path, configs: Mapping[str, config.Config]) -> None:
  """Writes the configs of a report's runs, a line a run."""
  shared, runs = config.factored({run_id: one.fields for run_id, one in configs.items()})
  lines = ",\n".join(f"  {json.dumps(run_id)}: {json.dumps(one)}" for run_id, one in runs.items())
  workdir.write_text(out / CONFIGS, f'{{"shared": {json.dumps(shared)},\n "runs": {{\n{lines}\n}}}}\n')


def is_report(folder: pathlib.Path) -> bool:
  """Whether a folder is a report, and not one of runs."""
  return (folder / PROVENANCE).exists()


def read(folder: pathlib.Path) -> Iterator[Found]:
  """The runs of a report. Raises UserError if it has no configs, or they are not those of its rows, or it is damaged."""
  if not (folder / "runs.csv").exists() or not is_of_runs(folder):
    raise UserError(f"{folder}: is no report of runs (its runs.csv has no run_id)")
  if not (folder / CONFIGS).exists():
    raise UserError(f"{folder}: is a report without {CONFIGS}, of an earlier version, and can't be added to; give the folders of its runs")
  known = workdir.read_json(folder / CONFIGS)
  rows, points = read_report(folder, "runs"), by(read_report(folder, "curves"), lambda point: point["run_id"])
  shared, configs = known.get("shared"), known.get("runs")
  names = [row["run_id"] for row in rows]
  if not (isinstance(shared, dict) and isinstance(configs, dict) and set(names) <= configs.keys()
          and len(set(names)) == len(names) and all(isinstance(one, dict) for one in configs.values())):
    raise UserError(f"{folder / CONFIGS}: must have the configs of the {len(names)} runs of runs.csv; it is damaged or not of this report")
  for what, lacking in ((f"of {CONFIGS} are not in runs.csv", configs.keys() - set(names)), ("have no curves", set(names) - points.keys())):
    if lacking:
      print(f"{folder}: {len(lacking)} runs {what}: {', '.join(sorted(lacking)[:3])}{', ...' * (len(lacking) > 3)}", file=sys.stderr)
  for name, row in zip(names, rows):
    of_run = config.recorded_in(f"{folder / CONFIGS}: {name}", shared | configs[name])
    fields = {column for column in row if "." in column and column in config.schema()}
    said = as_read([about(of_run) | {column: cell(of_run.fields.get(column, "")) for column in fields}])[0]
    for column, value in said.items():
      there = row.get(column, math.nan)
      if there != value and not (_is_nan(there) and _is_nan(value)):
        raise UserError(f"{folder / CONFIGS}: {name}: {column} = {shown(value)}: is {shown(there)} in runs.csv; one was changed")
    own = {column: value for column, value in row.items() if column not in fields}
    yield Found(name, folder / name, of_run, own, points.get(name, []))


def about(resolved: config.Config) -> dict:
  """The cells of runs.csv that the config says."""
  fields, task = resolved.fields, resolved.task
  return {
      "task": fields["task.name"], "problem": str(task), **{name: getattr(task, name, "") for name in ("degree", "length", "num_nodes")},
      **({"length": ""} if task.answers_vary else {}),  # which not every task has
      "answer_length": task.answer_length, "branch_position": "" if task.branch is None else task.branch,
      "num_train": fields["data.num_train"], "architecture": resolved.architecture, "objective": fields["objective.name"],
      "order": fields["objective.order"], "seed": resolved.seed, "chance": task.chance,
  }


def _is_nan(value) -> bool:
  return isinstance(value, float) and math.isnan(value)
