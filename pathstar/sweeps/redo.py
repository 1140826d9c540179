"""Doing single runs of a sweep again, from the start: for one whose files were lost or damaged."""

import pathlib
from collections.abc import Sequence

from pathstar.errors import UserError, nearest
from pathstar.storage import workdir
from pathstar.storage.locks import lock
from pathstar.sweeps.folder import checkpoints_of, pack_of
from pathstar.sweeps.packs import Pack, PlannedRun
from pathstar.sweeps.records import FRESH, PLAN, SPLIT, named_parts, read_plan


def redo(folder: pathlib.Path, packs: Sequence[Pack], names: Sequence[str]) -> None:
  """Sets aside what is left of each run (a name is its id or its path), so that it trains again by itself. Its siblings go on.

  Raises:
    UserError: there is no such run.
    Held: its pack is in training.
  """
  runs = check(packs, names)
  for name in names:
    run = runs[name]
    planned = read_plan(folder)["packs"] if (folder / PLAN).exists() else {}
    if (found := pack_of(folder, planned, run.path)) is None:
      continue  # nothing was planned there yet
    pack_id, paths = found
    with lock(workdir.make(folder / "packs" / pack_id)):
      own = pack_id
      if len(paths) > 1:  # first: a run of a pack of its own is set aside as well as any, if this stops here
        rest, [own] = [path for path in paths if path != run.path], named_parts([run.path])
        workdir.write_json(folder / "packs" / pack_id / SPLIT, named_parts(rest, [run.path]))
      workdir.write_text(workdir.make(folder / "packs" / own) / FRESH, "its run is done again, from step 0\n")
      _set_aside(checkpoints_of(folder, own))
      for file in (folder / "runs" / run.path).glob("*"):
        if file.name in (workdir.RESULT, workdir.METRICS) or file.name.startswith("events.out."):
          _set_aside(file)
    print(f"{run.run_id}: set aside, and trained again by itself")


def check(packs: Sequence[Pack], names: Sequence[str]) -> dict[str, PlannedRun]:
  """The runs of a sweep by id and by path. Raises UserError on a name that is none of them."""
  runs = {name: run for one in packs for run in one.runs for name in (run.run_id, run.path)}
  for name in names:
    if name not in runs:
      raise UserError(f"--redo = {name!r}: no such run in this sweep{nearest(name, runs)}")
  return runs


def _set_aside(file: pathlib.Path) -> None:
  """Renames it to a name that is free and that nothing reads."""
  if file.exists():
    name = file.name.replace("tfevents", "events")  # by which TensorBoard knows its files
    file.rename(workdir.free_name(file.with_name(f"redone.{name}")))
