"""The config that the folder in version_0_1.tar.gz was made with."""

from pathstar.config import default, override
from pathstar.sweep import product

FIELDS = {
    "task.degree": 2, "task.length": 4, "task.num_nodes": 12, "data.num_train": 500, "data.num_test": 200, "model.num_layers": 1,
    "model.width": 16, "model.num_heads": 2, "model.rope_base": 50.0, "optimizer.learning_rate": 3e-3, "optimizer.warmup_steps": 4,
    "optimizer.schedule": "cosine", "train.batch_size": 8, "train.num_steps": 20, "train.steps_per_call": 5, "train.log_every": 5,
    "train.checkpoint_every": 10, "eval.every": 10, "eval.num_examples": 40,
}


def get_config(arg=""):
  return override(default(), FIELDS)


def sweep(arg=""):
  return product({"model.mixer": ["attention", "mamba"], "optimizer.learning_rate": [1e-3, 3e-3]})
