"""Errors a token, and what they would come to if they snowballed. Claim 9 of the talk.

Were each token wrong with the same probability e, whatever its position, an answer of l tokens would be right with
(1 - e)^l. That misses the measured exact match where all the error sits at one token.
"""

import jax.numpy as jnp

from pathstar.objectives import base


def applies(config) -> bool:
  return True


def run(config, params, batch, logits_BxLxV) -> dict:
  """`loss` (B,), nats a token of the target, and `token_error` (B,), the share of wrong tokens in the answer.

  Both given what training lets the model see: with teacher forcing if training has it.
  """
  _, aux = base.score(logits_BxLxV, batch)
  mean = lambda x_BxL, weight_BxL: jnp.sum(x_BxL * weight_BxL, axis=1) / jnp.sum(weight_BxL, axis=1)
  return {"loss": mean(aux.loss_BxL, batch["weight"]), "token_error": mean(~aux.correct_BxL, batch["answer"])}


def derive(config, means) -> dict:
  """`snowball_prediction` of exact match: (1 - e)^l with e the mean error a token."""
  return {"snowball_prediction": (1 - means["token_error"]) ** config.task.answer_length}
