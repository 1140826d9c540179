"""AdamW and Muon through optax. Learning rate and weight decay may be traced values: runs of a pack differ in them without recompiling.

Parameters are treated by the last part of their name: matrices called `kernel` are Muon's under `optimizer.name=muon`; NO_DECAY have no
weight decay; SSM, the dynamics of state-space mixers, have none and a rate of their own; everything else is AdamW's.
"""

import jax
import optax
import optax.contrib

from pathstar.config import Optimizer

# Groups of parameters, by the last part of a parameter's path.
NO_DECAY = ("scale", "bias")  # norms and offsets
SSM = ("Lambda_re", "Lambda_im", "B", "log_step", "A_log", "dt_bias", "D")  # dynamics of state-space mixers: no decay, own rate


def schedule(fields: Optimizer, num_steps: int) -> optax.Schedule:
  """Step (from 0) -> fraction of the peak rate."""
  rest = max(1, num_steps - fields.warmup_steps)
  after = {
      "constant": optax.constant_schedule(1.0),
      "cosine": optax.cosine_decay_schedule(1.0, rest),
      "linear": optax.linear_schedule(1.0, 0.0, rest),
  }[fields.schedule]
  if not fields.warmup_steps:
    return after
  if fields.warmup_from_zero:  # 0, 1/w, ..., (w - 1)/w
    warmup = optax.linear_schedule(0.0, 1.0, fields.warmup_steps)
  else:  # step 0 already moves: 1/w, 2/w, ..., 1
    warmup = optax.linear_schedule(1 / fields.warmup_steps, 1.0, fields.warmup_steps - 1 or 1)
  return optax.join_schedules([warmup, after], [fields.warmup_steps])


def label(name: str) -> str:
  """The group of a parameter, from the last part of its path: ssm | no_decay | decay."""
  return "ssm" if name in SSM else "no_decay" if name in NO_DECAY else "decay"


def labels(params):
  """Tree of groups; see `label`."""
  return jax.tree_util.tree_map_with_path(lambda path, _: label(_name(path)), params)


def _name(path) -> str:
  return [part.key for part in path if isinstance(part, jax.tree_util.DictKey)][-1]


def decayed(params):
  """Tree of booleans: which parameters weight decay applies to."""
  return jax.tree.map(lambda group: group == "decay", labels(params))


def scale_by_group_rate(learning_rate, ssm_rate_factor: float) -> optax.GradientTransformation:
  """Updates times minus the rate of their parameter's group. Without state: a checkpoint does not depend on the groups."""
  rates = {"ssm": -learning_rate * ssm_rate_factor}
  return optax.stateless(lambda updates, _: jax.tree.map(
      lambda update, group: rates.get(group, -learning_rate) * update, updates, labels(updates)))


def scale_by_muon_and_adam(fields: Optimizer) -> optax.GradientTransformation:
  """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the blocks' kernels, Adam for everything else.

  Updates have the size of Adam's (0.2 sqrt(max(fan_in, fan_out)), Liu et al. 2025, arXiv 2502.16982), so that one rate serves both.
  """
  matrices = lambda updates: jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(-2, -1), updates)
  muon = optax.chain(
      optax.contrib.scale_by_muon(weight_dimension_numbers=matrices),
      optax.stateless(lambda updates, _: jax.tree.map(lambda u: 0.2 * max(u.shape[-2:]) ** 0.5 * u, updates)),
  )
  adam = optax.scale_by_adam(fields.beta1, fields.beta2)
  return optax.partition({True: muon, False: adam}, lambda params: jax.tree_util.tree_map_with_path(
      lambda path, _: _name(path) == "kernel", params))


def build(fields: Optimizer, learning_rate, weight_decay) -> optax.GradientTransformation:
  """The update rule at one rate, already scaled by the schedule; both rates may be traced scalars."""
  clip = optax.identity() if fields.clip_norm is None else optax.clip_by_global_norm(fields.clip_norm)
  return optax.chain(
      clip,
      scale_by_muon_and_adam(fields) if fields.name == "muon" else optax.scale_by_adam(fields.beta1, fields.beta2),
      optax.add_decayed_weights(weight_decay, mask=decayed),
      scale_by_group_rate(learning_rate, fields.ssm_rate_factor),
  )
