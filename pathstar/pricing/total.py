"""Arithmetic of a whole sweep, in seconds: tracing a step takes one, and a grid has hundreds of shapes.

Of each kind of shapes (alike but for their task: one mixer, one objective, one size) a few are counted by flops.py, from the least work to
the most, and the others lie between: their FLOPs over `packs.work` are interpolated over its logarithm.
"""

import math
from collections.abc import Iterable

import numpy as np

from pathstar.config import Config
from pathstar.sweeps import packs
from pathstar.training import flops

PLATFORM = "tpu"  # as of `pathstar plan`
_COUNTED = 4  # shapes of a kind


def of_runs(runs: Iterable[tuple[Config, int]], counted: int = _COUNTED) -> tuple[float, bool]:
  """FLOPs of some steps of each run, and whether all shapes were counted: else it is an estimate, to a few per cent."""
  kinds: dict[tuple, dict[tuple, list]] = {}  # kind -> shape -> [config, steps of all its runs]
  for config, steps in runs:
    kind, shape = _parts(config)
    kinds.setdefault(kind, {}).setdefault(shape, [config, 0])[1] += steps
  total = 0.0
  for shapes in kinds.values():
    ordered = sorted(shapes.values(), key=lambda one: _step_work(one[0]))
    places = sorted({round(i * (len(ordered) - 1) / max(1, counted - 1)) for i in range(counted)})
    chosen = [ordered[place][0] for place in places]
    known = {id(config): flops.of_step(config, PLATFORM).total for config in chosen}
    scale, ratio = [math.log(_step_work(c)) for c in chosen], [known[id(c)] / _step_work(c) for c in chosen]
    for config, steps in ordered:
      work = _step_work(config)
      total += steps * (known[id(config)] if id(config) in known else work * float(np.interp(math.log(work), scale, ratio)))
  return total, all(len(shapes) <= counted for shapes in kinds.values())


def _step_work(config: Config) -> float:
  return packs.work(config) / config.train.num_steps


def shape_of(config: Config) -> tuple:
  """The same for configs of which a step has the same arithmetic."""
  return sum(_parts(config), ())


def _parts(config: Config) -> tuple[tuple, tuple]:
  """What a step's arithmetic depends on: the fields that make a kind, and those that with it make a shape."""
  same = (*config.value_fields, "objective.order", "train.num_steps")  # an order changes nothing, and neither does the rate's schedule
  told = {name: value for name, value in config.fields.items() if name not in same and not name.startswith(("eval.", "data."))}
  is_task = lambda name: name.startswith("task.") and name != "task.name"
  kind = tuple((name, str(value)) for name, value in told.items() if not is_task(name))
  return kind, tuple((name, str(value)) for name, value in told.items() if is_task(name))
