"""Errors a token, and what they would come to if they snowballed. Claim 9 of the talk.

Were each token wrong with the same probability e, whatever its position, an answer of l tokens would be right with
(1 - e)^l. That misses the measured exact match where all the error sits at one token.
"""

import jax.numpy as jnp

from pathstar.evals import generated

GROUP, METRICS = "snowballing", "token_error|snowball_prediction"


def applies(config) -> bool:
  return True


def reads(config) -> str:
  return "logits" if config.objective.one_pass else "tokens"


def run(config, params, batch, output) -> dict:
  """`token_error` (B,), the share of wrong tokens in the answer, given what training lets the model see."""
  wrong_BxL = ~generated.correct(output, batch)
  return {"token_error": jnp.sum(wrong_BxL * batch["answer"], axis=1) / jnp.sum(batch["answer"], axis=1)}


def derive(config, means) -> dict:
  """`snowball_prediction` of exact match: (1 - e)^l with e the mean error a token. Undefined where answers differ in length."""
  if config.task.answers_vary:
    return {}
  return {"snowball_prediction": (1 - means["token_error"]) ** config.task.answer_length}
