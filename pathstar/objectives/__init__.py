"""How it is learned. An objective is a frozen dataclass with the fields `task`, `order` and its own (with defaults),
and

    init(key) -> parameters of its own (heads), or {}
    inputs(batch) -> tokens_BxT                                what the model sees
    logits(model, params, batch) -> logits_BxLxV               its scores of the target, in one pass
    loss(model, params, batch, key) -> (scalar, Aux)           what is scored
    predict(model, params, batch, key) -> tokens_BxL           how it is read out

`params` is {"model": ..., "objective": ...}; `batch` holds prefix_BxP, target_BxL and weight_BxL with the target
already in `order`. Add one = one file + one line here.
"""

from pathstar.objectives.branch_only import BranchOnly
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.teacherless import Teacherless

OBJECTIVES = {
    "next_token": NextToken,
    "teacherless": Teacherless,
    "branch_only": BranchOnly,
}
