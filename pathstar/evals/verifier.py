"""A perfect verifier and a backtracker around the model: do they beat blind guessing? Claim 9 of the talk.

If the model knows nothing of the branch, the arm is chosen at random and then followed with probability q. Best of k
samples, of which the verifier accepts a right one, must then be right with 1 - (1 - q/d)^k, and going back to the
branch for another first move up to k times with q min(1, k/d), d being the degree. Only with `eval.num_samples`, and
where the model decodes from the start.
"""

import jax
import jax.numpy as jnp

from pathstar.objectives import base
from pathstar.objectives.branch_only import BranchOnly
from pathstar.objectives.teacherless import Teacherless


def applies(config) -> bool:
  return (config.eval.num_samples > 0 and config.task.branch is not None and config.order == "forward"
          and not isinstance(config.objective, Teacherless | BranchOnly))


def tries(config) -> list[int]:
  """The k for which numbers are reported: powers of two up to `eval.num_samples`."""
  return [2**i for i in range(config.eval.num_samples.bit_length())]


def run(config, params, batch, token_BxL) -> dict:
  """Per example (B,), for each k of `tries`.

  `verifier/best_of_k`: one of k samples at temperature 1 is the path. `verifier/backtrack_k`: it is found by trying
  the k most likely first moves, each followed greedily. `verifier/rest_accuracy`, `verifier/rest_probability`: q of
  either, greedy and sampled, given the right first move.
  """
  target_BxL, place = batch["target"], config.task.branch
  keys = jax.random.split(jax.random.key(0), config.eval.num_samples)
  sample = lambda key: base.decode(config.model, params["model"], batch["prefix"], target_BxL.shape[1], key)
  right_KxB = (jax.vmap(sample)(keys) == target_BxL[None]).all(axis=2)
  # Given the true tokens before each, as in decoding that has been right so far.
  logits_BxLxV = config.objective.logits(config.model, params, batch)
  rest_L = ~base.at_branch(config.task, config.order)[0]
  log_p_BxL = -base.score(logits_BxLxV, batch)[1].loss_BxL
  rest_right_B = (logits_BxLxV.argmax(-1) == target_BxL)[:, rest_L].all(axis=1)
  branch_BxV = logits_BxLxV[:, place]
  rank_B = (branch_BxV > jnp.take_along_axis(branch_BxV, target_BxL[:, place, None], axis=1)).sum(axis=1)
  rest_p_B = jnp.exp(log_p_BxL[:, rest_L].sum(axis=1))
  found = {"verifier/rest_accuracy": rest_right_B, "verifier/rest_probability": rest_p_B}
  for k in tries(config):
    found[f"verifier/best_of_{k}"] = right_KxB[:k].any(axis=0)
    found[f"verifier/backtrack_{k}"] = rest_right_B & (rank_B < k)
  return found


def derive(config, means) -> dict:
  """`verifier/best_of_k_blind`, `verifier/backtrack_k_blind`: the same if the model knows nothing of the branch."""
  degree, found = config.task.degree, {}
  for k in tries(config):
    found[f"verifier/best_of_{k}_blind"] = 1 - (1 - means["verifier/rest_probability"] / degree) ** k
    found[f"verifier/backtrack_{k}_blind"] = means["verifier/rest_accuracy"] * min(1, k / degree)
  return found
