"""Accuracy and loss of each position of the path given what training lets the model see. Claims 4 and 7 of the talk.

Positions count along the path, 0 = start and 1 = branch token, in whatever order the target is produced. Left out
after a chain of thought, whose teacher-forced tokens tell little: see `generated`. Of an objective that is not decided by one pass they
are those of what is generated, which has no loss.
"""

import jax.numpy as jnp

from pathstar.evals import generated
from pathstar.objectives.target import score

GROUP, METRICS = "positions", r"position_\d+/(accuracy|loss)"


def applies(config) -> bool:
  return config.task.separator is None


def reads(config) -> str:
  return "logits" if config.objective.one_pass else "tokens"


def run(config, params, batch, output) -> dict:
  """`position_k/accuracy` and `position_k/loss` (B,) for each position k; undefined behind the end of an example's answer."""
  found = {"accuracy": generated.correct(output, batch)}
  if output.ndim == 3:
    found["loss"] = score(output, batch)[1].loss_BxL
  metrics = {}
  for name, x_BxL in found.items():
    x_BxL = x_BxL if not config.task.answers_vary else jnp.where(batch["answer"], x_BxL, jnp.nan)
    x_BxL = config.objective.along_path(x_BxL, batch)
    metrics |= {f"position_{k}/{name}": x_BxL[:, k] for k in range(x_BxL.shape[1])}
  return metrics
