"""Pause tokens: a few tokens that say nothing stand between problem and answer, and give the model time to think before it answers.

Goyal et al. 2023, "Think before you speak: training language models with pause tokens" (arXiv 2310.02226): one learned token, repeated;
what is predicted from it is ignored, but for the last, which predicts the answer's first token.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken


@dataclasses.dataclass(frozen=True)
class Pause(NextToken):
  """Objective `pause`. As next_token on a problem that ends in pauses, in training and when it is read out."""

  extra_tokens = 1  # the pause
  year, source = 2023, "Goyal et al., arXiv 2310.02226"

  num_pauses: int = 4  # pause: tokens between problem and answer

  def __post_init__(self):
    super().__post_init__()
    require(self.num_pauses >= 1, "objective.num_pauses", self.num_pauses, "an integer >= 1")

  @property
  def extra_positions(self) -> int:
    return self.num_pauses

  def prompt(self, batch: dict) -> jax.Array:
    return jnp.pad(batch["prefix"], ((0, 0), (0, self.num_pauses)), constant_values=self.task.vocab_size)
