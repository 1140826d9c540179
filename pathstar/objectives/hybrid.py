"""Next-token and teacherless training on the same example: one pass sees the true answer so far, another dummies in its place.

    loss = next-token cross-entropy + teacherless_weight * teacherless cross-entropy

Nagarajan et al. 2025, "Roll the dice & look before you leap" (arXiv 2504.15266). The paper's weight is not known here: 1 is ours.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class Hybrid(NextToken):
  """Objective `hybrid`. Measured and read out as next_token; terms `next` and `teacherless`. A step costs two."""

  values = ("teacherless_weight",)
  year, source = 2025, "Nagarajan et al., arXiv 2504.15266"

  teacherless_weight: float = 1.0  # hybrid: weight of the teacherless loss

  def __post_init__(self):
    super().__post_init__()
    require(self.teacherless_weight >= 0, "objective.teacherless_weight", self.teacherless_weight, "a number >= 0")

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    unseen = batch | {"target": jnp.full_like(batch["target"], self.task.dummy)}
    scored = batch | {"weight": self.weight(batch)}
    loss, record = score(self.logits(model, params, batch), scored)
    teacherless, _ = score(self.logits(model, params, unseen), scored)
    return loss + self.teacherless_weight * teacherless, record._replace(terms={"next": loss, "teacherless": teacherless})
