"""Next-token prediction with teacher forcing: every target token is predicted from the true tokens before it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from pathstar.objectives import base


@dataclasses.dataclass(frozen=True)
class NextToken:
  """Objective `next_token`. Read out by greedy autoregressive decoding."""

  task: Any

  def init(self, key: jax.Array) -> dict:
    return {}

  def inputs(self, batch: dict) -> jax.Array:
    return jnp.concatenate([batch["prefix"], batch["target"][:, :-1]], axis=1)

  def logits(self, model, params, batch: dict) -> jax.Array:
    """Teacher-forced logits (B, L, V) at the positions that predict the target."""
    return model.apply(params["model"], self.inputs(batch), batch["target"].shape[1])[0]

  def loss(self, model, params, batch: dict, key: jax.Array) -> tuple[jax.Array, base.Aux]:
    return base.score(self.logits(model, params, batch), batch)

  def predict(self, model, params, batch: dict, key: jax.Array) -> jax.Array:
    return base.greedy(model, params["model"], batch["prefix"], batch["target"].shape[1])
