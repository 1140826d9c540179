"""Loss on the branch token alone: a needle in a haystack. Claims 3 and 11 of the talk.

No other token tells the model how to find it. With a path of two nodes it is the goal, which stands in the problem.
"""

import dataclasses

import jax

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken


@dataclasses.dataclass(frozen=True)
class BranchOnly(NextToken):
  """Objective `branch_only`: next_token but for what is scored; `branch_accuracy` measures it, not exact match."""

  scores_all = False
  year, source = 2024, "Bachmann and Nagarajan, arXiv 2403.06963"

  def __post_init__(self):
    super().__post_init__()
    require(self.task.branch is not None, "objective.name", "branch_only",
            f"another objective for {self.task}, whose target has no branch token")
    require(self.branch_weight == 1, "objective.branch_weight", self.branch_weight,
            "1 with objective.name = 'branch_only', which scores no other token")

  def weight(self, batch: dict) -> jax.Array:
    return batch["weight"] * self.at_branch(batch)
