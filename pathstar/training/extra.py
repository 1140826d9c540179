"""What a checkpoint says beside its arrays: whose they are, how far their metrics were written, and how long it took."""

import math
import pathlib
from collections.abc import Mapping, Sequence

from pathstar.config import Config
from pathstar.errors import UserError, shown


def made(configs: Sequence[Config], seconds: float, digests: Sequence[str]) -> dict:
  """`seconds` of training so far; `digests` of the metrics of each run so far."""
  values = {name: [config.fields[name] for config in configs] for name in configs[0].value_fields}
  return {"train_seconds": seconds, "values": values, "metrics": list(digests)}


def check(extra: Mapping, configs: Sequence[Config], folder: pathlib.Path, rows: Sequence[int] | None = None) -> None:
  """Raises UserError unless a checkpoint is of these runs, in this order. Version 0.1 recorded the seconds alone.

  Args:
    folder: of the checkpoints, for errors.
    rows: places of the runs in the checkpoint; None: all of it, in order.
  """
  seconds, values, digests = extra.get("train_seconds"), extra.get("values", {}), extra.get("metrics", [])
  if type(seconds) not in (int, float) or not math.isfinite(seconds) or not isinstance(values, Mapping) or not isinstance(digests, list):
    raise UserError(f"{folder}: what its newest checkpoint says of its runs is damaged; to start from step 0, move it away")
  for name, found in values.items():
    there = [found[row] for row in (range(len(configs)) if rows is None else rows)] if isinstance(found, list) else found
    here = [config.fields.get(name) for config in configs]
    if there != here:
      raise UserError(f"{folder}: its checkpoints are of other runs, with {name} = {shown(there)} where this pack has {shown(here)}; the "
                      "sweep's plan or the checkpoints were changed")
