"""Token order prediction: next-token prediction, and a second unembedding that ranks the coming tokens by how soon they come.

Zuhri et al. 2025, "Predicting the order of upcoming tokens improves language modeling" (arXiv 2508.19228). A token
that comes next in d places scores W - d, others -inf, and the loss is cross-entropy between the softmax of these and that of the second
unembedding. The window W, here the whole answer, cancels: the labels fall by e with every place.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score, weighted_mean


@dataclasses.dataclass(frozen=True)
class TokenOrder(NextToken):
  """Objective `token_order`. Read out as next_token; the second unembedding is dropped."""

  values = ("order_weight",)
  year, source = 2025, "Zuhri et al., arXiv 2508.19228"

  order_weight: float = 1.0  # token_order: weight of its loss beside that of the next token

  def __post_init__(self):
    super().__post_init__()
    require(self.order_weight >= 0, "objective.order_weight", self.order_weight, "a number >= 0")

  def init(self, key: jax.Array, model) -> dict:
    return {"head": model.init_unembedding(key)}

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    weight_BxL = self.weight(batch)
    logits, hidden_BxLxD = model.apply(params["model"], self.inputs(batch), batch["target"].shape[1])
    loss, record = score(logits, batch | {"weight": weight_BxL})
    order_logits = model.unembed(params["objective"], hidden_BxLxD)
    order_BxL = optax.losses.softmax_cross_entropy(order_logits, labels(batch, order_logits.shape[-1]))
    order = weighted_mean(order_BxL, weight_BxL)
    return loss + self.order_weight * order, record._replace(terms={"next": loss, "order": order})


def labels(batch: dict, vocab_size: int) -> jax.Array:
  """Probabilities (B, L, V), at each place of the target, of the scored tokens from there on: e^-i for i places on, normalised."""
  token_LxBxV = (jax.nn.one_hot(batch["target"], vocab_size) * (batch["weight"] > 0)[:, :, None]).swapaxes(0, 1)
  # Of a token that comes twice the nearer counts, which is the larger.
  nearer = lambda later_BxV, now_BxV: (jnp.maximum(now_BxV, later_BxV / jnp.e),) * 2
  score_LxBxV = jax.lax.scan(nearer, jnp.zeros_like(token_LxBxV[0]), token_LxBxV, reverse=True)[1]
  total_LxB = score_LxBxV.sum(axis=-1, keepdims=True)
  return (score_LxBxV / jnp.where(total_LxB > 0, total_LxB, 1)).swapaxes(0, 1)  # nothing comes after the last
