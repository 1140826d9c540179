"""The Clever Hans cheat: forced onto a wrong arm, does the model follow it? Claim 2 of the talk.

The answer in the input is replaced by another arm, from its branch token on, and the model's next tokens are compared
with that arm. Undefined, and left out, for one arm, for reversed targets, where no answer is seen (teacherless) or no
such token is trained (branch_only), and for arms of up to 3 nodes, which have no position between the branch token
and the end.
"""

import jax
import jax.numpy as jnp

GROUP, METRICS = "cheat", "cheat_accuracy|end_follows_arm|end_copies_goal"


def applies(config) -> bool:
  objective, task = config.objective, config.task
  return (task.branch is not None and task.degree > 1 and task.answer_length > 3 and config.order == "forward"
          and objective.sees_answer and objective.scores_all)


def run(config, params, batch, logits_BxLxV) -> dict:
  """Per example (B,).

  `cheat_accuracy`: mean over positions 2 .. length-2 of following the wrong arm. At its last position `end_follows_arm`, and, as the
  true goal can also be copied from the problem, `end_copies_goal`; not where an inner node is named in its place.
  """
  arms_BxDxL, branch = batch["arms"], config.task.branch
  degree = arms_BxDxL.shape[1]
  goal_arm_B = jnp.argmax(arms_BxDxL[:, :, branch] == batch["target"][:, branch][:, None], axis=1)
  # Arms come in random order, so the arm after the goal's is a random wrong one.
  pick_BxD = jax.nn.one_hot((goal_arm_B + 1) % degree, degree, dtype=arms_BxDxL.dtype)
  wrong_BxL = jnp.einsum("bd,bdl->bl", pick_BxD, arms_BxDxL)
  token_BxL = config.objective.logits(config.model, params, batch | {"target": wrong_BxL}).argmax(-1)
  follows_BxL = token_BxL == wrong_BxL
  last_B = jnp.sum(wrong_BxL != config.task.dummy, axis=1) - 1  # arms may be padded
  place = jnp.arange(wrong_BxL.shape[1])[None]
  inside_BxL, end_BxL = (place > branch) & (place < last_B[:, None]), place == last_B[:, None]
  number_B = jnp.sum(inside_BxL, axis=1)
  at_end = lambda x_BxL: jnp.where(number_B > 0, jnp.any(x_BxL & end_BxL, axis=1), jnp.nan)
  found = {
      "cheat_accuracy": jnp.sum(follows_BxL & inside_BxL, axis=1) * (1 / number_B),  # 0 * inf is undefined
      "end_follows_arm": at_end(follows_BxL),
  }
  named = getattr(config.task, "names_goal", True)
  return found | ({"end_copies_goal": at_end(token_BxL == batch["goal"][:, None])} if named else {})
