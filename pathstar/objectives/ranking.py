"""Ranking into the future: the scores of the next token also put the tokens to come in their order, sooner ones above later ones.

Frydenlund 2025 (arXiv 2503.10542). Beside the next-token cross-entropy, a hinge at every place i of the answer and on every pair of tokens
of which one should stand above the other in z_i, the scores there:

    max(0, ranking_margin - (z_i[upper] - z_i[lower]))

Pairs are the answer's tokens j < k from i on, and, with `wrong_arms`, each of these above each node of the other arms. Of a token that
comes twice its next place counts. The hinges are averaged over the pairs of a place, these over places, as the cross-entropy is.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class Ranking(NextToken):
  """Objective `ranking`. Needs no parameters; terms `next` and `ranking`. Read out as next_token."""

  values = ("ranking_weight", "ranking_margin")
  year, source = 2025, "Frydenlund, arXiv 2503.10542"

  ranking_weight: float = 1.0  # ranking: weight of the hinge loss
  ranking_margin: float = 1.0  # ranking: how far above, in logits
  wrong_arms: bool = False  # ranking: the path's tokens also above those of the other arms

  def __post_init__(self):
    super().__post_init__()
    require(self.ranking_weight >= 0, "objective.ranking_weight", self.ranking_weight, "a number >= 0")
    require(self.ranking_margin > 0, "objective.ranking_margin", self.ranking_margin, "a number > 0")

  def check(self, model) -> None:
    require(not self.wrong_arms or "arms" in self.task.examples(0, "train", np.arange(1)), "objective.wrong_arms", self.wrong_arms,
            f"False for {self.task}, which has none")
    super().check(model)

  @property
  def batch_keys(self) -> tuple[str, ...]:
    return ("arms",) if self.wrong_arms else ()

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    logits_BxLxV = self.logits(model, params, batch)
    loss, record = score(logits_BxLxV, batch | {"weight": self.weight(batch)})
    ranking = self.hinge(logits_BxLxV, batch)
    return loss + self.ranking_weight * ranking, record._replace(terms={"next": loss, "ranking": ranking})

  def hinge(self, logits_BxLxV: jax.Array, batch: dict) -> jax.Array:
    """The mean hinge, a scalar."""
    target_BxL, weight_BxL, size = batch["target"], self.weight(batch), logits_BxLxV.shape[-1]
    place = jnp.arange(target_BxL.shape[1])
    later_LxL = place[:, None] < place[None]  # [j, k]: k comes after j
    one_hot_BxLxV = jax.nn.one_hot(target_BxL, size)
    upper_BxIxL = jnp.einsum("biv,blv->bil", logits_BxLxV, one_hot_BxLxV)
    # To come, at place i, is what is scored, stands at i or behind, and has not come between.
    same_BxLxL = (target_BxL[:, :, None] == target_BxL[:, None]) & later_LxL.T[None]
    before_BxL = jnp.where(same_BxLxL, place[None, None], -1).max(axis=2)
    coming_BxIxL = (batch["weight"] > 0)[:, None] & ~later_LxL.T[None] & (before_BxL[:, None] < place[None, :, None])

    def hinges(lower_BxIxK, pair_BxIxLxK):
      cost = jax.nn.relu(self.ranking_margin - (upper_BxIxL[..., None] - lower_BxIxK[:, :, None]))
      return jnp.stack([jnp.where(pair_BxIxLxK, cost, 0).sum(axis=(2, 3)), pair_BxIxLxK.sum(axis=(2, 3))])

    sum_BxI, pairs_BxI = hinges(upper_BxIxL, coming_BxIxL[..., None] & coming_BxIxL[:, :, None] & later_LxL[None, None])
    if self.wrong_arms:
      arms_BxV = jax.nn.one_hot(batch["arms"].reshape(len(target_BxL), -1), size).any(axis=1)
      wrong_BxV = arms_BxV & ~one_hot_BxLxV.any(axis=1) & (jnp.arange(size) != self.task.dummy)[None]
      more = hinges(logits_BxLxV, coming_BxIxL[..., None] & wrong_BxV[:, None, None])
      sum_BxI, pairs_BxI = sum_BxI + more[0], pairs_BxI + more[1]
    return jnp.sum(sum_BxI / jnp.maximum(pairs_BxI, 1) * weight_BxL) / jnp.sum(weight_BxL)
