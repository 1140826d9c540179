"""Forced onto a wrong arm: the numbers against a slow reading, and left out where they mean nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.evals import clever_hans


@pytest.fixture(scope="module")
def found(trained, logits_of):
  config, params, batch = trained("half")
  return {name: np.asarray(x) for name, x in clever_hans.run(config, params, batch, logits_of("half")).items()}


def test_cheat_numbers_are_their_definitions(trained, found):
  config, params, batch = trained("half")
  forced, wrong = [], []
  for prefix, arms, target in zip(batch["prefix"], batch["arms"], batch["target"]):
    [arm] = [arm for arm in arms if not np.array_equal(arm, target)]  # degree 2: there is one wrong arm
    forced.append(np.concatenate([prefix, arm[:-1]]))
    wrong.append(arm)
  wrong = np.array(wrong)
  logits = jax.jit(lambda tokens: config.model.apply(params["model"], tokens, 4)[0])(jnp.array(forced))
  token = np.asarray(logits).argmax(-1)
  np.testing.assert_allclose(found["cheat_accuracy"], token[:, 2] == wrong[:, 2])  # the one position between
  np.testing.assert_array_equal(found["end_follows_arm"], token[:, 3] == wrong[:, 3])
  np.testing.assert_array_equal(found["end_copies_goal"], token[:, 3] == batch["target"][:, 3])
  assert set(found) == {"cheat_accuracy", "end_follows_arm", "end_copies_goal"}
  assert found["cheat_accuracy"].mean() > 0.5  # half right on the answers, and yet a follower of edges


def follow(config):
  """(examples, what a model was shown, the numbers) of one that always follows the arm: it puts all its weight on the forced target."""
  seen = {}

  class Follower:
    def logits(self, model, params, batch):
      seen.update(batch)
      return jax.nn.one_hot(batch["target"], 30)

  object.__setattr__(config, "objective", Follower())
  batch = config.task.examples(0, "test", np.arange(50))
  return batch, seen, clever_hans.run(config, {}, batch, None)


def test_a_goal_that_is_not_named_can_not_be_copied(tiny):
  _, _, found = follow(tiny({"task.query": "inner", "task.length": 5, "task.num_nodes": 30}))
  assert set(found) == {"cheat_accuracy", "end_follows_arm"}


def test_the_arm_that_is_forced_is_a_wrong_one_whatever_the_degree(tiny):
  batch, seen, found = follow(tiny({"task.degree": 5, "task.length": 5, "task.num_nodes": 30}))
  assert (found["cheat_accuracy"] == 1).all() and found["end_follows_arm"].all()
  assert not found["end_copies_goal"].any()
  forced = np.asarray(seen["target"])
  assert all(tuple(arm) in set(map(tuple, arms.tolist())) for arm, arms in zip(forced.tolist(), batch["arms"]))
  assert not (forced[:, 1] == batch["target"][:, 1]).any()


@pytest.mark.parametrize("fields, defined", [
    ({}, True),
    ({"task.degree": 5, "task.num_nodes": 40}, True),
    ({"task.degree": 1}, False),
    ({"task.length": 3}, False),
    ({"objective.order": "reversed"}, False),
    ({"objective.name": "teacherless"}, False),
    ({"objective.name": "branch_only"}, False),
    ({"task.target": "lookahead"}, False),
    ({"task.name": "addition"}, False),
])
def test_it_is_left_out_where_it_means_nothing(tiny, fields, defined):
  assert clever_hans.applies(tiny(fields)) == defined
