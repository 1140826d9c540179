"""The config fields that belong to no task, mixer, objective or evaluation."""

import dataclasses

from pathstar.errors import choose, require

_BELOW_1 = 0.9999999  # what lies closer to 1 is 1 in float32


@dataclasses.dataclass(frozen=True)
class Data:
  """Config fields under `data.`."""

  num_train: int | None = None  # examples, each drawn by itself, in a new order every epoch; None: endless, or all of task.train_file
  num_test: int = 10_000  # examples of the test split, the same for every seed; eval.num_examples of them are scored

  def __post_init__(self):
    require(self.num_train is None or self.num_train >= 1, "data.num_train", self.num_train, "an integer >= 1, or None")
    require(self.num_test >= 1, "data.num_test", self.num_test, "an integer >= 1")


@dataclasses.dataclass(frozen=True)
class Train:
  """Config fields under `train.`."""

  batch_size: int = 64  # examples per step, over all devices
  num_steps: int = 1000  # optimiser steps
  steps_per_call: int | None = None  # steps per dispatch; divides all cadences but that of checkpoints; None: the most that do, up to 50
  log_every: int = 100  # steps between training metrics, which are means over the last call
  checkpoint_every: int = 1000  # steps between checkpoints, each made at the end of a dispatch
  keep_checkpoints: int = 2  # newest checkpoints kept

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      require(value is None or value >= 1, f"train.{field.name}", value, "an integer >= 1")
    require(self.keep_checkpoints >= 2, "train.keep_checkpoints", self.keep_checkpoints,
            "an integer >= 2, so that a torn newest one has another before it")


@dataclasses.dataclass(frozen=True)
class Eval:
  """Config fields under `eval.` of every config; evaluations add their own. They also run at step 0 and at the end."""

  every: int = 500  # steps between evaluations that cost one or two forward passes
  decode_every: int | None = None  # steps between those that decode token by token; None: only at step 0 and at the end
  num_examples: int = 1000  # examples of the test split, and of a fixed slice of the training set

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      require(value is None or value >= 1, f"eval.{field.name}", value, "an integer >= 1")


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """Config fields under `optimizer.`."""

  name: str = "adamw"  # adamw | muon (orthogonalised momentum for the blocks' matrices, AdamW for the rest)
  learning_rate: float = 1e-3  # peak rate
  weight_decay: float = 0.0  # decoupled; not on norms, offsets and state-space dynamics
  ssm_rate_factor: float = 0.5  # rate of the state-space dynamics (Lambda, B, D, A, time steps) over learning_rate
  beta1: float = 0.9  # Adam
  beta2: float = 0.999  # Adam
  clip_norm: float | None = 1.0  # global gradient norm is clipped to this; None: not clipped
  schedule: str = "constant"  # after warm-up: constant | cosine | linear (both end at 0 at train.num_steps)
  warmup_steps: int = 0  # linear warm-up: step i of it has (i + 1) / warmup_steps of the rate; the end of a shorter run cuts it off
  warmup_from_zero: bool = False  # i / warmup_steps: step 0 has rate 0, and does nothing

  def __post_init__(self):
    choose("optimizer.name", self.name, ("adamw", "muon"))
    require(self.learning_rate > 0, "optimizer.learning_rate", self.learning_rate, "a number > 0")
    require(self.weight_decay >= 0, "optimizer.weight_decay", self.weight_decay, "a number >= 0")
    for name in ("beta1", "beta2"):
      require(0 <= getattr(self, name) <= _BELOW_1, f"optimizer.{name}", getattr(self, name), f"in [0, 1), and at most {_BELOW_1}")
    require(self.ssm_rate_factor >= 0, "optimizer.ssm_rate_factor", self.ssm_rate_factor, "a number >= 0")
    require(self.clip_norm is None or self.clip_norm > 0, "optimizer.clip_norm", self.clip_norm, "a number > 0, or None")
    choose("optimizer.schedule", self.schedule, ("constant", "cosine", "linear"))
    require(self.warmup_steps >= 0, "optimizer.warmup_steps", self.warmup_steps, "an integer >= 0")
    require(self.warmup_steps > 0 or not self.warmup_from_zero, "optimizer.warmup_from_zero", self.warmup_from_zero,
            "False with optimizer.warmup_steps = 0, where no step warms up")
