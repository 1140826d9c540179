"""What the model really produces, decoded token by token (in one pass for teacherless): per position and as a whole.

An answer after a chain of thought is looked for behind the first separator, whatever the trace before it: many are
right.
"""

import jax.numpy as jnp

from pathstar.objectives import base


def applies(config) -> bool:
  return True


def answer(task, token_BxL):
  """The answer's tokens (B, A) in a target or in what a model produced; -1 where it ends too early."""
  if task.separator is None:
    return token_BxL
  separates_BxL = token_BxL == task.separator
  place_BxA = separates_BxL.argmax(axis=1)[:, None] + 1 + jnp.arange(task.answer_length)[None]
  there_BxA = separates_BxL.any(axis=1)[:, None] & (place_BxA < token_BxL.shape[1])
  return jnp.where(there_BxA, jnp.take_along_axis(token_BxL, place_BxA, axis=1, mode="clip"), -1)


def run(config, params, batch, token_BxL) -> dict:
  """`position_k/generated_accuracy` and `generated_exact_match` (B,): each token after the model's own earlier ones.

  Behind a chain of thought this is the only exact match, and so reported as `exact_match` too.
  """
  task = config.task
  correct_BxA = base.path_order(answer(task, token_BxL) == answer(task, batch["target"]), config.order)
  metrics = {f"position_{k}/generated_accuracy": correct_BxA[:, k] for k in range(task.answer_length)}
  exact_B = correct_BxA.all(axis=1)
  return metrics | {"generated_exact_match": exact_B} | ({} if task.separator is None else {"exact_match": exact_B})
