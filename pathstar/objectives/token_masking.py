"""Token masking: teacher forcing with holes. A share of the answer's input tokens is hidden; all of its tokens are still predicted.

Frydenlund 2025 (arXiv 2503.10542): where the branch token is hidden the tokens behind it can't be looked up from the one before, and must
be found from the goal. Tokens are hidden independently or in spans, behind the dummy or a random node; Xie et al. 2017 (arXiv 1703.02573)
call these blank and unigram noise. The paper's rates are not known here: the default is ours.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import choose, require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class TokenMasking(NextToken):
  """Objective `token_masking`. Measured and read out as next_token, with nothing hidden."""

  values = ("hidden_rate",)
  year, source = 2025, "Frydenlund, arXiv 2503.10542"

  hidden_rate: float = 0.3  # token_masking: share of the answer's input tokens that is hidden
  hidden_span: int = 1  # token_masking: tokens that are hidden together; spans may overlap, and reach over the answer's ends
  hidden_by: str = "dummy"  # token_masking: dummy | random (the token that another answer of the batch has there)

  def __post_init__(self):
    super().__post_init__()
    require(0 <= self.hidden_rate <= 1, "objective.hidden_rate", self.hidden_rate, "between 0 and 1")
    most = self.task.target_length
    require(1 <= self.hidden_span <= most, "objective.hidden_span", self.hidden_span, f"between 1 and {most}, the tokens of the target")
    choose("objective.hidden_by", self.hidden_by, ("dummy", "random"))

  def corrupt(self, target_BxL: jax.Array, key: jax.Array) -> jax.Array:
    """The target with a share of its tokens hidden; each is with probability `hidden_rate`, whatever the span."""
    (size, length), span = target_BxL.shape, self.hidden_span
    key_where, key_what = jax.random.split(key)
    # A token is hidden if one of the `span` places up to it begins a span.
    begins = jax.random.uniform(key_where, (size, length + span - 1)) < 1 - (1 - self.hidden_rate) ** (1 / span)
    hidden_BxL = jnp.stack([begins[:, i:i + length] for i in range(span)]).any(axis=0)
    if self.hidden_by == "dummy":
      return jnp.where(hidden_BxL, self.task.dummy, target_BxL)
    require(size > 1, "train.batch_size", size, "at least 2 with objective.hidden_by = 'random', which takes tokens of other examples")
    other_BxL = (jnp.arange(size)[:, None] + jax.random.randint(key_what, (size, length), 1, size)) % size
    return jnp.where(hidden_BxL, jnp.take_along_axis(target_BxL, other_BxL, axis=0), target_BxL)

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    seen = batch | {"target": self.corrupt(batch["target"], key)}
    return score(self.logits(model, params, seen), batch | {"weight": self.weight(batch)})
