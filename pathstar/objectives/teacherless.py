"""Teacherless training: the answer in the input is replaced by dummy tokens, so that all of it is predicted from the problem alone.

Bachmann and Nagarajan 2024 (arXiv 2403.06963), section 5; after Monea et al. 2023, "PaSS" (arXiv 2311.13581).
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.objectives.next_token import NextToken


@dataclasses.dataclass(frozen=True)
class Teacherless(NextToken):
  """Objective `teacherless`: as next_token but for what the model sees. Read out in one parallel pass."""

  sees_answer = False
  year, source = 2023, "Monea et al., arXiv 2311.13581"

  def inputs(self, batch: dict) -> jax.Array:
    return jnp.concatenate([batch["prefix"], jnp.full_like(batch["target"][:, :-1], self.task.dummy)], axis=1)

  def predict(self, model, params, batch: dict, key: jax.Array) -> jax.Array:
    return self.logits(model, params, batch).argmax(-1)
