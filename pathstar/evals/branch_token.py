"""The indecipherable token: is the first move away from the start more than a random legal one? Claim 3 of the talk."""

import jax
import jax.numpy as jnp

GROUP, METRICS = "branch", "branch_accuracy|legal_mass|branch_entropy"


def applies(config) -> bool:
  return config.task.branch is not None


def run(config, params, batch, logits_BxLxV) -> dict:
  """Per example (B,), at the branch token.

  `branch_accuracy`: the argmax is the right first move. `legal_mass`: probability on the `degree` legal first moves.
  `branch_entropy`: entropy over them, renormalised, in nats; log(degree) is a uniformly random legal move.
  """
  place = config.task.branch
  logits_BxV = config.objective.along_path(logits_BxLxV, batch)[:, place]
  target_B = config.objective.along_path(batch["target"], batch)[:, place]
  legal_BxDxV = jax.nn.one_hot(batch["arms"][:, :, place], logits_BxV.shape[-1])
  legal_logits_BxD = jnp.einsum("bdv,bv->bd", legal_BxDxV, logits_BxV)
  log_p_BxD = jax.nn.log_softmax(legal_logits_BxD, axis=-1)
  total_B = jax.nn.logsumexp(logits_BxV, axis=-1)
  return {
      "branch_accuracy": logits_BxV.argmax(-1) == target_B,
      "legal_mass": jnp.exp(jax.nn.logsumexp(legal_logits_BxD, axis=-1) - total_B),
      # One legal move leaves nothing to be undecided about.
      **({"branch_entropy": -jnp.sum(jnp.exp(log_p_BxD) * log_p_BxD, axis=-1)} if log_p_BxD.shape[1] > 1 else {}),
  }
