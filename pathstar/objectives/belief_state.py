"""Belief state transformer: from what comes before and what comes after, the next token and the one before.

Hu et al. 2024, "The belief state transformer" (arXiv 2410.23506), in the form of its public code on path-star graphs. A forward
stack, the model, reads the problem and the answer so far; a backward stack, a trunk of its own that shares the embedding, reads the rest
of the answer from its end. For every pair of a beginning and a rest with at least one token between them, [F; B] goes through a residual
SwiGLU layer, a norm, and in halves through the unembedding, to the first and to the last of the tokens between. The backward stack never
sees the problem, so both are causal and any mixer will do. Decoding takes the empty rest, which is the dummy token alone.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score, turned


@dataclasses.dataclass(frozen=True)
class BeliefState(NextToken):
  """Objective `belief_state`. Of answers of L tokens there are L (L + 1) / 2 pairs, all of which are trained."""

  values = ("previous_weight",)
  year, source = 2024, "Hu et al., arXiv 2410.23506"

  previous_weight: float = 1.0  # belief_state: weight of the token before the rest, that of the next being 1

  def __post_init__(self):
    super().__post_init__()
    require(self.previous_weight >= 0, "objective.previous_weight", self.previous_weight, "a number >= 0")

  def init(self, key: jax.Array, model) -> dict:
    keys, width = jax.random.split(key, 4), 2 * model.width
    inner = 128 * max(1, round(8 * width / 3 / 128))
    backward = dataclasses.replace(model, max_length=self.task.target_length)
    return {"backward": backward.init_trunk(keys[0]), "norm": model.init_norm(key, width),
            "gate": model.init_linear(keys[1], width, inner), "up": model.init_linear(keys[2], width, inner),
            "down": model.init_linear(keys[3], inner, width, ("mlp", "embed"))}

  def kept(self, params: dict) -> dict:
    return params

  def backward(self, model, params: dict, token_BxL: jax.Array) -> jax.Array:
    """Hidden states (B, L, D) of the backward stack, of tokens from the answer's end on."""
    shared = {"embedding": params["model"]["embedding"]}
    return model.hidden(params["objective"]["backward"] | shared, token_BxL, token_BxL.shape[1])

  def pair(self, model, own: dict, forward_BxNxD: jax.Array, backward_BxNxD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the next token and the one before are read from, each (B, N, D)."""
    x = jnp.concatenate([forward_BxNxD, backward_BxNxD], axis=-1)
    x = x + model.linear(own["down"], jax.nn.silu(model.linear(own["gate"], x)) * model.linear(own["up"], x))
    return tuple(jnp.split(model.normalise(own, x), 2, axis=-1))

  def readout(self, model, params: dict, hidden_BxLxD: jax.Array, token_BxL: jax.Array) -> jax.Array:
    empty_1x1xD = self.backward(model, params, jnp.full((1, 1), self.task.dummy, jnp.int32))
    pair = self.pair(model, params["objective"], hidden_BxLxD, jnp.broadcast_to(empty_1x1xD, hidden_BxLxD.shape))
    return model.unembed(params["model"], pair[0])

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    length, weight_BxL = batch["target"].shape[1], self.weight(batch)
    end_B = jnp.max(jnp.where(batch["weight"] > 0, jnp.arange(length)[None] + 1, 0), axis=1)  # an answer may end earlier
    backwards_BxL = turned(batch["target"], end_B)
    forward_BxLxD = model.hidden(params["model"], self.inputs(batch), length)
    rest_BxL = jnp.pad(backwards_BxL[:, :-1], ((0, 0), (1, 0)), constant_values=self.task.dummy)
    backward_BxLxD = self.backward(model, params, rest_BxL)
    # A pair of `before` tokens and `after`: slices in place of a gather, whose gradient is a serial scatter on CPU.
    before_N, after_N = (np.array(x) for x in zip(*((i, j) for i in range(length) for j in range(length - i))))
    repeated = [jnp.repeat(forward_BxLxD[:, i:i + 1], length - i, axis=1) for i in range(length)]
    pairs = self.pair(model, params["objective"], jnp.concatenate(repeated, axis=1),
                      jnp.concatenate([backward_BxLxD[:, :length - i] for i in range(length)], axis=1))
    between_BxN = (before_N + after_N)[None] < end_B[:, None]
    found = []
    for hidden_BxNxD, target_BxL, weight, place_N in zip(
        pairs, (batch["target"], backwards_BxL), (weight_BxL, turned(weight_BxL, end_B)), (before_N, after_N), strict=True):
      labels = {"target": target_BxL[:, place_N], "weight": weight[:, place_N] * between_BxN}
      found.append(score(model.unembed(params["model"], hidden_BxNxD), labels))
    (following, record), (previous, _) = found
    decoded = np.flatnonzero(after_N == 0)  # with nothing after: what decoding sees
    record = Aux(record.loss_BxL[:, decoded], record.correct_BxL[:, decoded], weight_BxL, {"next": following, "previous": previous})
    return (following + self.previous_weight * previous) / 2, record
