"""Names of runs as versions up to 0.1 gave them, so that a sweep which one of these planned goes on.

There a run's hash was over every field that existed, used or not.
"""

import collections
import dataclasses
from collections.abc import Sequence

from pathstar.config.registry import FREE_FIELDS, VERSION_0_1, varied
from pathstar.sweeps.packs import Pack, PlannedRun, kind_of, name_of, pack


def renamed(packs: Sequence[Pack]) -> list[Pack]:
  """The packs with the ids that their runs had."""
  kinds = collections.defaultdict(list)
  for run in (run for one in packs for run in one.runs):
    kinds[kind_of(run.config)].append(_fields(run))
  told = {kind: varied(members) for kind, members in kinds.items()}

  def old(run: PlannedRun) -> PlannedRun:
    name = name_of(run.config, _fields(run), told[kind_of(run.config)])
    group = run.path.removesuffix(run.run_id)
    return dataclasses.replace(run, run_id=name, path=group + name)

  return [pack([old(run) for run in one.runs]) for one in packs]


def _fields(run: PlannedRun) -> dict[str, object]:
  return {name: run.everything[name] for name in VERSION_0_1 if name not in FREE_FIELDS}
