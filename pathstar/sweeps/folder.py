"""A sweep's folder: sweep.json (the plan), runs/<run_id>/, and packs/<pack_id>/ with checkpoints/, and after a crash error.txt and
split.json. The same command again skips what is finished, resumes what is not and retries what failed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from pathstar import config
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.storage.locks import lock
from pathstar.sweeps import legacy
from pathstar.sweeps.packs import Pack, PlannedRun, pack, work
from pathstar.training import tensorboard

PLAN, SPLIT, ERROR = "sweep.json", "split.json", "error.txt"


def adopt(folder: pathlib.Path, packs: Sequence[Pack]) -> list[Pack]:
  """The packs under the names that the folder knows them by: the same, unless it was planned before a field was added."""
  file = folder / PLAN
  if not file.exists() or (plan := workdir.read_json(file))["packs"] == listing(packs):
    return list(packs)
  if "common" not in plan:
    renamed = legacy.renamed(packs)
  else:
    held = {_key(config.recorded(plan["common"] | own)): path for path, own in plan["runs"].items()}
    at = lambda run, path: dataclasses.replace(run, run_id=os.path.basename(path), path=path)
    renamed = [pack([at(run, held.get(_key(run.config), run.path)) for run in one.runs]) for one in packs]
  return renamed if listing(renamed) == plan["packs"] else list(packs)


def _key(run: config.Config) -> str:
  """The same for runs that compute the same."""
  return json.dumps({name: value for name, value in run.fields.items() if name not in config.FREE_FIELDS}, sort_keys=True)


def prepare(folder: pathlib.Path, packs: Sequence[Pack]) -> None:
  """Writes the frozen plan and TensorBoard's tables of hyperparameters, or checks that the folder holds this very plan."""
  listed = listing(packs)
  with lock(workdir.make(folder), wait=True):  # several processes may start at once
    file = folder / PLAN
    if file.exists():
      held = workdir.read_json(file)["packs"]
      if held != listed:
        same_runs = sorted(sum(held.values(), [])) == sorted(sum(listed.values(), []))
        raise UserError(f"workdir = {str(folder)!r}: holds " + (
            f"this sweep in other packs (of at most {max(map(len, held.values()))} runs); give the same --max_pack" if same_runs else
            "another sweep (its runs differ from this command's); choose another workdir"))
      return
    # A start that died right here left its events and groups.
    foreign = [p.name for p in folder.iterdir() if not p.name.startswith((".", "events.out.")) and p.name not in ("logs", "runs")]
    if foreign:
      raise UserError(f"workdir = {str(folder)!r}: not empty and not a sweep's folder (it holds {sorted(foreign)[0]!r})")
    runs = [run for one in packs for run in one.runs]
    # Before the first run starts: TensorBoard never shows a hyperparameter that it has not seen here.
    for group in {"", *(os.path.dirname(run.path) for run in runs)}:
      fields = [run.config.fields for run in runs if group in ("", os.path.dirname(run.path))]
      place = workdir.make(folder / "runs" / group) if group else folder
      local = workdir.staging(place)
      events = tensorboard.Events(local)
      names = dict.fromkeys(name for f in fields for name in f)
      events.hparams_domains({name: [f[name] for f in fields if name in f] for name in names})
      events.close()
      workdir.publish(local, place)
    works = {one.pack_id: work(one.runs[0].config) for one in packs}
    workdir.write_json(file, {"packs": listed, "work": works, **_configs(runs), **environment()})


def _configs(runs: Sequence[PlannedRun]) -> dict:
  """The runs' configs as sweep.json has them: the fields of all, and by path what else a run has."""
  first = runs[0].config.fields
  common = {name: first[name] for name in first if all(name in r.config.fields and r.config.fields[name] == first[name] for r in runs)}
  return {"common": common, "runs": {r.path: {n: v for n, v in r.config.fields.items() if n not in common} for r in runs}}


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
