"""What the README shows is so: its worked objective, and its table of what is registered."""

import pathlib
import re

import checks
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pathstar import objectives
from pathstar.config import registry
from pathstar.devices.random import model_key, objective_key
from pathstar.reports import registered
from pathstar.training import train

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text()


def test_the_table_of_what_is_registered_is_the_registries():
  assert registered.markdown() in README, (
      "update it by: python -c 'from pathstar.reports import registered; print(registered.markdown())'")


def test_the_worked_objective_passes_what_all_objectives_pass(tiny, tmp_path, monkeypatch):
  [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  assert len(code.splitlines()) <= 40
  made = {"__name__": "goal_head"}
  exec(compile(code, "README.md", "exec"), made)  # dataclasses look the module up by name only for postponed annotations
  monkeypatch.setitem(objectives.OBJECTIVES, "goal_head", made["GoalHead"])
  registry.clear()
  try:
    config = tiny({"objective.name": "goal_head", "objective.goal_weight": 0.3, "train.num_steps": 10})
    params = {"model": nn.meta.unbox(config.model.init(model_key(0))),
              "objective": nn.meta.unbox(config.objective.init(objective_key(0), config.model))}
    subject = checks.Subject(config, params, jax.tree.map(jnp.asarray, config.task.examples(0, "train", np.arange(6))))
    for check in checks.ALL:
      check(subject)
    [result] = train.train([config], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
    assert result["parameters"] > result["parameters_used"]
    assert {"train/loss_next", "train/loss_goal"} <= train.metrics.read(tmp_path / "run")[-1].keys()
    assert "objective.goal_weight" in config.value_fields
  finally:
    monkeypatch.undo()
    registry.clear()


def test_commands_and_files_that_it_names_exist():
  root = pathlib.Path(__file__).parent.parent
  for path in re.findall(r"`((?:pathstar|configs|launch|results|tests)/[\w/.]+\.\w+)`", README):
    assert (root / path).exists() or "NAME" in path or path.endswith("goal_head.py"), path
