"""Multi-token prediction: k heads on one trunk, of which head i predicts the i-th next token.

Gloeckle et al. 2024, "Better and faster large language models via multi-token prediction" (arXiv 2404.19737), equation 2. As in public
code on path-star graphs: each further head is a block of its own, a copy of the last one; norm and unembedding are shared; the losses
are added unweighted, terms `head_i`; and head i is trained from the last i - 1 tokens of the problem too, from where its targets lie
in the answer.
"""

import dataclasses

import jax

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class MultiToken(NextToken):
  """Objective `multi_token`. Read out by head 1 alone, the model's own last block."""

  year, source = 2024, "Gloeckle et al., arXiv 2404.19737"

  k: int = 2  # multi_token: heads; 1 is next_token

  def __post_init__(self):
    super().__post_init__()
    most = self.task.prefix_length
    require(1 <= self.k <= most, "objective.k", self.k, f"between 1 and {most}, the tokens of the problem of {self.task}")

  def init(self, key: jax.Array, model) -> dict:
    return {"heads": jax.vmap(model.init_block)(jax.random.split(key, self.k - 1))} if self.k > 1 else {}

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    length, batch = batch["target"].shape[1], batch | {"weight": self.weight(batch)}
    trunk_BxTxD = model.before_last(params["model"], self.inputs(batch))
    losses, records = [], []
    for head in range(self.k):
      block = params["model"]["last"] if head == 0 else jax.tree.map(lambda x: x[head - 1], params["objective"]["heads"])
      hidden_BxLxD = model.last_block(block, trunk_BxTxD, length + head)[:, :length]  # `head` positions further back
      loss, record = score(model.unembed(params["model"], model.normalise(params["model"], hidden_BxLxD)), batch)
      losses.append(loss)
      records.append(record)
    return sum(losses), records[0]._replace(terms={f"head_{i}": loss for i, loss in enumerate(losses, 1)})
