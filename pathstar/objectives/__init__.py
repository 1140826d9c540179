"""How it is learned. An objective is a frozen dataclass of `task`, `order` and its own fields (with defaults), which extends
`Objective` (objective.py) or another one, says what it is,

    one_pass, sees_answer, scores_all, mask      properties that evaluations ask for and that the shared tests prove
    extra_tokens, extra_positions                what it adds to the task's vocabulary and to the longest sequence
    values, batch_keys                           its float fields that runs of a pack may differ in; keys of the task that its loss reads
    year, source                                 of the table in the README

and overrides what differs from next-token prediction:

    check(model)                                 raises UserError where model and objective do not fit
    init(key, model) -> parameters of its own    heads, boxed as the model's; kept(params): those that inference needs
    inputs(batch), prompt(batch) -> tokens       what the model sees in training; what stands before the answer
    loss(model, params, batch, key, step) -> (scalar, Aux)
    readout(model, params, hidden_BxLxD, token_BxL) -> logits_BxLxV
    logits(model, params, batch) -> logits_BxLxV its scores of the target, in one pass
    predict(model, params, batch, key) -> tokens_BxL

`params` is {"model": ..., "objective": ...}. `batch` has `prefix` (B, P), `target` and `weight` (B, L), and what `batch_keys` names of
the task's examples, as `goal` (B,) or `arms`; `target`, `weight` and `answer` are already in `order`. An answer that is shorter than L ends
in padding of weight 0: `lengths(batch)` says where. `weight(batch)` of next_token is `weight` with the branch token scaled.
Add one = one file, and an import and an entry here.
"""

from pathstar.objectives.belief_state import BeliefState
from pathstar.objectives.branch_only import BranchOnly
from pathstar.objectives.future_summary import FutureSummary
from pathstar.objectives.hybrid import Hybrid
from pathstar.objectives.joint_multi_token import JointMultiToken
from pathstar.objectives.masked_diffusion import MaskedDiffusion
from pathstar.objectives.multi_token import MultiToken
from pathstar.objectives.next_latent import NextLatent
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.objective import Objective, with_values
from pathstar.objectives.pause import Pause
from pathstar.objectives.ranking import Ranking
from pathstar.objectives.registers import Registers
from pathstar.objectives.teacherless import Teacherless
from pathstar.objectives.token_masking import TokenMasking
from pathstar.objectives.token_order import TokenOrder

__all__ = ["OBJECTIVES", "Objective", "method", "with_values"]

OBJECTIVES = {
    "next_token": NextToken,
    "teacherless": Teacherless,
    "branch_only": BranchOnly,
    "multi_token": MultiToken,
    "token_order": TokenOrder,
    "future_summary": FutureSummary,
    "next_latent": NextLatent,
    "belief_state": BeliefState,
    "masked_diffusion": MaskedDiffusion,
    "token_masking": TokenMasking,
    "hybrid": Hybrid,
    "ranking": Ranking,
    "pause": Pause,
    "registers": Registers,
    "joint_multi_token": JointMultiToken,
}


def method(name: str, order: str) -> str:
  """Objective and order in a word, as in names of runs and in tables: next_token, reversed, teacherless, teacherless-reversed, ..."""
  if order == "forward":
    return name
  return "reversed" if name == "next_token" else f"{name}-reversed"
