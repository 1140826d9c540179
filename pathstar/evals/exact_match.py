"""Greedy exact match of the whole answer, without generating.

A greedy decode reproduces a deterministic target exactly if and only if every teacher-forced argmax on the true
prefix is right (induction on the position), so one forward pass gives the headline number. Claims 1, 5 and 6 of the
talk. A chain of thought has many right traces: there `generated` reports it.
"""

import jax.numpy as jnp

from pathstar.objectives import base


def applies(config) -> bool:
  return config.task.separator is None


def run(config, params, batch, logits_BxLxV) -> dict:
  """`exact_match` (B,) of the answer."""
  _, aux = base.score(logits_BxLxV, batch)
  return {"exact_match": jnp.all(aux.correct_BxL | ~batch["answer"], axis=1)}
