"""Next-token prediction with teacher forcing: every target token is predicted from the true tokens before it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from pathstar.errors import choose, require
from pathstar.objectives import base


@dataclasses.dataclass(frozen=True)
class NextToken:
  """Objective `next_token`. Read out by greedy autoregressive decoding."""

  task: Any
  order: str = "forward"  # order in which the target is produced: forward | reversed
  branch_weight: float = 1.0  # weight of the branch token in the loss; other tokens have weight 1

  def __post_init__(self):
    choose("objective.order", self.order, base.ORDERS)
    require(self.order == "forward" or self.task.separator is None, "objective.order", self.order,
            f"forward for {self.task}: the answer follows from the trace before it")
    require(self.branch_weight >= 0, "objective.branch_weight", self.branch_weight, "a number >= 0")
    require(self.branch_weight == 1 or self.task.branch is not None, "objective.branch_weight", self.branch_weight,
            f"1 for {self.task}, whose target has no branch token")

  def init(self, key: jax.Array) -> dict:
    return {}

  def inputs(self, batch: dict) -> jax.Array:
    return jnp.concatenate([batch["prefix"], batch["target"][:, :-1]], axis=1)

  def logits(self, model, params, batch: dict) -> jax.Array:
    """Teacher-forced logits (B, L, V) at the positions that predict the target."""
    return model.apply(params["model"], self.inputs(batch), batch["target"].shape[1])[0]

  def loss(self, model, params, batch: dict, key: jax.Array) -> tuple[jax.Array, base.Aux]:
    return base.score(self.logits(model, params, batch), batch | {"weight": self.weight(batch)})

  def weight(self, batch: dict) -> jax.Array:
    """What each target token counts in the loss (B, L); relative."""
    if self.branch_weight == 1:
      return batch["weight"]
    return batch["weight"] * jnp.where(base.at_branch(self.task, self.order), self.branch_weight, 1.0)

  def predict(self, model, params, batch: dict, key: jax.Array) -> jax.Array:
    return base.decode(model, params["model"], batch["prefix"], batch["target"].shape[1])
