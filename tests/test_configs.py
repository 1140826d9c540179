"""The experiments in configs/: the paper's setting, its grid and the authors' settings are what they say."""

import pathlib

import flax.linen as nn
import jax
import numpy as np
import pytest

from pathstar import config, presets
from pathstar.errors import UserError
from pathstar.sweeps.packs import plan
from pathstar.training import optimizer

HERE = pathlib.Path(__file__).parent.parent / "configs"
PAPER, GRID = str(HERE / "paper.py"), str(HERE / "grid.py")
OBJECTIVES = {"next_token": ("next_token", "forward"), "reversed": ("next_token", "reversed"),
              "teacherless": ("teacherless", "forward")}


def paper(arg):
  return config.resolve(config.load(f"{PAPER}:{arg}")[0])


@pytest.fixture(scope="module")
def packs():
  base, module, arg, _ = config.load(GRID)
  return plan(base, module.sweep(arg))


def test_the_grid_is_whole_and_a_pack_is_the_seeds_of_one_setting(packs):
  runs = [run.config for pack in packs for run in pack.runs]
  settings = {(r.task.degree, r.task.length, r.method, r.fields["model.mixer"]) for r in runs}
  want = {(d, l, m, x) for d in (2, 3, 5, 10, 20) for l in (3, 5, 7, 10, 20)
          for m in ("next_token", "reversed", "teacherless") for x in ("attention", "s5_gated", "mamba")}
  assert settings == want and len(runs) == 5 * len(want)
  assert all([run.config.seed for run in pack.runs] == [0, 1, 2, 3, 4] for pack in packs)
  assert all(r.task.num_nodes == max(50, r.task.degree * (r.task.length - 1) + 1) for r in runs)


def test_the_grid_of_a_cpu_is_whole_and_its_graphs_fit():
  base, module, arg, _ = config.load(f"{GRID}:scale=cpu")
  runs = [run.config for pack in plan(base, module.sweep(arg)) for run in pack.runs]
  settings = {(r.task.degree, r.task.length, r.method, r.fields["model.mixer"]) for r in runs}
  want = {(d, l, m, x) for d in (2, 3, 5) for l in (3, 4, 5, 7, 10) for m in OBJECTIVES for x in ("attention", "s5_gated", "mamba")}
  assert settings == want and len(runs) == 3 * len(want)
  by_graph = {(r.task.degree, r.task.length): r.task.num_nodes for r in runs}
  assert all((r.task.num_nodes, r.model.fields.num_layers) == (by_graph[r.task.degree, r.task.length], 2) for r in runs)
  steps = {(r.task.num_edges, r.fields["model.mixer"]): r.train.num_steps for r in runs}
  for mixer in ("attention", "mamba", "s5_gated"):  # a larger graph has no fewer steps
    found = [number for (_, of), number in sorted(steps.items()) if of == mixer]
    assert found == sorted(found) and found[0] == (1000 if mixer == "attention" else presets.ARCHITECTURES["cpu"][mixer]["train.num_steps"])


def test_a_cell_of_the_grid_is_the_papers_config_with_its_arguments(packs):
  first = [pack.runs[0].config for pack in packs]
  found = [cell for cell in first if (cell.task.degree, cell.task.length) == (5, 7)]
  assert len(found) == 9
  for cell in found:
    alone = paper(f"degree=5,length=7,mixer={cell.fields['model.mixer']},objective={cell.method}")
    assert dict(alone.fields) == dict(cell.fields)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_papers_settings(objective):
  c = paper(f"degree=3,length=4,num_nodes=60,objective={objective}")
  assert (c.task.degree, c.task.length, c.task.num_nodes) == (3, 4, 60)
  assert (c.fields["objective.name"], c.fields["objective.order"]) == OBJECTIVES[objective]
  assert (c.model.fields.num_layers, c.model.fields.width, c.fields["model.num_heads"]) == (12, 384, 6)
  assert (c.train.batch_size, c.optimizer.learning_rate, c.optimizer.weight_decay) == (256, 5e-4, 0.01)
  assert (c.data.num_train, c.data.num_test) == (200_000, 20_000)
  assert c.train.num_steps * c.train.batch_size == pytest.approx(100 * c.data.num_train, rel=0.01)  # 100 epochs
  assert c.steps_per_call == 50


def test_the_authors_settings_start_where_their_code_does():
  c = config.load(str(HERE / "authors.py")).resolve()
  params = jax.tree_util.tree_leaves_with_path(jax.jit(lambda: nn.meta.unbox(c.model.init(jax.random.key(0))))())
  found = {name: [leaf for path, leaf in params if path[-1].key == name] for name in {path[-1].key for path, _ in params}}
  assert found.keys() == {"embedding", "positions", "kernel", "bias", "scale"}  # the head is the embedding
  assert np.std(found["positions"][0]) == pytest.approx(1, rel=0.03)
  for x in (*found["embedding"], *found["kernel"]):
    assert np.std(x) == pytest.approx(0.02, rel=0.03)
  assert all((x == 0).all() for x in found["bias"]) and all((x == 1).all() for x in found["scale"])
  assert len(found["bias"]) == len(found["kernel"]) + len(found["scale"])
  rates = c.optimizer.learning_rate * optimizer.schedule(c.optimizer, c.train.num_steps)(np.array([0, 1, 50, 100, 101, 390_499]))
  np.testing.assert_allclose(rates, [0, 1e-6, 5e-5, 1e-4, 1e-4, 1e-4], rtol=1e-5)
  assert c.optimizer.clip_norm is None and c.optimizer.weight_decay == 0


@pytest.mark.parametrize("arg, meant", [
    ("objective=teacherles", "teacherless"), ("mixer=mambo", "mamba"), ("lenght=5", "length")])
def test_a_misspelt_argument_is_named(arg, meant):
  with pytest.raises(UserError, match="file argument") as error:
    paper(arg)
  assert f"did you mean {meant!r}?" in str(error.value)
