"""An evaluation in one file: the first move where the answer is long, and undefined elsewhere."""

import dataclasses

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Fields:
  """Config fields under `eval.`."""

  long: int = 5  # nodes from which an answer is long


def applies(config):
  return config.task.branch is not None


def run(config, params, batch, logits_BxLxV):
  """`long/branch_accuracy` (B,)."""
  place = config.task.branch
  right_B = logits_BxLxV[:, place].argmax(-1) == batch["target"][:, place]
  return {"long/branch_accuracy": jnp.where(batch["answer"].sum(axis=1) >= config.evals["long_answers"].long, right_B, jnp.nan)}
