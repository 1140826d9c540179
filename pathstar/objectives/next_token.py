"""Next-token prediction with teacher forcing: every target token is predicted from the true tokens before it."""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.objective import Objective
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class NextToken(Objective):
  """Objective `next_token`. Read out by greedy autoregressive decoding."""

  year, source = 1989, "teacher forcing: Williams and Zipser"

  branch_weight: float = 1.0  # weight of the branch token in the loss; other tokens have weight 1

  def __post_init__(self):
    super().__post_init__()
    require(self.branch_weight >= 0, "objective.branch_weight", self.branch_weight, "a number >= 0")
    require(self.branch_weight == 1 or self.task.branch is not None, "objective.branch_weight", self.branch_weight,
            f"1 for {self.task}, whose target has no branch token")

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    return score(self.logits(model, params, batch), batch | {"weight": self.weight(batch)})

  def weight(self, batch: dict) -> jax.Array:
    """What each target token counts in the loss (B, L); relative."""
    if self.task.branch is None:
      return batch["weight"]
    return batch["weight"] * jnp.where(self.at_branch(batch), self.branch_weight, 1.0)
