"""The answer after a chain of thought, located in what was produced."""

import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.evals import exact_match, generated
from pathstar.tasks.path_star import PathStar

SEARCH = PathStar(2, 3, 10, "search")  # | = 10, separator = 11, $ = 13


@pytest.mark.parametrize("tokens, answer", [
    ([0, 1, 2, 11, 0, 1, 2, 13, 13, 13, 13], [0, 1, 2]),
    ([0, 3, 4, 10, 0, 1, 2, 11, 0, 1, 2], [0, 1, 2]),  # another trace, the same answer
    ([11, 0, 1, 2, 11, 5, 6, 7, 8, 9, 9], [0, 1, 2]),  # the first separator counts
    ([0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 0], [0, -1, -1]),  # cut off
    ([0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 11], [-1, -1, -1]),
    ([0, 1, 2, 10, 0, 1, 2, 13, 13, 13, 13], [-1, -1, -1]),  # no separator
])
def test_the_answer_is_what_follows_the_first_separator(tokens, answer):
  assert len(tokens) == SEARCH.target_length
  assert generated.answer(SEARCH, jnp.array([tokens])).tolist() == [answer]


@pytest.mark.parametrize("target", ["path", "search", "lookahead"])
def test_the_answer_of_a_target_is_the_path(target):
  task = PathStar(3, 4, target=target)
  batch = task.examples(0, "train", np.arange(20))
  np.testing.assert_array_equal(generated.answer(task, jnp.asarray(batch["target"])), batch["target"][batch["answer"]].reshape(20, 4))


def test_exact_match_of_a_chain_of_thought_is_that_of_the_answer_alone(tiny):
  config = tiny({"task.target": "search", "task.length": 3, "task.num_nodes": 10})
  batch = config.task.examples(0, "train", np.arange(6))
  path = batch["target"][batch["answer"]].reshape(6, 3)
  equals = np.full((6, 1), 11)
  produced = np.concatenate([equals, path, np.zeros((6, 7), int)], axis=1)  # no trace at all
  produced[0, 2] += 1
  found = generated.run(config, {}, batch, jnp.asarray(produced)) | exact_match.run(config, {}, batch, jnp.asarray(produced))
  assert found["exact_match"].tolist() == found["generated_exact_match"].tolist() == [False] + [True] * 5
  assert found["position_1/generated_accuracy"].tolist() == [False] + [True] * 5
  assert found["position_0/generated_accuracy"].all() and found["position_2/generated_accuracy"].all()
  # Where the target is the answer, one pass reports exact match.
  assert exact_match.reads(config) == "tokens" and exact_match.reads(tiny()) == "logits"
