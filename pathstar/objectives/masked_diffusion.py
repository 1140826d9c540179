"""Masked diffusion: a part of the answer is hidden and predicted from the problem and the rest, in any order.

Of an answer of l tokens n are hidden, which share drawn uniformly between two rates, rounded up. What a hidden token counts, `weighting`:

    1/t    l / n: the bound of masked diffusion (Ye et al. 2024, arXiv 2410.14157) as an any-order model (Ou et al. 2024, arXiv
           2406.03736, equation 12)
    none   the same: with all rates MLM-U, any-order training (Kitouni et al. 2024, arXiv 2406.05183), whose answers may as well be
           decoded left_to_right; with one rate the loss of BERT
    focal  (1 - p)^focal_gamma, where p is the probability of the true token: what is hard counts more (Ye et al., in their code)
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
  values = ("min_rate", "max_rate", "focal_gamma")
  year, source = 2024, "Ye et al., arXiv 2410.14157"

  mask: str = "full"  # masked_diffusion: full | prefix (the problem sees causally, the answer all)
  num_passes: int | None = None  # masked_diffusion: passes that fill an answer in; None: one a token
  decoding: str = "confident"  # masked_diffusion: confident | left_to_right: what is filled in first; the latter where answers vary
  min_rate: float = 0.0  # masked_diffusion: the share that is hidden, at least ...
  max_rate: float = 1.0  # masked_diffusion: ... and at most; one token always is
  weighting: str = "1/t"  # masked_diffusion: 1/t | none | focal
  focal_gamma: float = 1.0  # masked_diffusion: exponent of `focal`; 0 is `none`

  def __post_init__(self):
    super().__post_init__()
    choose("objective.mask", self.mask, ("full", "prefix"))
    require(self.num_passes is None or self.num_passes >= 1, "objective.num_passes", self.num_passes, "an integer >= 1, or None")
    choose("objective.decoding", self.decoding, ("confident", "left_to_right"))
    choose("objective.weighting", self.weighting, ("1/t", "none", "focal"))
    require(0 <= self.min_rate <= 1, "objective.min_rate", self.min_rate, "between 0 and 1")
    require(self.min_rate <= self.max_rate <= 1, "objective.max_rate", self.max_rate, f"between objective.min_rate = {self.min_rate} and 1")
    require(self.focal_gamma >= 0, "objective.focal_gamma", self.focal_gamma, "a number >= 0")
    require(self.weighting == "focal" or self.focal_gamma == 1, "objective.focal_gamma", self.focal_gamma,
            f"1 with objective.weighting = {self.weighting!r}, which has no use for it")

  input_length = Objective.max_length

  def inputs(self, batch: dict) -> jax.Array:
    """(B, T): the problem, and the answer as it is when all of it is hidden."""
    return jnp.concatenate([batch["prefix"], jnp.full_like(batch["target"], self.task.vocab_size)], axis=1)

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
    rate_B = jax.random.uniform(key_n, length_B.shape, jnp.float32, self.min_rate, self.max_rate)
    number_B = jnp.clip(jnp.ceil(rate_B * length_B - 1e-4), 1, length_B)  # how many to hide
    draw_BxL = jnp.where(scored_BxL, jax.random.uniform(key_which, scored_BxL.shape, jnp.float32), jnp.inf)
    masked_BxL = jnp.argsort(jnp.argsort(draw_BxL, axis=1), axis=1) < number_B[:, None]
    # Padding is always hidden: where it begins would tell how long the answer is.
    token_BxL = jnp.where(masked_BxL | ~scored_BxL, self.task.vocab_size, batch["target"])
    weight_BxL = batch["weight"] * masked_BxL
    if self.weighting == "1/t":
      weight_BxL = weight_BxL * (length_B / number_B)[:, None]
    loss, record = score(self.fill(model, params, batch, token_BxL), batch | {"weight": weight_BxL})
    if self.weighting != "focal":
      return loss, record
    hard_BxL = jnp.maximum(-jnp.expm1(-record.loss_BxL), 1e-6) ** self.focal_gamma  # 1 - p; its power has no gradient at 0
    focal = jnp.sum(hard_BxL * record.loss_BxL * weight_BxL) / jnp.sum(weight_BxL)
    return focal, record._replace(terms={"cross_entropy": loss})

  def predict(self, model, params, batch: dict, key: jax.Array) -> jax.Array:
    hidden_BxL = jnp.full_like(batch["target"], self.task.vocab_size)
    fill = lambda token_BxL: self.fill(model, params, batch, token_BxL)
    # What stands behind an answer's end is never learned, and a late place only as the end of a long answer: filled in first, it would
    # tell the earlier ones that theirs is long.
    varies = self.task.answers_vary or self.task.separator is not None  # traces vary too
    return decode.iterative(fill, hidden_BxL, self.num_passes or hidden_BxL.shape[1], varies or self.decoding == "left_to_right")
