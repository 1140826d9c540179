"""The branch token's numbers against a slow reading of their definitions."""

import numpy as np
import pytest

from pathstar.evals import branch_token


@pytest.mark.parametrize("name", ["untrained", "half", "learning", "solved"])
def test_branch_numbers_are_their_definitions(trained, logits_of, name):
  config, params, batch = trained(name)
  logits = logits_of(name)
  found = {key: np.asarray(value) for key, value in branch_token.run(config, params, batch, logits).items()}
  # Of one legal move there is nothing to be undecided about.
  assert set(found) == {"branch_accuracy", "legal_mass"} | ({"branch_entropy"} if config.task.degree > 1 else set())
  for i in range(len(logits)):
    place = 1 if config.order == "forward" else config.task.length - 2
    p = np.exp(logits[i, place].astype(float) - logits[i, place].max())
    p /= p.sum()
    # The legal first moves, read off the problem itself.
    edges = batch["prefix"][i, :-3].reshape(-1, 3)
    legal = [v for u, v, _ in edges if u == batch["prefix"][i, -3]]
    mass = sum(p[v] for v in legal)
    among = np.array([p[v] / mass for v in legal])
    assert found["branch_accuracy"][i] == (p.argmax() == batch["target"][i, place])
    assert found["legal_mass"][i] == pytest.approx(mass, rel=1e-4, abs=1e-6)
    if config.task.degree > 1:
      assert found["branch_entropy"][i] == pytest.approx(-(among * np.log(among)).sum(), rel=1e-3, abs=1e-4)


def test_a_model_that_guesses_has_half_the_moves_and_all_the_legal_mass(trained, logits_of):
  config, params, batch = trained("half")
  found = branch_token.run(config, params, batch, logits_of("half"))
  assert 0.3 < np.mean(found["branch_accuracy"]) < 0.7
  assert np.mean(found["legal_mass"]) > 0.9 and np.mean(found["branch_entropy"]) > 0.5  # log 2 = 0.69
