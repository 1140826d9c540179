"""Both exact solvers on every topology, and their traces as chain-of-thought targets."""

import itertools

import hypothesis
import numpy as np
import pytest
import solvers
from hypothesis import strategies as st

from pathstar.errors import UserError
from pathstar.tasks.path_star import PathStar


@st.composite
def batches(draw, target):
  """(task, batch) of any topology up to G(6,7)."""
  degree, length = draw(st.integers(1, 6)), draw(st.integers(2, 7))
  task = PathStar(degree, length, degree * (length - 1) + 1 + draw(st.integers(0, 20)), target)
  hypothesis.assume(task.num_problems() >= 200)  # below, a split may hold nothing
  return task, task.examples(draw(st.integers(0, 1000)), draw(st.sampled_from(["train", "test"])), np.arange(20))


@hypothesis.given(batches("path"))
def test_both_solvers_find_the_path_from_the_prefix_alone(drawn):
  task, batch = drawn
  for prefix, target in zip(batch["prefix"], batch["target"]):
    assert solvers.search(task, prefix).path == solvers.lookahead(task, prefix).path == target.tolist()


@hypothesis.given(batches("path"))
def test_search_tries_arms_as_they_are_listed_or_in_the_order_it_is_given(drawn):
  task, batch = drawn
  for prefix, target, arms in zip(batch["prefix"], batch["target"], batch["arms"]):
    edges, start, _ = solvers.read(task, prefix)
    listed = [v for u, v in edges if u == start]
    for moves, solution in ((listed, solvers.search(task, prefix)), (listed[::-1], solvers.search(task, prefix, listed[::-1]))):
      tried = moves[:moves.index(target[1]) + 1]
      want = [[*next(arm for arm in arms.tolist() if arm[1] == node), task.num_nodes] for node in tried]  # | after each arm
      want[-1][-1] = task.num_nodes + 1  # but = after the right one
      assert solution.trace == [*itertools.chain(*want)]


def test_search_says_when_no_arm_leads_to_the_goal():
  task = PathStar(3, 4)
  [prefix] = task.examples(0, "train", np.arange(1))["prefix"]
  right = solvers.search(task, prefix).path[1]
  with pytest.raises(ValueError, match="no arm tried leads from"):
    solvers.search(task, prefix, [v for u, v in solvers.read(task, prefix)[0] if u == prefix[-3] and v != right])


@pytest.mark.parametrize("target", ["search", "lookahead"])
@hypothesis.given(data=st.data())
def test_a_target_is_the_solvers_trace_then_the_answer_then_nothing(target, data):
  task, batch = data.draw(batches(target))
  plain = PathStar(task.degree, task.length, task.num_nodes)
  assert batch["target"].dtype == np.int32 and batch["target"].shape == (20, task.target_length)
  for i, prefix in enumerate(batch["prefix"]):
    solution = (solvers.search(task, prefix, batch["arms"][i, :, 1]) if target == "search" else solvers.lookahead(task, prefix))
    tokens = solution.trace + solution.path
    padding = task.target_length - len(tokens)
    assert batch["target"][i].tolist() == tokens + [task.dummy] * padding
    assert batch["weight"][i].tolist() == [1] * len(tokens) + [0] * padding
    assert batch["target"][i][batch["answer"][i]].tolist() == solution.path
    assert batch["answer"][i].nonzero()[0].tolist() == list(range(len(solution.trace), len(tokens)))
    # The separator stands for the first time where the answer begins.
    assert solution.trace.index(task.separator) == len(solution.trace) - 1
  # The problems, token ids and file format are those of the task without traces.
  same = plain.examples(0, "test", np.arange(5))
  traced = task.examples(0, "test", np.arange(5))
  np.testing.assert_array_equal(traced["prefix"], same["prefix"])
  assert task.vocab_size == plain.vocab_size and task.to_text(traced) == plain.to_text(same)


def test_traces_of_search_take_every_length_and_leave_no_room_unused():
  task = PathStar(3, 4, 20, "search")
  lengths = task.examples(0, "train", np.arange(3000))["weight"].sum(axis=1)
  arms_tried, counts = np.unique((lengths - 4) / 5, return_counts=True)
  assert arms_tried.tolist() == [1, 2, 3] and (counts > 900).all()  # 1000 each in expectation
  assert lengths.max() == task.target_length


def test_an_unknown_target_is_refused():
  with pytest.raises(UserError, match="task.target = 'lookahed'.*did you mean 'lookahead'"):
    PathStar(2, 4, target="lookahed")
