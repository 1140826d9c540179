"""Greedy exact match of the whole answer, where the objective allows without generating.

A greedy decode reproduces a deterministic target exactly if and only if every teacher-forced argmax on the true
prefix is right (induction on the position), so one forward pass gives the headline number. Claims 1, 5 and 6 of the
talk. An objective says so by `one_pass`; where it doesn't, and after a chain of thought, of which many are right, what is really
generated decides.
"""

import jax.numpy as jnp

from pathstar.evals import generated

GROUP, METRICS = "answer", "exact_match"


def applies(config) -> bool:
  return True


def reads(config) -> str:
  return "logits" if config.objective.one_pass and config.task.separator is None else "tokens"


def run(config, params, batch, output) -> dict:
  """`exact_match` (B,) of the answer."""
  if config.task.separator is not None:
    return {"exact_match": generated.run(config, params, batch, output)["generated_exact_match"]}
  return {"exact_match": jnp.all(generated.correct(output, batch) | ~batch["answer"], axis=1)}
