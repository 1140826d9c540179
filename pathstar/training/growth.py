"""More steps for a run that was trained: it goes on from its last checkpoint, or the error says why it can't.

What comes of it equals, bit for bit, a run of the larger number of steps from the start; it lacks that run's picture at half time where
training is past it, since what it would show is gone. So it goes on only where that run would have done the same up to here: at the same
learning rates, and in dispatches of the same size, since what is logged is a mean over one.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pathstar import config as configs
from pathstar.config import Config
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.training import optimizer

STEPS, RAISED = "train.num_steps", "raised.json"


def steps_before(config: Config, old: Mapping[str, Any],
                 steps_per_call: Callable[[Config], int] = lambda one: one.steps_per_call) -> int | None:
  """The number of steps of the run that `old` records if `config` is that run with more of them; else None.

  Raises:
    UserError: it is, and can't go on from there; the message says why and what to do instead.
  """
  before = configs.recorded(old)
  apart = [name for name in configs.schema() if before.identity.get(name) != config.identity.get(name)]
  steps, wanted = before.train.num_steps, config.train.num_steps
  if apart != [STEPS] or wanted < steps:
    return None
  refused = lambda why: UserError(f"{STEPS} = {wanted}: the run is one of {steps} steps, {why}")
  rates = [np.asarray(optimizer.schedule(config.optimizer, number)(np.arange(steps))) for number in (steps, wanted)]
  if not np.array_equal(*rates):
    raise refused(f"over which optimizer.schedule = {config.optimizer.schedule!r} spreads its rates: a longer one differs from it in steps "
                  "that are done; train it in another workdir (with optimizer.schedule=constant it could go on)")
  size, new = steps_per_call(before), steps_per_call(config)
  if size != new:
    at = lambda number: steps_per_call(dataclasses.replace(config, train=dataclasses.replace(config.train, num_steps=number)))
    near = next(number for number in range(-(-wanted // size) * size, 2**31, size) if at(number) == size)
    raise refused(f"logged as means over {size} steps, one of {wanted} as means over {new}: {near} steps can go on; train {wanted} in "
                  "another workdir")
  return steps


def has_saved(checkpoints: Sequence[pathlib.Path]) -> bool:
  """Whether there is a checkpoint in one of these folders."""
  return any(child.name.isdigit() for place in checkpoints if place.is_dir() for child in place.iterdir())


def begin(runs: Sequence[tuple[Config, pathlib.Path]], checkpoints: Sequence[pathlib.Path]) -> None:
  """Records in each run's folder that it has as many steps as its config says, and in raised.json what it had before, with its result.

  Raises:
    UserError: one is finished and its checkpoints are gone; nothing is changed.
  """
  saved = has_saved(checkpoints)
  for config, folder in runs:
    if (folder / workdir.RESULT).exists() and not saved:
      raise UserError(f"{STEPS} = {config.train.num_steps}: {folder} is finished and has no checkpoint to go on from; choose another "
                      "workdir")
  for config, folder in runs:  # in this order: killed in between, the same command or the one before does it again
    old, result = workdir.read_json(folder / workdir.CONFIG), folder / workdir.RESULT
    found = workdir.read_json(result) if result.exists() else None
    steps = configs.recorded_in(str(folder / workdir.CONFIG), old).train.num_steps
    workdir.write_json(folder / RAISED, {str(steps): found} | _raised(folder))
    result.unlink(missing_ok=True)
    workdir.write_json(folder / workdir.CONFIG, old | {STEPS: config.train.num_steps})


def ended_at(folder: pathlib.Path, step: int) -> bool:
  """Whether a run, when it had fewer steps, ended at this one: more was evaluated there than in a longer run."""
  return str(step) in _raised(folder)


def _raised(folder: pathlib.Path) -> dict:
  return workdir.read_json(folder / RAISED) if (folder / RAISED).exists() else {}
