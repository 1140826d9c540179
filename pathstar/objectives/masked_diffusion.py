"""Masked diffusion: a part of the answer is hidden and predicted from the problem and the rest, in any order.

Of an answer n tokens, n drawn uniformly from 1 .. length, are hidden, and each counts length / n: the bound of masked diffusion (Ye
et al. 2024, arXiv 2410.14157) as an any-order model (Ou et al. 2024, arXiv 2406.03736, equation 12).
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import choose, require
from pathstar.objectives import decode
from pathstar.objectives.objective import Objective
from pathstar.objectives.target import Aux, score


@dataclasses.dataclass(frozen=True)
class MaskedDiffusion(Objective):
  """Objective `masked_diffusion`. `logits` are those of a first pass, with all of the answer hidden."""

  one_pass, sees_answer = False, False
  extra_tokens = 1  # the hidden one
  year, source = 2024, "Ye et al., arXiv 2410.14157"

  mask: str = "full"  # masked_diffusion: full | prefix (the problem sees causally, the answer all)
  num_passes: int | None = None  # masked_diffusion: passes that fill an answer in; None: one a token

  def __post_init__(self):
    super().__post_init__()
    choose("objective.mask", self.mask, ("full", "prefix"))
    require(self.num_passes is None or self.num_passes >= 1, "objective.num_passes", self.num_passes, "an integer >= 1, or None")

  input_length = Objective.max_length

  def fill(self, model, params, batch: dict, token_BxL: jax.Array) -> jax.Array:
    """Logits (B, L, V) of all answer tokens, given some of them; the hidden token has none."""
    tokens = jnp.concatenate([batch["prefix"], token_BxL], axis=1)
    hidden = model.hidden(params["model"], tokens, token_BxL.shape[1], self.free_from(batch))
    return model.unembed(params["model"], hidden)[:, :, :self.task.vocab_size]

  def logits(self, model, params, batch: dict) -> jax.Array:
    return self.fill(model, params, batch, jnp.full_like(batch["target"], self.task.vocab_size))

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    scored_BxL = batch["weight"] > 0
    length_B = scored_BxL.sum(axis=1)
    key_n, key_which = jax.random.split(key)
    number_B = jax.random.randint(key_n, length_B.shape, 1, length_B + 1, jnp.int32)  # how many to hide
    draw_BxL = jnp.where(scored_BxL, jax.random.uniform(key_which, scored_BxL.shape, jnp.float32), jnp.inf)
    masked_BxL = jnp.argsort(jnp.argsort(draw_BxL, axis=1), axis=1) < number_B[:, None]
    # Padding is always hidden: where it begins would tell how long the answer is.
    token_BxL = jnp.where(masked_BxL | ~scored_BxL, self.task.vocab_size, batch["target"])
    weight_BxL = batch["weight"] * masked_BxL * (length_B.astype(jnp.float32) / number_B)[:, None]
    return score(self.fill(model, params, batch, token_BxL), batch | {"weight": weight_BxL})

  def predict(self, model, params, batch: dict, key: jax.Array) -> jax.Array:
    hidden_BxL = jnp.full_like(batch["target"], self.task.vocab_size)
    fill = lambda token_BxL: self.fill(model, params, batch, token_BxL)
    return decode.iterative(fill, hidden_BxL, self.num_passes or hidden_BxL.shape[1])
