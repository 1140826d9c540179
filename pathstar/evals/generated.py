"""What the model really produces, decoded token by token (in one pass for teacherless): per position and as a whole."""

from pathstar.objectives import base


def applies(config) -> bool:
  return True


def run(config, params, batch, token_BxL) -> dict:
  """`position_k/generated_accuracy` and `generated_exact_match` (B,): each token after the model's own earlier ones."""
  correct_BxL = base.path_order((token_BxL == batch["target"]) | ~batch["answer"], config.order)
  metrics = {f"position_{k}/generated_accuracy": correct_BxL[:, k] for k in range(correct_BxL.shape[1])}
  return metrics | {"generated_exact_match": correct_BxL.all(axis=1)}
