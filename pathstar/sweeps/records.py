"""What a sweep has recorded, sweep.json (its plan) and split.json of its packs, read and checked.

A folder may come from somebody else: it is data. What it names lies inside it, and no link in it leads out.
"""

import math
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from pathstar.errors import UserError, shown
from pathstar.storage import workdir

PLAN, SPLIT = "sweep.json", "split.json"
FRESH = "from_start.txt"  # in a pack's folder: its run is done again, and goes on from no checkpoint but its own


def read_plan(folder: pathlib.Path) -> dict:
  """The plan of the sweep in `folder`: `packs`, {pack id: paths of its runs}, their `work`, and since 0.2 `common` and `runs`.

  Raises:
    UserError: it is damaged, or names something that is not in the folder.
  """
  file = folder / PLAN
  plan = workdir.read_json(file)
  packs, works, runs = plan.get("packs"), plan.get("work"), plan.get("runs")
  all_of = lambda values, kind: isinstance(values, kind) and all(isinstance(v, dict) for v in (values.values() if kind is dict else values))
  grown, raised = plan.get("grown", []), plan.get("raised", {})
  if not (_is_listing(packs) and isinstance(works, dict) and all_of(grown, list) and isinstance(raised, dict)
          and all(isinstance(one.get(name), str) for one in grown for name in ("command", "commit"))
          and all(isinstance(one, int) for one in raised.values())
          and all(type(works.get(name)) in (int, float) and 0 <= works[name] < math.inf for name in packs)
          and ("common" not in plan or (isinstance(plan["common"], dict) and all_of(runs, dict)
                                        and runs.keys() == {path for paths in packs.values() for path in paths}))):
    raise UserError(f"{file}: is no plan of a sweep; it is damaged or not ours: put back a copy. Runs that are finished can be reported "
                    "without it")
  check_places(folder, packs, [path for paths in packs.values() for path in paths])
  return plan


def split_of(folder: pathlib.Path, pack_id: str, paths: Sequence[str]) -> dict[str, list[str]]:
  """The packs that a pack of these runs was split into, as in sweep.json; empty if it is whole. Raises UserError."""
  file = folder / "packs" / pack_id / SPLIT
  if not file.exists():
    return {}
  parts = workdir.read_json(file)
  # Smaller than the pack: however often packs are split, that ends.
  if not (_is_listing(parts) and all(len(some) < len(paths) and set(some) <= set(paths) for some in parts.values())):
    raise UserError(f"{file}: does not say how its pack of {len(paths)} runs was split; it is damaged: put back a copy, or move it away, "
                    "and the pack goes on whole from its own checkpoint")
  check_places(folder, parts, ())
  return parts


def named_parts(*lots: Sequence[str]) -> dict[str, list[str]]:
  """Lots of paths of runs by the ids of the packs that they become."""
  return {f"{os.path.basename(paths[0])}-x{len(paths)}": list(paths) for paths in lots}


def check_places(folder: pathlib.Path, pack_ids: Iterable[str], paths: Iterable[str]) -> None:
  """Raises UserError if packs and runs of these names do not lie inside the folder."""
  root = None if workdir.is_remote(folder) else os.path.realpath(folder)
  for kind, names in (("packs", pack_ids), ("runs", paths)):
    for name in names:
      if not all(re.fullmatch(r"[\w.=+-]+", part) and part.strip(".") for part in name.split("/")):
        raise UserError(f"{folder}: its plan names {shown(name)}: must be the name of a folder inside it")
      places = [folder / kind / name, *([folder / kind / name / "checkpoints"] if kind == "packs" else [])]
      for place in places if root else ():
        workdir.require_inside(root, place)


def _is_listing(packs) -> bool:
  """Whether it says which runs packs have, each run in one pack."""
  if not isinstance(packs, Mapping) or not all(isinstance(paths, list) and paths for paths in packs.values()):
    return False
  paths = [path for one in packs.values() for path in one]
  return all(isinstance(path, str) for path in paths) and len(set(paths)) == len(paths)
