"""A sweep's folder: sweep.json (the plan), runs/<run_id>/, and packs/<pack_id>/ with checkpoints/; there too, after a crash, error.txt,
or last_error.txt once it was tried again; split.json, the packs that it was split into; and from_start.txt, if its run is done again. The
same command again skips what is finished, resumes what is not and retries what failed.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pathstar import config, evals
from pathstar.errors import UserError
from pathstar.storage import results, workdir
from pathstar.storage.environment import environment
from pathstar.storage.locks import lock
from pathstar.sweeps import legacy
from pathstar.sweeps.packs import Pack, PlannedRun, pack, work
from pathstar.sweeps.records import PLAN, read_plan, split_of
from pathstar.sweeps.records import SPLIT as SPLIT  # one of the names of its files
from pathstar.training import growth, tensorboard

ERROR, LAST_ERROR = "error.txt", "last_error.txt"
_ALWAYS = ("method", "topology")  # columns of TensorBoard's table, of what Config.in_words says, and of whatever differs
_IN_WORDS = ("task.name", "model.mixer", "objective.name", "objective.order")  # fields that those words tell


class Reconciled(NamedTuple):
  """What a command asks for, against what its folder holds."""

  packs: list[Pack]  # under the names that the folder knows them by
  added: list[Pack]  # those of them that its plan does not have yet
  raised: dict[str, int]  # by path, the steps that its plan has for runs of which more are asked for


def reconcile(folder: pathlib.Path, packs: Sequence[Pack], grid: Callable[[], Sequence[Pack]] = tuple) -> Reconciled:
  """Finds the runs of a command in the folder's plan, by what they compute, whatever they are called there and in whatever packs.

  A plan only gets longer: runs that it lacks are added in packs of their own, and a run that it has with fewer steps is the same run, which
  goes on. Of a pack of which a part is asked for, that part is run.

  Args:
    grid: all of what `packs` may be a part of, where the folder may have had other parts.

  Raises:
    UserError: the folder holds another sweep, with no run in common, or one that can't grow; or a run that can't go on.
  """
  file = folder / PLAN
  if not file.exists():
    return Reconciled(list(packs), list(packs), {})
  plan = read_plan(folder)
  if plan["packs"] == listing(packs) and not ("raised" in plan and plan["raised"]):  # ids tell all that a run computes
    return Reconciled(list(packs), [], {})
  known = _names(plan, packs)
  at = lambda run, path: dataclasses.replace(run, run_id=os.path.basename(path), path=path)
  longer = _longer(plan, known, [run for one in packs for run in one.runs]) if "common" in plan else {}
  known |= {key: path for key, (path, _) in longer.items()}
  asked = [[at(run, known.get(_key(run.config), run.path)) for run in one.runs] for one in packs]
  runs = {run.path: run for one in asked for run in one}
  found = []
  for pack_id, paths in plan["packs"].items():
    some = [runs.pop(path) for path in paths if path in runs]
    for steps in dict.fromkeys(run.config.train.num_steps for run in some):  # of a pack of which a part was raised, each part
      found.append(Pack(pack_id, tuple(run for run in some if run.config.train.num_steps == steps), whole=tuple(paths)))
  added = [pack(rest) for one in asked if (rest := [run for run in one if run.path in runs])]
  planned = {path for paths in plan["packs"].values() for path in paths}
  if twice := [run.path for one in added for run in one.runs if run.path in planned]:
    raise UserError(f"{file}: has other fields for {twice[0]} than its name says; it is damaged: put back a copy")
  foreign = not found and {_but_steps(run.config.identity) for one in grid() for run in one.runs}.isdisjoint(
      _but_steps(json.loads(key)) for key in known)
  if foreign or (added and "common" not in plan):
    why = "its runs differ from this command's" if foreign else "version 0.1 planned it, and then it can't get more runs"
    raise UserError(f"workdir = {str(folder)!r}: holds another sweep ({why}); choose another workdir")
  return Reconciled([*found, *added], added, dict(longer.values()))


def _longer(plan: dict, known: Mapping[str, str], runs: Iterable[PlannedRun]) -> dict[str, tuple[str, int]]:
  """What those runs compute that the plan has with fewer steps -> (path, the steps that it has).

  Raises:
    UserError: such a run can't go on; or the plan has it with more steps, which can't be taken back.
  """
  like: dict[str, list[str]] = {}
  for key, path in known.items():
    like.setdefault(_but_steps(json.loads(key)), []).append(path)
  found = {}
  for run in runs:
    key, alike = _key(run.config), like.get(_but_steps(run.config.identity), [])
    if key in known or len(alike) != 1 or not run.grows:  # steps are a matter of the sweep itself: another number is another run
      if key not in known and run.path in plan["runs"]:
        steps = _recorded(plan["common"] | plan["runs"][run.path], run.path).train.num_steps
        raise UserError(f"{growth.STEPS} = {run.config.train.num_steps}: {run.path} was raised to {steps}, which can't be taken back; "
                        "choose another workdir")
      continue
    [path] = alike
    planned = plan["common"] | plan["runs"][path]
    steps = growth.steps_before(run.config, planned)
    if steps is None:
      raise UserError(f"{growth.STEPS} = {run.config.train.num_steps}: {path} has {_recorded(planned, path).train.num_steps}, and steps "
                      "can only be raised; choose another workdir")
    found[key] = path, steps
  return found


def _names(plan: dict, packs: Sequence[Pack]) -> dict[str, str]:
  """What the runs of a plan compute -> their paths."""
  if "common" in plan:
    return {_key(_recorded(plan["common"] | own, path)): path for path, own in plan["runs"].items()}
  held = {path for paths in plan["packs"].values() for path in paths}
  older = {_key(run.config): run.path for one in legacy.renamed(packs) for run in one.runs}
  return {key: path for key, path in older.items() if path in held}


def _recorded(fields: Mapping, path: str) -> config.Config:
  """The config of a run as the plan has it."""
  try:
    return config.recorded(fields)
  except UserError as error:
    raise UserError(f"{PLAN}: {path}: {str(error).removeprefix('config.json: ')}") from None


def _key(run: config.Config) -> str:
  """The same for runs that compute the same."""
  return json.dumps(run.identity, sort_keys=True)


def _but_steps(identity: Mapping) -> str:
  """The same for runs that compute the same, for however many steps."""
  return json.dumps({name: value for name, value in identity.items() if name != growth.STEPS}, sort_keys=True)


def prepare(folder: pathlib.Path, packs: Sequence[Pack], grid: Callable[[], Sequence[Pack]] = tuple) -> list[Pack]:
  """Writes the plan and TensorBoard's tables of hyperparameters, or adds to those that are there; returns the packs to run.

  Args:
    grid: as for `reconcile`.

  Raises:
    UserError: the folder is of something else, or of another sweep.
  """
  workdir.refuse_foreign(folder, PLAN, "a sweep's", ("logs", "runs"))  # a start that died right here left its groups
  with lock(workdir.make(folder), wait=True):  # several processes may start at once
    file = folder / PLAN
    found = reconcile(folder, packs, grid)
    if found.added or found.raised:
      old = read_plan(folder) if file.exists() else {"packs": {}, "work": {}, "common": None, "runs": {}, **environment()}
      fields = {path: (old["common"] or {}) | own for path, own in old["runs"].items()}
      new = [run for one in found.packs for run in one.runs if one in found.added or run.path in found.raised]
      fields |= {run.path: dict(run.config.fields) for run in new}
      # Before the first run starts: TensorBoard never shows a hyperparameter that it has not seen here.
      _write_domains(folder, {path: _recorded(one, path) for path, one in fields.items()}, file.exists())
      if file.exists():
        now = environment()
        old["grown"] = [*(old["grown"] if "grown" in old else ()), {name: now[name] for name in ("command", "commit")}]
      works = old["work"] | {one.pack_id: work(one.runs[0].config) for one in found.packs if one.runs[0] in new}
      raised = (old["raised"] if "raised" in old else {}) | found.raised
      common, own = config.factored(fields)
      workdir.write_json(file, old | {"packs": old["packs"] | listing(found.added), "work": works, "raised": raised, "common": common,
                                      "runs": own})
    return found.packs


def _write_domains(folder: pathlib.Path, runs: Mapping[str, config.Config], planned: bool) -> None:
  """TensorBoard's table of hyperparameters: what differs between the runs (by path), and the metrics that all have.

  It lies in the first run's folder of every group, so that TensorBoard finds it wherever it is pointed at. Where
  earlier versions wrote it, it is removed if the folder was `planned`, and so is ours.
  """
  fields = [run.in_words | {name: value for name, value in run.fields.items() if name not in _IN_WORDS} for run in runs.values()]
  found = {name: [one[name] for one in fields if name in one] for name in dict.fromkeys(name for one in fields for name in one)}
  columns = {name: values for name, values in found.items() if name in _ALWAYS or len(set(values)) > 1}
  measured = set.intersection(*(set(dict(run.measured)) for run in runs.values()))
  metrics = [name for name in tensorboard.HPARAM_METRICS if evals.evaluation_of(name.split("/", 2)[2]) in measured]
  firsts = {os.path.dirname(path): path for path in reversed(runs)}
  for group, path in firsts.items():
    (workdir.make(folder / "runs" / path) / tensorboard.DOMAINS).write_bytes(tensorboard.domains(columns, metrics))
    for place in (folder, folder / "runs" / group) if planned else ():
      for earlier in place.glob("events.out.*"):
        earlier.unlink()


def listing(packs: Sequence[Pack]) -> dict[str, list[str]]:
  """The packs as sweep.json has them: pack id -> paths of its runs."""
  return {one.pack_id: [run.path for run in one.runs] for one in packs}


def lineage(folder: pathlib.Path, packs: Mapping[str, list[str]], path: str) -> list[tuple[str, list[str]]]:
  """(pack_id, paths of its runs) of the pack that the run at `path` was planned in, and of those that it was split into, to the last."""
  for pack_id, paths in packs.items():
    if path in paths:
      return [(pack_id, paths), *lineage(folder, split_of(folder, pack_id, paths), path)]
  return []


def sweep_of(run: pathlib.Path) -> tuple[pathlib.Path, list[tuple[str, list[str]]]] | None:
  """The folder of the sweep that planned the run in this folder, and the run's `lineage` there; None if it is of no sweep."""
  for parent in run.parents:
    if (parent / PLAN).exists() and run.is_relative_to(parent / "runs"):
      if line := lineage(parent, read_plan(parent)["packs"], run.relative_to(parent / "runs").as_posix()):
        return parent, line
  return None


def pack_of(folder: pathlib.Path, packs: Mapping[str, list[str]], path: str) -> tuple[str, list[str]] | None:
  """(pack_id, paths of its runs) of the pack that the run at `path` trains in, splits followed; None if it is in none."""
  return next(reversed(lineage(folder, packs, path)), None)


def checkpoints_of(folder: pathlib.Path, pack_id: str) -> pathlib.Path:
  return folder / "packs" / pack_id / "checkpoints"


def has_saved(folder: pathlib.Path, pack_id: str) -> bool:
  """Whether a pack has a checkpoint of its own."""
  return growth.has_saved([checkpoints_of(folder, pack_id)])


def finished(folder: pathlib.Path, run: PlannedRun) -> bool:
  """Whether a run has a result, and of as many steps as are asked for. One that can't be read is one, and is said at the end."""
  place = folder / "runs" / run.path
  if not (place / workdir.RESULT).exists():
    return False
  try:
    return not is_short(results.read(place), run.config.train.num_steps)
  except UserError:
    return True


def damaged(folder: pathlib.Path, packs: Sequence[Pack]) -> list[tuple[str, str]]:
  """The finished runs whose files are not what they were, and how; of a remote folder the results alone are read."""
  found, beside = [], () if workdir.is_remote(folder) else (workdir.CONFIG, workdir.METRICS)
  for run in (run for one in packs for run in one.runs if finished(folder, run)):
    try:
      results.read(folder / "runs" / run.path, beside)
    except UserError as error:
      found.append((run.run_id, str(error)))
  return found


def is_short(result: Mapping, num_steps: int) -> bool:
  """Whether a result is of a run of fewer steps: it was raised since, and has not gone on yet."""
  return result.get("status") == "done" and result.get("steps", num_steps) < num_steps


def all_finished(folder: pathlib.Path, of: Pack) -> bool:
  return all(finished(folder, run) for run in of.runs)
