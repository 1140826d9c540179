"""Multi-token prediction: k heads on one trunk, of which head i predicts the i-th next token.

Gloeckle et al. 2024, "Better and faster large language models via multi-token prediction" (arXiv 2404.19737), equation 2. As in public
code on path-star graphs: each further head is a block of its own, a copy of the last one; norm and unembedding are shared; the losses
are added, terms `head_i`; and head i is trained from the last i - 1 tokens of the problem too, from where its targets lie in the
answer. With k >= length the heads at the problem's last token thus have the supervision of teacherless training.

`sequential`: DeepSeek-AI 2024, "DeepSeek-V3 technical report" (arXiv 2412.19437), equations 21 to 25. Head i reads what head i - 1 made
of the token, beside the true token i - 1 places on: block_i(W_i [norm(h_t); norm(E(x_(t+i-1)))]).
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class MultiToken(NextToken):
  """Objective `multi_token`. Read out by head 1 alone, the model's own last block."""

  values = ("heads_weight",)
  year, source = 2024, "Gloeckle et al., arXiv 2404.19737"

  k: int = 2  # multi_token: heads; 1 is next_token
  sequential: bool = False  # multi_token: each head reads the one before and the true token between, as in DeepSeek-V3
  heads_weight: float = 1.0  # multi_token: weight of each head but the first; DeepSeek's lambda / (k - 1)

  def __post_init__(self):
    super().__post_init__()
    most = self.task.prefix_length
    require(1 <= self.k <= most, "objective.k", self.k, f"between 1 and {most}, the tokens of the problem of {self.task}")
    require(self.k > 1 or not self.sequential, "objective.sequential", self.sequential, "False with objective.k = 1, the only head")
    require(self.heads_weight >= 0, "objective.heads_weight", self.heads_weight, "a number >= 0")
    require(self.k > 1 or self.heads_weight == 1, "objective.heads_weight", self.heads_weight, "1 with objective.k = 1, the only head")

  def init(self, key: jax.Array, model) -> dict:
    keys = jax.random.split(key, self.k - 1)
    if self.k == 1:
      return {}
    if not self.sequential:
      return {"heads": jax.vmap(model.init_block)(keys)}
    return {"heads": jax.vmap(lambda key: {
        "block": model.init_block(key), "state": {"norm": model.init_norm(key)}, "token": {"norm": model.init_norm(key)},
        "join": model.init_linear(jax.random.fold_in(key, 1), 2 * model.width, model.width, ("embed", "embed"))})(keys)}

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    batch = batch | {"weight": self.weight(batch)}
    outputs = self._sequential if self.sequential else self._parallel
    read = lambda x_BxLxD: model.unembed(params["model"], model.normalise(params["model"], x_BxLxD))
    scored = [score(read(x_BxLxD), batch) for x_BxLxD in outputs(model, params, self.inputs(batch), batch["target"].shape[1])]
    terms = {f"head_{i}": loss for i, (loss, _) in enumerate(scored, 1)}
    first, *others = terms.values()
    return first + self.heads_weight * sum(others), scored[0][1]._replace(terms=terms)

  def _parallel(self, model, params, tokens_BxT: jax.Array, length: int) -> Iterator[jax.Array]:
    """Of each head the stream (B, L, D) where its targets are those of the answer."""
    trunk_BxTxD = model.before_last(params["model"], tokens_BxT)
    for head in range(self.k):
      block = params["model"]["last"] if head == 0 else jax.tree.map(lambda x: x[head - 1], params["objective"]["heads"])
      yield model.last_block(block, trunk_BxTxD, length + head)[:, :length]  # `head` positions further back

  def _sequential(self, model, params, tokens_BxT: jax.Array, length: int) -> Iterator[jax.Array]:
    embedded_BxTxD = model.embed(params["model"], tokens_BxT)
    x_BxTxD = model.last_block(params["model"]["last"], model.before_last(params["model"], tokens_BxT), tokens_BxT.shape[1])
    yield x_BxTxD[:, -length:]
    for head in range(1, self.k):  # one position fewer each: of the last target nothing is seen
      own = jax.tree.map(lambda x: x[head - 1], params["objective"]["heads"])
      state, token = model.normalise(own["state"], x_BxTxD[:, :-1]), model.normalise(own["token"], embedded_BxTxD[:, head:])
      joined = model.linear(own["join"], jnp.concatenate([state, token], axis=-1)).astype(jnp.float32)
      x_BxTxD = model.last_block(own["block"], joined, joined.shape[1] if head < self.k - 1 else length)
      yield x_BxTxD[:, -length:]
