"""Runs the packs of a sweep, so that several processes can share one folder and a crash costs only what is to blame for it.

A pack is locked for as long as it trains; one that another process holds is passed over and looked at again at the end, on a bucket for as
long as it takes to see that its holder is dead. A pack that crashes is tried once more, then split into single runs, in
packs/<pack_id>/split.json; one that runs out of memory is split in halves, and before it trains one of which a part is asked for (--only,
--redo), or that is larger than --max_pack and has not saved. The parts go on from its newest checkpoint.
A crash of one of several processes of a job ends the job, and an outage of the machine (a full disk) ends the sweep: it is no run's fault.
"""

import contextlib
import dataclasses
import gc
import pathlib
import sys
import traceback
from collections.abc import Mapping, Sequence

from pathstar.config import varied
from pathstar.devices import compiled, hosts
from pathstar.devices.mesh import make_mesh
from pathstar.errors import Held, Outage, Stopped, UserError, listed, out_of_memory, outage, say
from pathstar.storage import workdir
from pathstar.storage.locks import lease, lock
from pathstar.sweeps.folder import ERROR, LAST_ERROR, all_finished, checkpoints_of, damaged, finished, has_saved
from pathstar.sweeps.packs import Pack, lots, part, work
from pathstar.sweeps.records import FRESH, SPLIT, check_places, named_parts, split_of
from pathstar.training.ahead import Ahead
from pathstar.training.progress import Progress, in_words
from pathstar.training.signals import stop_on_signals
from pathstar.training.train import Inherited, train


def check_meshes(packs: Sequence[Pack]) -> None:
  """Raises UserError, with every pack whose mesh doesn't fit it or these devices, before any of them starts."""
  errors = []
  for pack in packs:
    first = pack.runs[0].config
    try:
      make_mesh(first.mesh, len(pack.runs), first.train.batch_size)
    except UserError as error:
      errors.append(f"{pack.pack_id}: {error}")
  if errors:
    raise UserError(f"{len(errors)} of {len(packs)} packs are impossible here:\n  {listed(errors)}")


def execute(folder: pathlib.Path, packs: Sequence[Pack], max_pack: int | None = None) -> int:
  """Runs what is not finished, what has not saved yet in packs of at most `max_pack`; returns the exit status: 1 if a run failed.

  Raises:
    Stopped: a signal came; the same command resumes.
  """
  compiled.keep(workdir.absolute(folder) / "compiled")  # packs of one shape, and all processes, compile once
  failed, held, told, patience, ahead = [], [], _told_by(packs), lease(folder), Ahead()
  left = lambda packs: float(sum(work(run.config) for pack in packs for run in pack.runs if not finished(folder, run)))
  amounts, number = {pack.pack_id: left([pack]) for pack in packs}, len(packs)
  everything = float(sum(work(run.config) for pack in packs for run in pack.runs))
  with stop_on_signals() as stop, contextlib.closing(Progress(everything)) as progress:
    todo, passed = list(packs), []
    while todo:
      pack = todo.pop(0)
      if not hosts.all_of(not stop.is_set()):
        raise Stopped("stopped by a signal between packs; the same command resumes")
      rest = [*todo, *passed]
      progress.next(number - len(rest), number, amounts[pack.pack_id], sum(amounts[one.pack_id] for one in rest),
                    told.get(pack.pack_id, ""))
      ahead.following = next(([run.config for run in one.runs] for one in rest if not all_finished(folder, one)), None)
      try:
        outcome = run_pack(folder, pack, progress, ahead, max_pack)
      except Outage:
        raise
      except UserError as error:  # its files are damaged: that pack stops, and no other
        outcome = str(error)
      if outcome is None:
        passed.append(pack)
      elif isinstance(outcome, str):
        failed += [(run.run_id, outcome) for run in pack.runs if not finished(folder, run)]
      elif outcome:
        todo[:0], number = outcome, number + len(outcome) - 1
        amounts |= {one.pack_id: left([one]) for one in outcome}
      if not todo and passed and passed == held and patience:
        say(f"{len(passed)} packs are in the hands of other processes; in {patience:.0f} s it shows whether they live", sys.stdout)
        stop.wait(patience)
        held, patience = [], 0.0
      if not todo and passed != held:  # another look, unless the last one changed nothing
        todo, passed, held = list(passed), [], passed
  failed += damaged(folder, packs)
  missing = {run.run_id for pack in packs for run in pack.runs if not finished(folder, run)} - {name for name, _ in failed}
  total = sum(len(pack.runs) for pack in packs)
  print(f"{total - len(missing) - len(failed)} of {total} runs finished in {folder}")
  if missing:
    print(f"{len(missing)} more are in the hands of other processes: {', '.join(sorted(missing))}")
  for name, error in failed:
    print(f"failed: {name}: {error}", file=sys.stderr)
  return 1 if failed else 0


def _told_by(packs: Sequence[Pack]) -> dict[str, str]:
  """By pack id, what tells each pack from those that are the same in words: `width 64`."""
  found, words = {}, lambda pack: in_words([run.config for run in pack.runs])
  for alike in ([one for one in packs if words(one) == said] for said in dict.fromkeys(map(words, packs))):
    names = varied([one.runs[0].config.fields for one in alike])
    for one in alike:
      values = {name: {run.config.fields[name] for run in one.runs if name in run.config.fields} for name in names}
      found[one.pack_id] = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, own in values.items() if len(own) == 1 for value in own)
  return found


def split_before(folder: pathlib.Path, pack: Pack, max_pack: int | None) -> dict[str, list[str]]:
  """How a pack is split before it trains, as in split.json; empty: it is not.

  As it was once; or what is asked for apart from the rest, which is left as it is; or, if nothing is saved yet, to `max_pack` runs at most.
  """
  if parts := split_of(folder, pack.pack_id, pack.paths):
    return parts
  if len(pack.paths) > len(pack.runs):
    asked = [run.path for run in pack.runs]
    return named_parts(asked, [path for path in pack.paths if path not in asked])
  if max_pack and len(pack.paths) > max_pack and not has_saved(folder, pack.pack_id) and not _inherited(folder, pack):
    return named_parts(*lots(pack.paths, max_pack))
  return {}


def parts_asked(pack: Pack, parts: Mapping[str, Sequence[str]]) -> list[Pack]:
  """Those of a pack's parts that have runs that are asked for."""
  runs = {run.path: run for run in pack.runs}
  asked = {pack_id: [runs[path] for path in paths if path in runs] for pack_id, paths in parts.items()}
  return [part(some, pack, pack_id, parts[pack_id]) for pack_id, some in asked.items() if some]


def foreseen(folder: pathlib.Path, pack: Pack, max_pack: int | None) -> list[Pack]:
  """The packs that run in the place of one, as far as is known before it starts."""
  parts = {} if all_finished(folder, pack) else split_before(folder, pack, max_pack)
  return [leaf for one in parts_asked(pack, parts) for leaf in foreseen(folder, one, max_pack)] if parts else [pack]


def run_pack(folder: pathlib.Path, pack: Pack, progress: Progress, ahead: Ahead, max_pack: int | None = None) -> list[Pack] | str | None:
  """Trains a pack. Returns the packs to run in its place (none if it finished), its error if it failed, or None if it is held."""
  check_places(folder, [pack.pack_id], pack.paths)
  if all_finished(folder, pack):
    return []
  place = workdir.make(folder / "packs" / pack.pack_id)
  try:
    with contextlib.ExitStack() as stack:
      with hosts.together():  # of several processes of one job the first holds the lock; if it can't, all stop
        if hosts.is_first():
          stack.enter_context(lock(place))
      if parts := split_before(folder, pack, max_pack):
        if not (place / SPLIT).exists():
          workdir.write_json(place / SPLIT, parts)
        return parts_asked(pack, parts)
      if all_finished(folder, pack):  # by another process, a moment ago
        return []
      return _train(folder, pack, place, progress, ahead)
  except Held:
    return None


def _train(folder: pathlib.Path, pack: Pack, place: pathlib.Path, progress: Progress, ahead: Ahead) -> list[Pack] | str:
  """`run_pack` with the lock held."""
  if hosts.is_first() and (place / ERROR).exists():  # of an earlier start: while it is tried again it has not failed
    (place / ERROR).replace(place / LAST_ERROR)
  for last in (False, True):
    crash = _attempt(folder, pack, progress, ahead)
    if crash is None:
      return []
    gc.collect()  # the pack's arrays, before the next attempt
    again = not (last or crash.bad_input or crash.out_of_memory or hosts.several())
    workdir.write_text(file := place / (LAST_ERROR if again else ERROR), crash.traceback)
    say(f"{pack.pack_id}: crashed ({crash.error}); traceback in {file}")
    if hosts.several() and not crash.bad_input:  # the others may still be in the step's collectives; only the end of the job frees them
      raise RuntimeError(f"{pack.pack_id}: {crash.error}")
    todo = [run for run in pack.runs if not finished(folder, run)]
    size = -(-len(todo) // 2) if crash.out_of_memory else 1
    if crash.bad_input or (len(todo) == 1 and (last or crash.out_of_memory)):
      return crash.error
    if last or crash.out_of_memory:
      parts = [part(todo[first:first + size], pack) for first in range(0, len(todo), size)]
      workdir.write_json(place / SPLIT, {part.pack_id: [run.path for run in part.runs] for part in parts})
      say(f"{pack.pack_id}: split into {len(parts)} packs", sys.stdout)
      return parts
    say(f"{pack.pack_id}: tried once more", sys.stdout)


def _inherited(folder: pathlib.Path, pack: Pack) -> Inherited | None:
  """Where a part of a split pack goes on from: the checkpoints of the nearest pack that it came from; None for a run done again."""
  parent = None if (folder / "packs" / pack.pack_id / FRESH).exists() else pack.parent
  while parent is not None:
    if has_saved(folder, parent.pack_id):
      return Inherited(checkpoints_of(folder, parent.pack_id), tuple(parent.paths.index(run.path) for run in pack.runs), len(parent.paths))
    parent = parent.parent
  return None


@dataclasses.dataclass(frozen=True)
class Crash:
  """Why an attempt failed, as text: the exception itself would keep the pack's arrays alive."""

  error: str
  traceback: str
  out_of_memory: bool
  bad_input: bool


def _attempt(folder: pathlib.Path, pack: Pack, progress: Progress, ahead: Ahead) -> Crash | None:
  try:
    ended = train([run.config for run in pack.runs], [folder / "runs" / run.path for run in pack.runs],
                  checkpoints_of(folder, pack.pack_id), _inherited(folder, pack), progress, ahead)
    progress.end([run.config for run in pack.runs], ended)
  except (Stopped, Outage):
    raise
  except Exception as error:
    first_line = str(error).partition("\n")[0]
    if said := outage(error):
      raise Outage(f"{pack.pack_id}: {said}; nothing is wrong with its runs, and the same command goes on") from error
    if not (folder / "packs" / pack.pack_id).is_dir():
      raise Outage(f"{folder}: was removed while the sweep was writing there") from error
    return Crash(f"{type(error).__name__}: {first_line}", traceback.format_exc(), out_of_memory(error), isinstance(error, UserError))
