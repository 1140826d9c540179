"""Names of runs as versions up to 0.1 gave them, so that a sweep which one of these planned goes on.

There a run's hash was over every field that existed, used or not: these.
"""

import collections
import dataclasses
from collections.abc import Sequence

from pathstar.config import FREE_FIELDS
from pathstar.sweeps.packs import Pack, PlannedRun, kind_of, name_of, pack, varied

_FIELDS = {
    "data": "num_test num_train",
    "eval": "decode_every every num_examples num_samples",
    "model": "conv_width dt_max dt_min dtype init inject loop_embedding mamba_expand mamba_state mixer mlp_ratio norm num_heads num_layers "
             "num_loops positions qk_norm remat rope_base s5_blocks s5_clip s5_discretization s5_state scan_layers tied_head token_shift "
             "width",
    "objective": "branch_weight name order",
    "optimizer": "beta1 beta2 clip_norm learning_rate name schedule ssm_rate_factor warmup_steps weight_decay",
    "task": "degree digits length name num_nodes target",
    "train": "batch_size log_every num_steps steps_per_call",
}
_NAMES = ("seed", *(f"{section}.{name}" for section, names in _FIELDS.items() for name in names.split()))


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
  return {name: run.everything[name] for name in _NAMES if name not in FREE_FIELDS}
