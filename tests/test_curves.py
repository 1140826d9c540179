"""When a run learned what, from rows made up for the purpose."""

import pytest

from pathstar.reports import curves

# Position 2 is learned first, position 1 stays at chance; a training row without evaluations comes between.
ROWS = [
    {"step": 0, "eval/test/position_0/accuracy": 1.0, "eval/test/position_1/accuracy": 0.0, "eval/test/position_2/accuracy": 0.1},
    {"step": 5, "train/loss": 1.0},
    {"step": 10, "eval/test/position_0/accuracy": 1.0, "eval/test/position_1/accuracy": 0.5, "eval/test/position_2/accuracy": 0.7},
    {"step": 20, "eval/test/position_0/accuracy": 1.0, "eval/test/position_1/accuracy": 0.4, "eval/test/position_2/accuracy": 0.95},
    {"step": 30, "eval/test/position_0/accuracy": 1.0, "eval/test/position_1/accuracy": 0.6, "eval/test/position_2/accuracy": 0.2},
]


def test_a_series_holds_the_steps_at_which_its_tag_was_logged():
  assert curves.series(ROWS, "train/loss") == [(5, 1.0)]
  assert [step for step, _ in curves.series(ROWS, "eval/test/position_1/accuracy")] == [0, 10, 20, 30]
  assert curves.series(ROWS, "eval/test/loss") == []


@pytest.mark.parametrize("threshold, step", [(0.0, 0), (0.1, 0), (0.11, 10), (0.7, 10), (0.95, 20), (0.96, None)])
def test_a_crossing_is_the_first_step_that_reaches_the_threshold(threshold, step):
  assert curves.crossing(ROWS, "eval/test/position_2/accuracy", threshold) == step


def test_the_learning_order_has_every_position_and_says_which_were_not_learned():
  assert curves.learning_order(ROWS) == [
      {"position": 0, "step_50": 0, "step_95": 0},
      {"position": 1, "step_50": 10, "step_95": None},
      {"position": 2, "step_50": 10, "step_95": 20},
  ]


def row(step, cheat, branch):
  return {"step": step, "eval/test/cheat_accuracy": cheat, "eval/test/branch_accuracy": branch}


def test_the_timeline_tells_what_the_branch_does_once_the_cheat_is_learned():
  rows = [row(0, 0.0, 0.9), row(10, 0.5, 0.3), row(20, 0.97, 0.48), row(30, 1.0, 0.52)]
  assert curves.timeline(rows) == {"cheat_step": 20, "branch_accuracy_best": 0.52}
  # What came before the cheat is no matter, and without it nothing is said of the branch after.
  assert curves.timeline(rows[:2]) == curves.timeline([]) == {"cheat_step": None, "branch_accuracy_best": None}
