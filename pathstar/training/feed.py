"""From the host to the devices: a process makes what its own devices hold, and no more."""

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from pathstar.config import Config
from pathstar.devices.mesh import local_part, over_runs, put
from pathstar.training import data


def device_batches(configs: Sequence[Config], sharding, start_step: int) -> Iterator[dict]:
  """The input of each dispatch as global arrays, of which this process made its own part."""
  config = configs[0]
  shape = (config.steps_per_call, len(configs), config.train.batch_size)
  for batch in data.train_batches(tuple(configs), local_part(sharding, shape), start_step):
    yield {name: put(sharding, shape, array) for name, array in batch.items()}


def eval_inputs(configs: Sequence[Config], mesh) -> dict[str, dict]:
  """The fixed examples of each split for each run (R, N, ...), on the devices."""
  stacked = lambda split: jax.tree.map(lambda *x: np.stack(x), *(data.eval_examples(c, split) for c in configs))
  return {split: over_runs(mesh, stacked(split)) for split in ("test", "train")}
