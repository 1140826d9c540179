"""Models whose accuracy is known to lie where a test needs it."""

import jax
import numpy as np
import pytest

# Found by trial; the tests that use them assert the range.
TRAINED = {
    "untrained": {"train.num_steps": 25, "optimizer.learning_rate": 1e-7, "model.num_layers": 1},
    "half": {"task.num_nodes": 10, "train.num_steps": 400},
    "learning": {"task.length": 3, "task.num_nodes": 8, "objective.order": "reversed", "train.num_steps": 150, "model.num_layers": 1},
    "solved": {"task.degree": 1, "task.length": 3, "task.num_nodes": 8, "train.num_steps": 100, "model.num_layers": 1},
}


@pytest.fixture(scope="session")
def trained(tiny, fit):
  """trained(name) -> (config, parameters, batch of test examples in the order of the objective)."""
  cache = {}

  def get(name):
    if name not in cache:
      config = tiny({
          "data.num_train": None, "data.num_test": 42, "eval.num_examples": 40, "model.num_layers": 2, "model.width": 32,
          "train.batch_size": 64, "train.steps_per_call": 25, "train.log_every": 25, "train.checkpoint_every": 25,
          "eval.every": 25, "optimizer.schedule": "constant"} | TRAINED[name])
      params = jax.tree.map(lambda x: x[0], fit(config))
      batch = config.task.examples(0, "test", np.arange(200))
      cache[name] = config, params, config.objective.in_order(batch)
    return cache[name]

  return get


@pytest.fixture(scope="session")
def logits_of(trained):
  """logits_of(name) -> NumPy logits of the model for its batch."""

  def get(name):
    config, params, batch = trained(name)
    return np.asarray(jax.jit(lambda params, batch: config.objective.logits(config.model, params, batch))(params, batch))

  return get
