"""`pathstar sweep --status`: how far a sweep is, what runs now, what failed, when it ends, and the best cells, from its folder alone.

A run is done or diverged by its result.json, running while a process holds its pack's lock, failed if its pack crashed and was not
tried again since, and waiting otherwise.
"""

import collections
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Sequence

from pathstar import config
from pathstar.errors import UserError
from pathstar.storage import results, workdir
from pathstar.storage.locks import holder
from pathstar.sweeps.folder import ERROR, LAST_ERROR, is_short, pack_of
from pathstar.sweeps.records import PLAN, read_plan
from pathstar.training import metrics
from pathstar.training.progress import clock

STATES = ("done", "running", "failed", "diverged", "waiting")
SCORE = "eval/test/exact_match"


@dataclasses.dataclass(frozen=True)
class Entry:
  """Where one run stands. `work` is in packs.work's unit."""

  path: str
  pack_id: str
  state: str
  work: float
  result: dict  # result.json, or {}
  source: pathlib.Path | None = None  # the sweep's folder
  damage: str = ""  # what is wrong with its files

  @property
  def group(self) -> str:
    return self._parts()[0]

  @property
  def cell(self) -> str:
    """What tells it from the others of its group: seed and hash."""
    return self._parts()[1]

  def _parts(self) -> tuple[str, str]:
    name = pathlib.PurePosixPath(self.path).name
    found = re.fullmatch(r"(.+)-(s\d+-[0-9a-f]+)", name)
    return found.groups() if found else (name, "")


def read(folder: pathlib.Path, only: Sequence[str] = ()) -> list[Entry]:
  """All runs of the sweep in `folder`, or those of `FIELD=VALUE,...`, in the order of its plan. Raises UserError if there is none."""
  return read_all([folder], only)[folder]


def read_all(folders: Sequence[pathlib.Path], only: Sequence[str] = ()) -> dict[pathlib.Path, list[Entry]]:
  """As `read`, of several sweeps: what is chosen need not be in each."""
  plans = {folder: _plan_of(folder, only) for folder in folders}
  every = [(folder, path) for folder, plan in plans.items() for paths in plan["packs"].values() for path in paths]
  fields = lambda place: plans[place[0]]["common"] | plans[place[0]]["runs"][place[1]]
  chosen = set(config.selected(every, only, fields))
  return {folder: _entries(workdir.reach(folder), plan, lambda path: (folder, path) in chosen) for folder, plan in plans.items()}


def _plan_of(folder: pathlib.Path, only: Sequence[str]) -> dict:
  folder = workdir.reach(folder)
  if not (folder / PLAN).exists():
    raise UserError(f"workdir = {str(folder)!r}: holds no sweep (it has no {PLAN}){_elsewhere(folder)}")
  plan = read_plan(folder)
  if only and "common" not in plan:
    raise UserError(f"--only: version 0.1 planned {folder}, and did not say which fields its runs have")
  return plan


def _entries(folder: pathlib.Path, plan: dict, chosen: Callable[[str], bool]) -> list[Entry]:
  entries, held = [], functools.cache(holder)  # asked once a pack: to ask takes its lock for a moment
  for planned, paths in plan["packs"].items():
    for path in filter(chosen, paths):
      pack_id, result, damage = planned, {}, ""
      try:
        pack_id, _ = pack_of(folder, {planned: paths}, path)
        if (folder / "runs" / path / workdir.RESULT).exists():
          result = results.read(folder / "runs" / path)
      except UserError as error:  # of that run, or pack, alone
        damage = str(error)
      if "common" in plan and is_short(result, (plan["common"] | plan["runs"][path]).get("train.num_steps", 0)):
        result = {}
      place = folder / "packs" / pack_id
      state = "failed" if damage else result.get("status") or ("running" if held(place) else
                                                               "failed" if (place / ERROR).exists() else "waiting")
      entries.append(Entry(path, pack_id, state, plan["work"][planned], result, folder, damage))
  return entries


def _elsewhere(folder: pathlib.Path) -> str:
  """Where near a folder that holds no sweep there are some."""
  if workdir.is_remote(folder) or not folder.is_dir():
    return ""
  if (above := next((parent for parent in folder.absolute().parents if (parent / PLAN).exists()), None)) is not None:
    return f"; it belongs to the sweep in {above}"
  below = sorted(str(file.parent) for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{PLAN}"))
  more = f" and {len(below) - 3} more" if len(below) > 3 else ""
  return f"; below it there are sweeps: {', '.join(below[:3])}{more}; --workdir may be given several times" if below else ""


@dataclasses.dataclass(frozen=True)
class Running:
  """A pack that trains now."""

  pack_id: str
  step: int
  num_steps: int
  rate: float | None  # steps per second
  holder: str
  work: float  # of all its runs

  @property
  def seconds_left(self) -> float | None:
    return (self.num_steps - self.step) / self.rate if self.rate else None


def running(folder: pathlib.Path, entries: Sequence[Entry]) -> list[Running]:
  """The packs that train now, with how far their first run is."""
  packs: dict[str, list[Entry]] = {}
  for entry in entries:
    if entry.state == "running":
      packs.setdefault(entry.pack_id, []).append(entry)
  found = []
  for pack_id, members in packs.items():
    run = folder / "runs" / members[0].path
    rows, _ = metrics.read_good(run)  # what is damaged is said when its training ends
    rate = next((row["perf/steps_per_sec"] for row in reversed(rows) if "perf/steps_per_sec" in row), None)
    file = run / workdir.CONFIG
    try:
      num_steps = config.of_run(run).train.num_steps if file.exists() else 0
    except UserError:  # which is said when its training ends
      num_steps = 0
    found.append(Running(pack_id, rows[-1]["step"] if rows else 0, num_steps, rate,
                         holder(folder / "packs" / pack_id) or "a process that has just ended", sum(e.work for e in members)))
  return found


def seconds_left(entries: Sequence[Entry], now: Sequence[Running]) -> float | None:
  """Until all is done, with as many processes as run now (or one), at the speed seen so far; None before there is any."""
  done = [e for e in entries if "train_seconds" in e.result]
  if done:
    seconds_per_work = sum(e.result["train_seconds"] for e in done) / sum(e.work for e in done)
  elif rated := [pack for pack in now if pack.rate]:
    seconds_per_work = sum(pack.num_steps / pack.rate for pack in rated) / sum(pack.work for pack in rated)
  else:
    return None
  waiting = seconds_per_work * sum(e.work for e in entries if e.state == "waiting")
  current = [seconds_per_work * pack.work if pack.seconds_left is None else pack.seconds_left for pack in now]
  return max([(waiting + sum(current)) / max(1, len(now)), *current])


def aligned(rows: Sequence[Sequence[object]]) -> str:
  """Columns side by side, the first row being their heads; numbers to the right."""
  cells = [[str(value) for value in row] for row in rows]
  widths = [max(map(len, column)) for column in zip(*cells)]
  right = [all(re.fullmatch(r"[\d.:/ -]*", value) for value in column[1:]) for column in zip(*cells)]
  lines = ["  ".join(value.rjust(w) if r else value.ljust(w) for value, w, r in zip(row, widths, right)) for row in cells]
  return "\n".join(line.rstrip() for line in lines)


def show(folders: Sequence[pathlib.Path], only: Sequence[str] = ()) -> str:
  """The whole report as text; of several folders each line says which it is of."""
  found = read_all(folders, only)
  entries = [entry for one in found.values() for entry in one]
  at_work = [(folder, one) for folder, members in found.items() for one in running(folder, members)]
  now = [one for _, one in at_work]
  source = lambda value: (str(value),) if len(found) > 1 else ()
  counts = collections.Counter(e.state for e in entries)
  left = seconds_left(entries, now)
  with_processes = f", with {len(now) or 1} process{'es' if len(now) > 1 else ''}"
  eta = ""
  if counts["running"] + counts["waiting"]:
    eta = "   ETA " + (clock(left) + with_processes if left is not None else "unknown yet")
  parts = [f"{', '.join(map(str, found))}: {len(entries)} runs in {len({(e.source, e.pack_id) for e in entries})} packs\n"
           + "   ".join(f"{state} {counts[state]}" for state in STATES) + eta]
  if now:
    parts.append(aligned([("running now", "step", "steps/s", "ETA", "by", *source("source")), *(
        (p.pack_id, f"{p.step}/{p.num_steps or '?'}", f"{p.rate:.1f}" if p.rate else "", clock(p.seconds_left), p.holder, *source(folder))
        for folder, p in at_work)]))
  if failed := [e for e in entries if e.state == "failed"]:
    parts.append(aligned([("failed", "error", "traceback"), *((e.path, *_error(e, ERROR)) for e in failed)]))
  if tried := [e for e in entries if e.state == "waiting" and (e.source / "packs" / e.pack_id / LAST_ERROR).exists()]:
    parts.append(aligned([("waiting", "last error", "traceback"), *((e.path, *_error(e, LAST_ERROR)) for e in tried)]))
  parts.append(aligned([("group", *STATES, "exact match: best", "mean", "best cell", *source("source")), *(
      (*row, *source(folder)) for folder, members in found.items() for row in _groups(members))]))
  return "\n\n".join(parts)


def _error(entry: Entry, name: str) -> tuple[str, pathlib.Path | str]:
  if entry.damage:
    return entry.damage, ""
  file = entry.source / "packs" / entry.pack_id / name
  try:
    text = file.read_bytes().decode(errors="replace")
  except FileNotFoundError:  # it was tried again meanwhile
    return "", ""
  lines = [line for line in text.splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt)?: ", line)]
  return (lines[-1] if lines else "")[:100], file


def _groups(entries: Sequence[Entry]) -> list[tuple]:
  groups: dict[str, list[Entry]] = {}
  for entry in entries:
    groups.setdefault(entry.group, []).append(entry)
  rows = []
  in_order = lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]  # d2 before d10
  for name, members in sorted(groups.items(), key=lambda item: in_order(item[0])):
    scored = [e for e in members if SCORE in e.result]
    best = max(scored, key=lambda e: e.result[SCORE], default=None)
    counts = collections.Counter(e.state for e in members)
    mean = sum(e.result[SCORE] for e in scored) / max(1, len(scored))
    rows.append((name, *(counts[state] or "" for state in STATES),
                 *((f"{best.result[SCORE]:.3f}", f"{mean:.3f}", best.cell) if best else ("", "", ""))))
  return rows
