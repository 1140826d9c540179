"""Future summary prediction: next-token prediction, and a second unembedding that says which tokens come after the next, in any order.

Mahajan et al. 2025, "Beyond multi-token prediction: pretraining LLMs with future summaries" (arXiv 2510.14751), in its form of a bag of
words: binary cross-entropy, summed over the vocabulary, against the set {x_(t+2), ..., x_(t+tau)}; all tokens weigh the same.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score, weighted_mean


@dataclasses.dataclass(frozen=True)
class FutureSummary(NextToken):
  """Objective `future_summary`. Read out as next_token; the second unembedding is dropped."""

  values = ("summary_weight",)
  year, source = 2025, "Mahajan et al., arXiv 2510.14751"

  tau: int | None = None  # future_summary: tokens ahead that the summary reaches; None: to the end of the answer
  summary_weight: float = 1.0  # future_summary: weight of its loss beside that of the next token

  def __post_init__(self):
    super().__post_init__()
    require(self.tau is None or self.tau >= 2, "objective.tau", self.tau, "an integer >= 2 (1 is the next token), or None")
    require(self.summary_weight >= 0, "objective.summary_weight", self.summary_weight, "a number >= 0")

  def init(self, key: jax.Array, model) -> dict:
    return {"head": model.init_unembedding(key)}

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    weight_BxL = self.weight(batch)
    logits, hidden_BxLxD = model.apply(params["model"], self.inputs(batch), batch["target"].shape[1])
    loss, record = score(logits, batch | {"weight": weight_BxL})
    z_BxLxV = model.unembed(params["objective"], hidden_BxLxD)
    bag_BxLxV = self.bag(batch, z_BxLxV.shape[-1])
    summary = weighted_mean((jax.nn.softplus(z_BxLxV) - bag_BxLxV * z_BxLxV).sum(axis=-1), weight_BxL)
    return loss + self.summary_weight * summary, record._replace(terms={"next": loss, "summary": summary})

  def bag(self, batch: dict, vocab_size: int) -> jax.Array:
    """Which tokens are to come (B, L, V), 0 or 1: at the place that predicts token j of the target those of j + 1 .. j + tau - 1."""
    place = jnp.arange(batch["target"].shape[1])
    ahead_LxL = place[None] - place[:, None]
    reached_LxL = (ahead_LxL > 0) & (ahead_LxL < (self.tau or len(place) + 1))
    token_BxLxV = jax.nn.one_hot(batch["target"], vocab_size) * (batch["weight"] > 0)[:, :, None]
    return jnp.minimum(jnp.einsum("ij,bjv->biv", reached_LxL.astype(jnp.float32), token_BxLxV), 1)
