"""The Clever Hans cheat: forced onto a wrong arm, does the model follow it? Claim 2 of the talk.

The answer in the input is replaced by another arm, from its branch token on, and the model's next tokens are compared
with that arm. Undefined, and left out, for one arm, for reversed targets, where no answer is seen (teacherless) or no
such token is trained (branch_only), and for paths of up to 3 nodes, which have no position between the branch token
and the end.
"""

import jax
import jax.numpy as jnp

from pathstar.objectives.branch_only import BranchOnly
from pathstar.objectives.teacherless import Teacherless


def applies(config) -> bool:
  return (config.task.branch is not None and config.task.degree > 1 and config.task.length > 3
          and config.order == "forward" and not isinstance(config.objective, Teacherless | BranchOnly))


def run(config, params, batch, logits_BxLxV) -> dict:
  """Per example (B,).

  `cheat_accuracy`: mean over positions 2 .. length-2 of following the wrong arm. At the last position, where the true
  goal can also be copied from the problem: `end_follows_arm` and `end_copies_goal`.
  """
  arms_BxDxL, target_BxL = batch["arms"], batch["target"]
  goal_arm_B = jnp.argmax(arms_BxDxL[:, :, 1] == target_BxL[:, 1][:, None], axis=1)
  # Arms come in random order, so the arm after the goal's is a random wrong one.
  pick_BxD = jax.nn.one_hot((goal_arm_B + 1) % config.task.degree, config.task.degree, dtype=arms_BxDxL.dtype)
  wrong_BxL = jnp.einsum("bd,bdl->bl", pick_BxD, arms_BxDxL)
  logits = config.objective.logits(config.model, params, batch | {"target": wrong_BxL})
  token_BxL = logits.argmax(-1)
  follows_BxL = token_BxL == wrong_BxL
  return {
      "cheat_accuracy": follows_BxL[:, 2:-1].mean(axis=1),
      "end_follows_arm": follows_BxL[:, -1],
      "end_copies_goal": token_BxL[:, -1] == target_BxL[:, -1],
  }
