"""A sweep's folder: sweep.json (the plan), runs/<run_id>/, and packs/<pack_id>/ with checkpoints/, and after a crash error.txt and
split.json. The same command again skips what is finished, resumes what is not and retries what failed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pathstar import config, evals
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.storage.locks import lock
from pathstar.sweeps import legacy
from pathstar.sweeps.packs import Pack, PlannedRun, pack, work
from pathstar.training import tensorboard

PLAN, SPLIT, ERROR = "sweep.json", "split.json", "error.txt"
_ALWAYS = ("method", "topology")  # columns of TensorBoard's table, of what Config.in_words says, and of whatever differs
_IN_WORDS = ("task.name", "model.mixer", "objective.name", "objective.order")  # fields that those words tell


class Reconciled(NamedTuple):
  """What a command asks for, against what its folder holds."""

  packs: list[Pack]  # under the names that the folder knows them by
  added: list[Pack]  # those of them that its plan does not have yet


def reconcile(folder: pathlib.Path, packs: Sequence[Pack]) -> Reconciled:
  """Finds the runs of a command in the folder's plan, by what they compute, whatever they are called there and in whatever packs.

  A plan only gets longer: runs that it lacks are added in packs of their own. Of a pack of which a part is asked for, that part is run.

  Raises:
    UserError: the folder holds another sweep, with no run in common, or one that can't grow.
  """
  file = folder / PLAN
  if not file.exists():
    return Reconciled(list(packs), list(packs))
  plan = workdir.read_json(file)
  if plan["packs"] == listing(packs):  # ids tell all that a run computes
    return Reconciled(list(packs), [])
  known = _names(plan, packs)
  at = lambda run, path: dataclasses.replace(run, run_id=os.path.basename(path), path=path)
  asked = [[at(run, known.get(_key(run.config), run.path)) for run in one.runs] for one in packs]
  runs = {run.path: run for one in asked for run in one}
  found = []
  for pack_id, paths in plan["packs"].items():
    if some := tuple(runs.pop(path) for path in paths if path in runs):
      found.append(Pack(pack_id, some, whole=tuple(paths)))
  added = [pack(rest) for one in asked if (rest := [run for run in one if run.path in runs])]
  if not found or (added and "common" not in plan):
    why = "its runs differ from this command's" if not found else "version 0.1 planned it, and then it can't get more runs"
    raise UserError(f"workdir = {str(folder)!r}: holds another sweep ({why}); choose another workdir")
  return Reconciled([*found, *added], added)


def _names(plan: dict, packs: Sequence[Pack]) -> dict[str, str]:
  """What the runs of a plan compute -> their paths."""
  if "common" in plan:
    return {_key(config.recorded(plan["common"] | own)): path for path, own in plan["runs"].items()}
  held = {path for paths in plan["packs"].values() for path in paths}
  older = {_key(run.config): run.path for one in legacy.renamed(packs) for run in one.runs}
  return {key: path for key, path in older.items() if path in held}


def _key(run: config.Config) -> str:
  """The same for runs that compute the same."""
  return json.dumps(run.identity, sort_keys=True)


def prepare(folder: pathlib.Path, packs: Sequence[Pack]) -> list[Pack]:
  """Writes the plan and TensorBoard's tables of hyperparameters, or adds to those that are there; returns the packs to run.

  Raises:
    UserError: the folder is of something else, or of another sweep.
  """
  with lock(workdir.make(folder), wait=True):  # several processes may start at once
    file = folder / PLAN
    # A start that died right here left its runs' folders.
    foreign = [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name not in ("logs", "runs")]
    if foreign and not file.exists():
      raise UserError(f"workdir = {str(folder)!r}: not empty and not a sweep's folder (it holds {sorted(foreign)[0]!r})")
    found = reconcile(folder, packs)
    if found.added:
      old = workdir.read_json(file) if file.exists() else {"packs": {}, "work": {}, "common": None, "runs": {}, **environment()}
      fields = {path: (old["common"] or {}) | own for path, own in old["runs"].items()}
      fields |= {run.path: dict(run.config.fields) for one in found.added for run in one.runs}
      # Before the first run starts: TensorBoard never shows a hyperparameter that it has not seen here.
      _write_domains(folder, {path: config.recorded(one) for path, one in fields.items()})
      if file.exists():
        now = environment()
        old["grown"] = [*(old["grown"] if "grown" in old else ()), {name: now[name] for name in ("command", "commit")}]
      works = old["work"] | {one.pack_id: work(one.runs[0].config) for one in found.added}
      workdir.write_json(file, old | {"packs": old["packs"] | listing(found.added), "work": works, **_factored(fields)})
    return found.packs


def _write_domains(folder: pathlib.Path, runs: Mapping[str, config.Config]) -> None:
  """TensorBoard's table of hyperparameters: what differs between the runs (by path), and the metrics that all have.

  It lies in the first run's folder of every group, so that TensorBoard finds it wherever it is pointed at.
  """
  fields = [run.in_words | {name: value for name, value in run.fields.items() if name not in _IN_WORDS} for run in runs.values()]
  found = {name: [one[name] for one in fields if name in one] for name in dict.fromkeys(name for one in fields for name in one)}
  columns = {name: values for name, values in found.items() if name in _ALWAYS or len(set(values)) > 1}
  measured = set.intersection(*(set(dict(run.measured)) for run in runs.values()))
  metrics = [name for name in tensorboard.HPARAM_METRICS if evals.evaluation_of(name.split("/", 2)[2]) in measured]
  firsts = {os.path.dirname(path): path for path in reversed(runs)}
  for group, path in firsts.items():
    (workdir.make(folder / "runs" / path) / tensorboard.DOMAINS).write_bytes(tensorboard.domains(columns, metrics))
    for earlier in [*folder.glob("events.out.*"), *(folder / "runs" / group).glob("events.out.*")]:  # where they lay before
      earlier.unlink()


def _factored(runs: Mapping[str, Mapping]) -> dict:
  """The runs' fields as sweep.json has them: what all have alike, and by path what else a run has."""
  first, *others = runs.values()
  common = {name: value for name, value in first.items() if all(name in one and one[name] == value for one in others)}
  return {"common": common, "runs": {path: {n: v for n, v in one.items() if n not in common} for path, one in runs.items()}}


def listing(packs: Sequence[Pack]) -> dict[str, list[str]]:
  """The packs as sweep.json has them: pack id -> paths of its runs."""
  return {one.pack_id: [run.path for run in one.runs] for one in packs}


def split_of(folder: pathlib.Path, pack_id: str) -> dict[str, list[str]]:
  """The packs that a pack was split into after it crashed, as in sweep.json; empty if it is whole."""
  file = folder / "packs" / pack_id / SPLIT
  return workdir.read_json(file) if file.exists() else {}


def lineage(folder: pathlib.Path, packs: Mapping[str, list[str]], path: str) -> list[tuple[str, list[str]]]:
  """(pack_id, paths of its runs) of the pack that the run at `path` was planned in, and of those that it was split into, to the last."""
  for pack_id, paths in packs.items():
    if path in paths:
      return [(pack_id, paths), *lineage(folder, split_of(folder, pack_id), path)]
  return []


def pack_of(folder: pathlib.Path, packs: Mapping[str, list[str]], path: str) -> tuple[str, list[str]] | None:
  """(pack_id, paths of its runs) of the pack that the run at `path` trains in, splits followed; None if it is in none."""
  return next(reversed(lineage(folder, packs, path)), None)


def checkpoints_of(folder: pathlib.Path, pack_id: str) -> pathlib.Path:
  return folder / "packs" / pack_id / "checkpoints"


def finished(folder: pathlib.Path, run: PlannedRun) -> bool:
  return (folder / "runs" / run.path / workdir.RESULT).exists()


def all_finished(folder: pathlib.Path, of: Pack) -> bool:
  return all(finished(folder, run) for run in of.runs)
