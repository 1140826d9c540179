"""Every registered task through the same invariants: what tasks/__init__.py asks of it."""

import string

import numpy as np
import pytest

from pathstar import tasks
from pathstar.errors import UserError

# Kinds of each task; the tests of one task alone are in its own file.
SETTINGS = {
    "path_star": [{}, {"degree": 1, "length": 4}, {"degree": 3, "length": 2}, {"degree": 3, "length": 4, "num_nodes": 12},
                  {"target": "search"}, {"target": "lookahead", "degree": 3}, {"min_length": 3, "degree": 3},
                  {"min_length": 3, "arm_lengths": "unequal", "layout": "query_first"}, {"query": "inner", "siblings": 2},
                  {"layout": "edges_twice", "dead_ends": 1}, {"layout": "arms", "query": "inner", "min_length": 4}],
    "addition": [{}, {"digits": 1}, {"digits": 9}],
    "in_weights": [{"degree": 40}, {"degree": 500, "length": 3, "path_share": 0.1, "held_out": 3}],
}
CASES = [pytest.param(tasks.TASKS[name](**fields), id=f"{name}-{fields}") for name in tasks.TASKS for fields in SETTINGS[name]]


@pytest.mark.parametrize("task", CASES)
def test_examples_have_the_shapes_and_types_that_the_task_announces(task):
  batch = task.examples(0, "train", np.arange(30))
  shapes = {name: (batch[name].dtype, batch[name].shape) for name in ("prefix", "target", "weight", "answer")}
  assert shapes == {
      "prefix": (np.int32, (30, task.prefix_length)), "target": (np.int32, (30, task.target_length)),
      "weight": (np.float32, (30, task.target_length)), "answer": (np.bool_, (30, task.target_length))}
  assert all(len(x) == 30 for x in batch.values())
  for name in ("prefix", "target"):
    assert 0 <= batch[name].min() and batch[name].max() < task.vocab_size
  assert 0 <= task.dummy < task.vocab_size
  assert (np.diff((batch["prefix"] == task.dummy).astype(int), axis=1) <= 0).all()  # padding stands on the left
  assert (batch["weight"][batch["answer"]] > 0).all()  # what is scored is learned
  assert 0 < task.chance <= 1 and task.num_problems() >= 1 and str(task)
  assert set(task.slug) <= set(string.ascii_lowercase + string.digits + "-")  # it is part of a folder's name


@pytest.mark.parametrize("task", CASES)
def test_the_answer_is_the_whole_target_or_follows_the_first_separator(task):
  batch = task.examples(0, "train", np.arange(30))
  for target, weight, answer in zip(batch["target"].tolist(), batch["weight"], batch["answer"]):
    begin = 0 if task.separator is None else target.index(task.separator) + 1
    length = int(answer.sum())
    assert length == task.answer_length or (task.answers_vary and 0 < length <= task.answer_length)
    assert answer.nonzero()[0].tolist() == list(range(begin, begin + length))
    assert not weight[begin + length:].any()
    assert all(token == task.dummy for token in target[begin + length:])  # padding
  assert not task.answers_vary or len(set(batch["answer"].sum(axis=1))) > 1
  if task.branch is not None:
    # Each arm is a path from the start; the branch token is the first that tells the goal's from the others.
    rows = np.arange(30)
    right = (batch["arms"] == batch["target"][:, None]).all(axis=2)
    assert (right.sum(axis=1) == 1).all() and (batch["arms"][rows, right.argmax(axis=1)] == batch["target"]).all()
    assert (batch["arms"][:, :, :task.branch] == batch["target"][:, None, :task.branch]).all()
    assert batch["arms"].shape == (30, task.degree, task.answer_length)
  if "start" in batch:
    paths = [target[answer] for target, answer in zip(batch["target"], batch["answer"])]
    np.testing.assert_array_equal(batch["start"], [path[0] for path in paths])
    np.testing.assert_array_equal(batch["goal"], [path[-1] for path in paths])


@pytest.mark.parametrize("task", [case for case in CASES if case.values[0].branch is not None])
def test_arms_come_in_random_order(task):
  """The cheat is measured on the arm after the goal's: a random wrong one only if the order tells nothing."""
  batch = task.examples(0, "train", np.arange(2000))
  place = (batch["arms"] == batch["target"][:, None]).all(axis=2).argmax(axis=1)
  # Neither of all, nor of those whose goal stands first in the list of edges, or in the number of its node.
  for some in (place, place[batch["prefix"][:, 1] == batch["target"][:, task.branch]], place[batch["goal"] % 2 == 0]):
    number = np.bincount(some, minlength=task.degree)
    assert np.abs(number - len(some) / task.degree).max() <= 4 * 0.5 * np.sqrt(len(some))


@pytest.mark.parametrize("task", CASES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_example_is_a_function_of_seed_split_and_index_alone(task, split):
  index = np.array([5, 0, 3, 2**40, 3])
  whole = task.examples(4, split, index)
  for i, one in enumerate(index):
    alone = task.examples(4, split, np.array([one]))
    for name, value in whole.items():
      np.testing.assert_array_equal(value[i], alone[name][0])
  seeds = np.array([4, 9, 4, 9, 4])
  mixed, other = task.examples(seeds, split, index), task.examples(9, split, index)
  for name, value in mixed.items():
    np.testing.assert_array_equal(value, np.where((seeds == 4).reshape(-1, *[1] * (value.ndim - 1)), whole[name], other[name]))
  same = np.array_equal(task.examples(4, split, np.arange(20))["prefix"], task.examples(9, split, np.arange(20))["prefix"])
  assert same == (split == "test")  # test is the same for every seed


@pytest.mark.parametrize("task", CASES)
def test_a_file_gives_back_what_was_written_to_it(task):
  batch = task.examples(0, "test", np.arange(8))
  lines = task.to_text(batch)
  again = task.from_text(["", *(line + "\n" for line in lines), "  "])
  np.testing.assert_array_equal(again["prefix"], batch["prefix"])
  assert again.keys() == batch.keys() and task.to_text(again) == lines
  assert all(again[name].dtype == batch[name].dtype and again[name].shape == batch[name].shape for name in batch)
  for lines in ([], ["", " "], ["nonsense"]):
    with pytest.raises(UserError):
      task.from_text(lines)


@pytest.mark.parametrize("task", CASES)
def test_train_and_test_share_no_line(task):
  seen = {split: set(task.to_text(task.examples(0, split, np.arange(500)))) for split in ("train", "test")}
  assert not seen["train"] & seen["test"]
