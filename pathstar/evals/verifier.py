"""A perfect verifier and a backtracker around the model: do they beat blind guessing? Claim 9 of the talk.

If the model knows nothing of the branch, the arm is chosen at random and then followed with probability q. Best of k samples, of which
the verifier accepts a right one, must then be right with 1 - (1 - q/d)^k, and going back to the branch for another first move up to k
times with q min(1, k/d), d being the degree, or 1 for the share of questions that name the first move (`task.query=inner`). Only with
`eval.num_samples`, and where the model decodes from the start.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.devices import random
from pathstar.errors import require
from pathstar.objectives import decode
from pathstar.objectives.target import score

GROUP, METRICS = "verifier", r"verifier/\w+"


@dataclasses.dataclass(frozen=True)
class Fields:
  """Config fields under `eval.`."""

  num_samples: int = 0  # samples an example for best-of-k, where evaluations decode; 0: none

  def __post_init__(self):
    require(self.num_samples >= 0, "eval.num_samples", self.num_samples, "an integer >= 0")


def applies(config) -> bool:
  objective = config.objective
  return (config.task.branch is not None and config.order == "forward"
          and objective.one_pass and objective.sees_answer and objective.scores_all)


def reads(config) -> str:
  return "tokens"


def tries(config) -> list[int]:
  """The k for which numbers are reported: powers of two below `eval.num_samples`, and that number."""
  most = config.evals["verifier"].num_samples
  return [*(2**i for i in range((most - 1).bit_length())), most] if most else []


def run(config, params, batch, token_BxL) -> dict:
  """Per example (B,), for each k of `tries`.

  `verifier/best_of_k`: one of k samples at temperature 1 is the path. `verifier/backtrack_k`: it is found by trying
  the k most likely first moves, each followed greedily. `.._blind`: the same if the model knows nothing of the branch.
  `verifier/rest_accuracy`, `verifier/rest_probability`: q of either, greedy and sampled, given the right first move.
  """
  if not tries(config):
    return {}
  target_BxL, answer_BxL, place = batch["target"], batch["answer"], config.task.branch
  keys = jax.random.split(random.evaluation_key(random.SAMPLE, batch["chunk"]), config.evals["verifier"].num_samples)
  sample = lambda key: decode.autoregressive(config.objective, config.model, params, batch, key)
  right_KxB = ((jax.vmap(sample)(keys) == target_BxL[None]) | ~answer_BxL[None]).all(axis=2)
  # Given the true tokens before each, as in decoding that has been right so far.
  logits_BxLxV = config.objective.logits(config.model, params, batch)
  rest_BxL = answer_BxL & ~config.objective.at_branch(batch)
  log_p_BxL = -score(logits_BxLxV, batch)[1].loss_BxL
  rest_right_B = ((logits_BxLxV.argmax(-1) == target_BxL) | ~rest_BxL).all(axis=1)
  branch_BxV, right_Bx1 = logits_BxLxV[:, place], target_BxL[:, place, None]
  level_Bx1 = jnp.take_along_axis(branch_BxV, right_Bx1, axis=1)
  earlier_BxV = jnp.arange(branch_BxV.shape[1])[None] < right_Bx1  # of equals, greedy decoding takes the first
  rank_B = ((branch_BxV > level_Bx1) | (branch_BxV == level_Bx1) & earlier_BxV).sum(axis=1)
  rest_p_B = jnp.exp(jnp.where(rest_BxL, log_p_BxL, 0).sum(axis=1))
  degree = config.task.degree
  named = (config.task.chance * degree - 1) / (degree - 1) if degree > 1 else 1.0  # share of questions that name the first move
  blind = lambda right: named * right(1) + (1 - named) * right(degree)
  found = {"verifier/rest_accuracy": rest_right_B, "verifier/rest_probability": rest_p_B}
  for k in tries(config):
    found[f"verifier/best_of_{k}"] = right_KxB[:k].any(axis=0)
    found[f"verifier/best_of_{k}_blind"] = blind(lambda arms: 1 - (1 - rest_p_B / arms) ** k)
    found[f"verifier/backtrack_{k}"] = rest_right_B & (rank_B < k)
    found[f"verifier/backtrack_{k}_blind"] = blind(lambda arms: rest_right_B * min(1, k / arms))
  return found
