"""Errors a token, and what they would come to if they snowballed."""

import functools

import jax
import numpy as np
import pytest

from pathstar import evals
from pathstar.evals import loss, snowballing
from pathstar.objectives import target


@pytest.mark.parametrize("name", ["untrained", pytest.param("half", marks=pytest.mark.slow), "learning",
                                  pytest.param("solved", marks=pytest.mark.slow)])
def test_token_error_is_the_share_of_wrong_tokens_and_loss_the_objectives_own(trained, logits_of, name):
  config, params, batch = trained(name)
  found = snowballing.run(config, params, batch, logits_of(name))
  wrong = logits_of(name).argmax(-1) != batch["target"]
  np.testing.assert_allclose(found["token_error"], wrong.mean(axis=1), rtol=1e-6)
  total, _ = target.score(logits_of(name), batch)
  assert float(np.mean(loss.run(config, params, batch, logits_of(name))["loss"])) == pytest.approx(float(total), rel=1e-5)


@pytest.mark.slow
def test_only_answer_tokens_are_errors_and_only_weighted_ones_lose(trained, logits_of):
  config, params, batch = trained("half")
  mask = np.broadcast_to(np.array([False, True, True, False]), batch["target"].shape)
  masked = batch | {"answer": mask, "weight": mask.astype(np.float32)}
  found = snowballing.run(config, params, masked, logits_of("half")) | loss.run(config, params, masked, logits_of("half"))
  _, aux = target.score(logits_of("half"), batch)
  np.testing.assert_allclose(found["token_error"], ~aux.correct_BxL[:, 1:3].all(axis=1) * (~aux.correct_BxL[:, 1:3]).mean(axis=1))
  np.testing.assert_allclose(found["loss"], aux.loss_BxL[:, 1:3].mean(axis=1), rtol=1e-5)


@pytest.mark.slow
def test_errors_that_sit_at_the_branch_do_not_snowball(trained):
  config, params, batch = trained("half")
  found = {k: float(v) for k, v in jax.jit(functools.partial(evals.of_logits, config))(params, config.objective.in_order(batch)).items()}
  # All error is at one token of four, so that exact match is 1 - 4e, not (1 - e)^4.
  assert found["snowball_prediction"] == pytest.approx((1 - found["token_error"]) ** 4, rel=1e-5)
  assert found["exact_match"] == pytest.approx(1 - 4 * found["token_error"], abs=0.03)
  assert found["snowball_prediction"] > found["exact_match"] + 0.05
