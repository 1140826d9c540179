"""Cross-entropy of the target given what training lets the model see: with teacher forcing if training has it."""

import jax.numpy as jnp

from pathstar.objectives.target import score

GROUP, METRICS = "answer", "loss"


def applies(config) -> bool:
  return True


def run(config, params, batch, logits_BxLxV) -> dict:
  """`loss` (B,), nats a token of the target."""
  _, aux = score(logits_BxLxV, batch)
  return {"loss": jnp.sum(aux.loss_BxL * batch["weight"], axis=1) / jnp.sum(batch["weight"], axis=1)}
