"""A sweep's folder: sweep.json (the plan), runs/<run_id>/, and packs/<pack_id>/ with checkpoints/, and after a crash error.txt and
split.json. The same command again skips what is finished, resumes what is not and retries what failed.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence

from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.storage.locks import lock
from pathstar.sweeps import legacy
from pathstar.sweeps.packs import Pack, PlannedRun, work
from pathstar.training import tensorboard

PLAN, SPLIT, ERROR = "sweep.json", "split.json", "error.txt"


def adopt(folder: pathlib.Path, packs: Sequence[Pack]) -> list[Pack]:
  """The packs under the names that the folder knows them by: the same, unless an older version of pathstar planned it."""
  file = folder / PLAN
  if not file.exists():
    return list(packs)
  held = json.loads(file.read_text())["packs"]
  older = legacy.renamed(packs)
  return older if listing(older) == held else list(packs)


def prepare(folder: pathlib.Path, packs: Sequence[Pack]) -> None:
  """Writes the frozen plan and TensorBoard's tables of hyperparameters, or checks that the folder holds this very plan."""
  listed = listing(packs)
  with lock(workdir.make(folder), wait=True):  # several processes may start at once
    file = folder / PLAN
    if file.exists():
      held = json.loads(file.read_text())["packs"]
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
    runs = [run for pack in packs for run in pack.runs]
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
    works = {pack.pack_id: work(pack.runs[0].config) for pack in packs}
    workdir.write_json(file, {"packs": listed, "work": works, **environment()})


def listing(packs: Sequence[Pack]) -> dict[str, list[str]]:
  """The packs as sweep.json has them: pack id -> paths of its runs."""
  return {pack.pack_id: [run.path for run in pack.runs] for pack in packs}


def split_of(folder: pathlib.Path, pack_id: str) -> dict[str, list[str]]:
  """The packs that a pack was split into after it crashed, as in sweep.json; empty if it is whole."""
  file = folder / "packs" / pack_id / SPLIT
  return json.loads(file.read_text()) if file.exists() else {}


def pack_of(folder: pathlib.Path, packs: Mapping[str, list[str]], path: str) -> tuple[str, list[str]] | None:
  """(pack_id, paths of its runs) of the pack that the run at `path` trains in, splits followed; None if it is in none."""
  for pack_id, paths in packs.items():
    if path in paths:
      return pack_of(folder, split_of(folder, pack_id), path) or (pack_id, paths)
  return None


def finished(folder: pathlib.Path, run: PlannedRun) -> bool:
  return (folder / "runs" / run.path / workdir.RESULT).exists()


def all_finished(folder: pathlib.Path, pack: Pack) -> bool:
  return all(finished(folder, run) for run in pack.runs)
