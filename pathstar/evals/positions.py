"""Accuracy and loss of each position of the path given what training lets the model see. Claims 4 and 7 of the talk.

Positions count along the path, 0 = start and 1 = branch token, in whatever order the target is produced. Left out
after a chain of thought, whose teacher-forced tokens tell little: see `generated`.
"""

from pathstar.objectives import base


def applies(config) -> bool:
  return config.task.separator is None


def run(config, params, batch, logits_BxLxV) -> dict:
  """`position_k/accuracy` and `position_k/loss` (B,) for each position k; with teacher forcing if training has it."""
  _, aux = base.score(logits_BxLxV, batch)
  correct_BxL, loss_BxL = (base.path_order(x, config.order) for x in (aux.correct_BxL, aux.loss_BxL))
  metrics = {}
  for k in range(loss_BxL.shape[1]):
    metrics[f"position_{k}/accuracy"] = correct_BxL[:, k]
    metrics[f"position_{k}/loss"] = loss_BxL[:, k]
  return metrics
