"""Verifier and backtracker around a model that guesses the arm, against slow readings of their definitions."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import pytest

from pathstar.evals import verifier
from pathstar.training import data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(trained):
  """(config, params, batch, metrics) of the model that guesses."""
  config, params, batch = trained("half")
  config = dataclasses.replace(config, evals=config.evals | {"verifier": verifier.Fields(num_samples=8)})
  metrics = jax.jit(lambda params, batch: verifier.run(config, params, batch | {"chunk": 0}, None))(params, batch)
  return config, params, batch, {name: np.asarray(value) for name, value in metrics.items()}


def test_the_numbers_are_defined_for_powers_of_two(found):
  _, _, batch, metrics = found
  names = {f"verifier/{what}_{k}{blind}" for what in ("best_of", "backtrack") for k in (1, 2, 4, 8) for blind in ("", "_blind")}
  assert metrics.keys() == names | {"verifier/rest_accuracy", "verifier/rest_probability"}
  assert {x.shape for x in metrics.values()} == {(len(batch["target"]),)}


def test_backtracking_takes_first_moves_in_the_order_of_their_logits_and_follows_each_greedily(found, logits_of):
  _, _, batch, metrics = found
  logits = logits_of("half")
  for i, target in enumerate(batch["target"]):
    rest = all(logits[i, k].argmax() == target[k] for k in (0, 2, 3))
    assert metrics["verifier/rest_accuracy"][i] == rest
    for k in (1, 2, 4, 8):
      assert metrics[f"verifier/backtrack_{k}"][i] == (rest and target[1] in np.argsort(-logits[i, 1])[:k])
  # One try is greedy decoding.
  np.testing.assert_array_equal(metrics["verifier/backtrack_1"], (logits.argmax(-1) == batch["target"]).all(axis=1))


def test_best_of_k_is_that_of_samples_with_the_models_own_probabilities(found, logits_of):
  _, _, batch, metrics = found
  logits = logits_of("half").astype(float)
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  p_BxL = np.exp(np.take_along_axis(log_p, batch["target"][:, :, None], axis=2)[:, :, 0])
  np.testing.assert_allclose(metrics["verifier/rest_probability"], p_BxL[:, [0, 2, 3]].prod(axis=1), rtol=1e-3)
  for k in (1, 2, 4, 8):
    expected = 1 - (1 - p_BxL.prod(axis=1)) ** k
    noise = np.sqrt((expected * (1 - expected)).sum()) / len(expected)
    assert metrics[f"verifier/best_of_{k}"].mean() == pytest.approx(expected.mean(), abs=4 * noise)
  for few, more in ((1, 2), (2, 4), (4, 8)):
    assert (metrics[f"verifier/best_of_{few}"] <= metrics[f"verifier/best_of_{more}"]).all()


def test_neither_beats_blind_guessing_where_the_branch_is_a_guess(found):
  *_, metrics = found
  mean = {name: value.mean() for name, value in metrics.items()}
  q, p_B = mean["verifier/rest_accuracy"], metrics["verifier/rest_probability"]
  assert q > 0.9  # it follows the arm, once on it
  for k in (1, 2, 4, 8):
    assert mean[f"verifier/best_of_{k}_blind"] == pytest.approx((1 - (1 - p_B / 2) ** k).mean())
    assert mean[f"verifier/backtrack_{k}_blind"] == pytest.approx(q * min(1, k / 2))
    assert mean[f"verifier/backtrack_{k}"] == pytest.approx(mean[f"verifier/backtrack_{k}_blind"], abs=0.12)
    # Samples of a model that is sure of its guess repeat it, and so do worse than blind.
    assert mean[f"verifier/best_of_{k}"] < mean[f"verifier/best_of_{k}_blind"] + 0.08


def test_of_a_question_that_may_name_the_first_move_a_blind_guess_knows_so(tiny):
  config = tiny({"task.query": "inner", "task.length": 5, "eval.num_samples": 2})
  params = {"model": nn.meta.unbox(config.model.init(jax.random.key(0))), "objective": {}}
  batch = config.objective.in_order(data.eval_examples(config, "test"))
  found = verifier.run(config, params, batch | {"chunk": 0}, None)
  q = found["verifier/rest_accuracy"].mean()
  assert config.task.chance == pytest.approx(2 / 3)  # one question in three names the first move, of which there are two
  assert float(found["verifier/backtrack_1_blind"].mean()) == pytest.approx(float(q) * 2 / 3)
  assert float(found["verifier/backtrack_2_blind"].mean()) == pytest.approx(float(q))
  p = float(found["verifier/rest_probability"].mean())
  assert float(found["verifier/best_of_1_blind"].mean()) == pytest.approx(p * 2 / 3, rel=0.01)


def test_samples_of_one_chunk_are_not_those_of_the_next(found):
  config, params, batch, metrics = found
  again = verifier.run(config, params, batch | {"chunk": 1}, None)
  assert (again["verifier/best_of_1"] != metrics["verifier/best_of_1"]).any()
  np.testing.assert_allclose(again["verifier/rest_probability"], metrics["verifier/rest_probability"], rtol=1e-3)


@pytest.mark.parametrize("fields, defined", [
    ({}, True), ({"eval.num_samples": 0}, False), ({"objective.order": "reversed"}, False), ({"objective.name": "teacherless"}, False),
    ({"objective.name": "branch_only"}, False), ({"task.name": "addition"}, False), ({"task.target": "search"}, False),
])
def test_it_is_left_out_where_it_means_nothing_or_is_not_asked_for(tiny, fields, defined):
  config = tiny({"eval.num_samples": 3} | fields)
  assert bool(verifier.applies(config) and verifier.tries(config)) == defined


def test_tries_are_powers_of_two_up_to_the_samples_and_these(tiny):
  assert [verifier.tries(tiny({"eval.num_samples": n})) for n in (1, 2, 3, 8, 9)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 9]]
