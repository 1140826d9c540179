"""One forward pass gives the exact match of real generation, example by example."""

import jax
import numpy as np
import pytest

from pathstar.evals import exact_match, generated

RANGES = {"untrained": (0, 0.05), "half": (0.2, 0.8), "learning": (0.2, 0.8), "solved": (0.98, 1)}


@pytest.mark.parametrize("name", ["untrained", pytest.param("half", marks=pytest.mark.slow), "learning",
                                  pytest.param("solved", marks=pytest.mark.slow)])
def test_one_pass_equals_generation_with_the_cache(trained, logits_of, name):
  config, params, batch = trained(name)
  one_pass = np.asarray(exact_match.run(config, params, batch, logits_of(name))["exact_match"])
  predict = jax.jit(lambda params, batch: config.objective.predict(config.model, params, batch, jax.random.key(0)))
  tokens = predict(params, batch)
  np.testing.assert_array_equal(one_pass, (np.asarray(tokens) == batch["target"]).all(axis=1))
  low, high = RANGES[name]
  assert low <= one_pass.mean() <= high
  np.testing.assert_array_equal(generated.run(config, params, batch, tokens)["generated_exact_match"], one_pass)


@pytest.mark.parametrize("name", [pytest.param("half", marks=pytest.mark.slow), "learning"])
def test_generated_accuracy_counts_positions_along_the_path(trained, name):
  config, params, batch = trained(name)
  tokens = np.asarray(jax.jit(
      lambda params, batch: config.objective.predict(config.model, params, batch, jax.random.key(0)))(params, batch))
  found = generated.run(config, params, batch, tokens)
  for k in range(config.task.length):
    place = k if config.order == "forward" else config.task.length - 1 - k
    np.testing.assert_array_equal(found[f"position_{k}/generated_accuracy"], tokens[:, place] == batch["target"][:, place])


@pytest.mark.slow
def test_only_the_answer_must_match(trained, logits_of):
  config, params, batch = trained("half")
  right = logits_of("half").argmax(-1) == batch["target"]
  for answer in (np.array([True, False, True, True]), np.array([False, True, True, False])):
    found = exact_match.run(config, params, batch | {"answer": np.broadcast_to(answer, right.shape)}, logits_of("half"))
    np.testing.assert_array_equal(found["exact_match"], right[:, answer].all(axis=1))
