"""What the model really produces, decoded as the objective decodes: per position and as a whole.

An answer after a chain of thought is looked for behind the first separator, whatever the trace before it: many are
right.
"""

import jax.numpy as jnp

GROUP, METRICS = "generated", r"position_\d+/generated_accuracy|generated_exact_match"


def applies(config) -> bool:
  return True


def reads(config) -> str:
  return "tokens"


def correct(output, batch):
  """Where the target is met (B, L), by logits (B, L, V) or by tokens (B, L)."""
  token_BxL = output.argmax(-1) if output.ndim == 3 else output
  return token_BxL == batch["target"]


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

  A position behind the end of an example's answer is undefined.
  """
  task, along_path = config.task, config.objective.along_path
  correct_BxA = along_path(answer(task, token_BxL) == answer(task, batch["target"]), batch)
  if task.answers_vary:
    answer_BxA = along_path(batch["answer"], batch)
    correct_BxA = jnp.where(answer_BxA, correct_BxA, jnp.nan)
  metrics = {f"position_{k}/generated_accuracy": correct_BxA[:, k] for k in range(task.answer_length)}
  return metrics | {"generated_exact_match": jnp.all(correct_BxA != 0, axis=1)}
