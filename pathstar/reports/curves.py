"""When a run learned what. Claims 4, 7 and 11 of the talk.

Pure functions of the rows of a run's metrics.jsonl, as `metrics.read` gives them.
"""

from collections.abc import Sequence

from pathstar.reports.rows import SOLVED

THRESHOLDS = (0.5, SOLVED)


def series(rows: Sequence[dict], tag: str) -> list[tuple[int, float]]:
  """(step, value) wherever `tag` was logged."""
  return [(row["step"], row[tag]) for row in rows if tag in row]


def crossing(rows: Sequence[dict], tag: str, threshold: float) -> int | None:
  """First logged step at which `tag` is at least `threshold`; None: not within the run (censored at its last step)."""
  return next((step for step, value in series(rows, tag) if value >= threshold), None)


def learning_order(rows: Sequence[dict]) -> list[dict]:
  """One dict a position of the answer: `position`, `step_50` and `step_95`, where its accuracy crosses 50 % and 95 %.

  A guess crosses 50 % too where two answers are possible: at the branch of degree 2 only `step_95` tells.
  """
  found = []
  while series(rows, tag := f"eval/test/position_{len(found)}/accuracy"):
    found.append({"position": len(found)} | {f"step_{100 * x:.0f}": crossing(rows, tag, x) for x in THRESHOLDS})
  return found


def timeline(rows: Sequence[dict]) -> dict:
  """What is left of the branch token's supervision once the cheat is learned.

  `cheat_step`: `cheat_accuracy` crosses 95 %. `branch_accuracy_best`: the largest from then on. None where there is no such step.
  """
  cheat_step = crossing(rows, "eval/test/cheat_accuracy", SOLVED)
  after = [value for step, value in series(rows, "eval/test/branch_accuracy") if cheat_step is not None and step >= cheat_step]
  return {"cheat_step": cheat_step, "branch_accuracy_best": max(after, default=None)}
