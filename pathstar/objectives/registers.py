"""Registers (MuToR): before every token of the answer stands a register, which predicts a token further ahead. In training alone.

Gerontopoulos et al. 2025, "Multi-token prediction needs registers" (arXiv 2505.10518). An offset d is drawn for each batch, uniformly from
1 .. max_offset. The register after the token x_t sees the tokens up to x_t and itself, no other register, and is seen by none; it predicts
x_(t+d), and its position is that of the token before that one, by which alone it knows d:

    loss = (1 - register_weight) CE + register_weight CE of the registers
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, mean_of_any, score


@dataclasses.dataclass(frozen=True)
class Registers(NextToken):
  """Objective `registers`. Read out as next_token, without registers; terms `next` and `register`."""

  mask = "beside"
  extra_tokens = 1  # the register
  values = ("register_weight",)
  year, source = 2025, "Gerontopoulos et al., arXiv 2505.10518"

  max_offset: int = 4  # registers: the furthest that one predicts, in tokens from the one before it
  register_weight: float = 0.3  # registers: share of their loss

  def __post_init__(self):
    super().__post_init__()
    most = self.task.target_length
    require(1 <= self.max_offset <= most, "objective.max_offset", self.max_offset, f"between 1 and {most}, the tokens of the target")
    require(0 <= self.register_weight <= 1, "objective.register_weight", self.register_weight, "between 0 and 1")

  @property
  def extra_positions(self) -> int:
    return max(0, self.max_offset - 2)  # where the last registers stand, which have nothing to predict

  @property
  def input_length(self) -> int:
    return self.task.prefix_length + 2 * self.task.target_length - 1

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    batch = batch | {"weight": self.weight(batch)}
    start, length = batch["prefix"].shape[1], batch["target"].shape[1]
    ahead = jax.random.randint(key, (), 0, self.max_offset)  # d - 1
    register_BxL = jnp.full_like(batch["target"], self.task.vocab_size)
    hidden_BxLxD, beside_BxLxD = model.hidden_beside(params["model"], self.inputs(batch), register_BxL, start - 1 + ahead)
    loss, record = score(model.unembed(params["model"], hidden_BxLxD), batch)
    further = lambda x_BxL: jax.lax.dynamic_slice_in_dim(jnp.pad(x_BxL, ((0, 0), (0, self.max_offset))), ahead, length, axis=1)
    _, seen = score(model.unembed(params["model"], beside_BxLxD), {name: further(batch[name]) for name in ("target", "weight")})
    register = mean_of_any(seen.loss_BxL, seen.weight_BxL)
    total = (1 - self.register_weight) * loss + self.register_weight * register
    return total, record._replace(terms={"next": loss, "register": register})
