"""What the README shows is so: its picture, its first sweep, its worked objective, its table of what is registered; and it is short."""

import pathlib
import re

import checks
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread

from pathstar import config, objectives
from pathstar.commands import cli, sample
from pathstar.config import registry
from pathstar.devices.random import model_key, objective_key
from pathstar.grid import product, zipped
from pathstar.reports import registered
from pathstar.sweeps.packs import plan
from pathstar.training import train

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_table_of_what_is_registered_is_the_registries():
  assert registered.markdown() in README, (
      "update it by: python -c 'from pathstar.reports import registered; print(registered.markdown())'")


@pytest.mark.slow
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


def test_it_is_short_until_the_first_own_sweep_and_its_links_lead_somewhere():
  assert len(README[:README.index("## What was replicated")].split()) < 1300
  slug = lambda title: re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
  titles = {slug(title) for title in re.findall(r"^## (.+)$", README, re.MULTILINE)}
  contents = set(re.findall(r"\]\(#([\w-]+)\)", README))
  assert contents == titles
  files = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", README) + re.findall(r'src="([^"]+)"', README)
  assert len(files) > 20 and all((ROOT / file).exists() for file in files)


def test_its_first_sweep_is_one(tmp_path):
  [text] = re.findall(r"`degrees.py`:\n\n((?:    .*\n|\n)+)", README)
  (tmp_path / "degrees.py").write_text(re.sub("^    ", "", text, flags=re.MULTILINE))
  loaded = config.load(str(tmp_path / "degrees.py"))
  planned = plan(loaded.config, loaded.module.sweep())
  runs = [run for pack in planned for run in pack.runs]
  assert len(runs) == 8 and {str(run.config.task) for run in runs} == {"G(2,5)", "G(3,5)"}
  for call in re.findall(r"^    (product\(.*?\)\))$", README, re.MULTILINE | re.DOTALL):
    assert eval(call, {"product": product, "zipped": zipped})


def test_its_picture_is_the_line_beside_it_and_is_drawn_by_a_command(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  [fields] = re.findall(r"`pathstar sample ([^`]*)--picture=results/task.png`", README)
  assert cli.run(sample.main, [*fields.split(), "--picture=task.png"]) == 0
  line = capsys.readouterr().out.splitlines()[0]
  assert f"    {line}  " in README
  drawn, committed = imread("task.png"), imread(ROOT / "results" / "task.png")
  assert drawn.shape == committed.shape and np.abs(drawn - committed).mean() < 0.01


def test_commands_and_files_that_it_names_exist():
  for path in re.findall(r"`((?:pathstar|configs|launch|results|tests)/[\w/.]+\.\w+)`", README):
    assert (ROOT / path).exists() or "NAME" in path or path.endswith("goal_head.py"), path
