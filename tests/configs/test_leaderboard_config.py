"""The leaderboard's config: every objective of the registry on every graph at one setting, valid at both scales."""

import itertools
import pathlib

import pytest

from pathstar import config, objectives
from pathstar.errors import UserError
from pathstar.sweeps.packs import plan

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "objectives.py"


def runs_of(arg):
  base, module, arg, _ = config.load(f"{CONFIG}:{arg}")
  return [run.config for pack in plan(base, module.sweep(arg)) for run in pack.runs]


def common(run):
  """What may not differ between objectives that are compared."""
  return {name: value for name, value in run.fields.items() if name.partition(".")[0] in ("model", "optimizer", "train", "data")}


@pytest.mark.parametrize("scale", ("cpu", "paper"))
def test_every_way_of_training_is_on_every_graph_of_the_ladder_at_one_setting(scale):
  runs = runs_of(f"scale={scale},num_seeds=2")
  ways = set(objectives.OBJECTIVES) - {"branch_only"} | {"reversed"}
  graphs = {str(run.task) for run in runs}
  assert {(run.method, str(run.task), run.seed) for run in runs} == set(itertools.product(ways, graphs, (0, 1)))
  assert len(graphs) == 7 and any(run.task.answers_vary for run in runs)
  assert {(run.task.degree, run.task.length) for run in runs} == {(2, 4), (2, 5), (2, 6), (3, 5), (2, 8), (5, 5)}
  assert all(common(runs[0]).items() <= run.fields.items() for run in runs)


def test_at_scale_graphs_it_is_the_model_and_the_budget_of_the_report_on_the_papers_graphs():
  runs = runs_of("scale=graphs,num_seeds=1")
  base, module, arg, _ = config.load(f"{CONFIG.parent}/claims/failure.py:scale=graphs,num_seeds=1")
  same = {str(run.config.task): common(run.config) for pack in plan(base, module.sweep(arg)) for run in pack.runs
          if run.config.architecture == "transformer"}
  assert {run.method for run in runs} >= {"next_token", "reversed", "future_summary"} and len(same) == 5
  assert all(same[str(run.task)].items() <= run.fields.items() for run in runs)


@pytest.mark.parametrize("scale", ("cpu", "paper"))
def test_heads_go_from_next_token_to_all_of_the_path(scale):
  runs = runs_of(f"scale={scale},part=heads,num_seeds=1")
  assert sorted(run.objective.k for run in runs) == list(range(1, runs[0].task.length + 2))


@pytest.mark.parametrize("scale", ("cpu", "paper"))
def test_a_variant_of_the_task_differs_from_the_ladder_in_the_task_alone(scale):
  runs, ladder = runs_of(f"scale={scale},part=variants,num_seeds=1"), runs_of(f"scale={scale},num_seeds=1")
  assert {run.method for run in runs} == {"next_token", "reversed", "teacherless", "future_summary", "joint_multi_token"}
  tasks = {str(run.task) for run in runs}
  assert len(tasks) == 3 and len(runs) == 15 and not tasks & {str(run.task) for run in ladder}
  assert all(common(ladder[0]).items() <= run.fields.items() for run in runs)


@pytest.mark.parametrize("scale", ("cpu", "paper"))
def test_recurrences_get_all_objectives_that_they_can_have(scale):
  runs = runs_of(f"scale={scale},part=architectures,num_seeds=1")
  assert {run.architecture for run in runs} == {"mamba", "s5_gated"}
  causal = {name for name, one in objectives.OBJECTIVES.items() if one.mask == "causal"}
  assert {run.method for run in runs} == causal - {"branch_only"} | {"reversed"}


def test_the_rate_is_chosen_on_a_graph_and_seeds_that_nothing_else_uses():
  rates, ladder = runs_of("part=rates,num_seeds=1"), runs_of("num_seeds=5")
  values = lambda runs, of: {of(run) for run in runs}
  assert values(rates, lambda run: run.method) == values(ladder, lambda run: run.method)
  assert not values(rates, lambda run: str(run.task)) & values(ladder, lambda run: str(run.task))
  assert not values(rates, lambda run: run.seed) & values(ladder, lambda run: run.seed)
  rate = lambda run: run.fields["optimizer.learning_rate"]
  assert values(ladder, rate) < values(rates, rate)


@pytest.mark.parametrize("name, graphs", [("token_order", 4), ("future_summary", 2), ("belief_state", 3), ("next_latent", 3)])
def test_a_native_setting_has_its_objective_beside_next_token_prediction_on_the_graphs_of_its_paper(name, graphs):
  runs = runs_of(f"native={name},num_seeds=1")
  assert {"next_token", name} <= {run.fields["objective.name"] for run in runs} and len({str(run.task) for run in runs}) == graphs
  ways = {tuple(sorted((k, v) for k, v in run.fields.items() if k.startswith("objective."))) for run in runs}
  assert len(runs) == len(ways) * graphs


@pytest.mark.parametrize("arg, said", [
    ("part=head", "file argument part = 'head': must be one of ladder, heads, variants, architectures, rates; did you mean 'heads'?"),
    ("native=next_laten", "file argument native = 'next_laten': must be one of token_order, .*; did you mean 'next_latent'?"),
    ("native=next_latent,part=heads", "file argument part = 'heads': must be left out"),
    ("native=next_latent,scale=cpu", "file argument scale = 'cpu': must be left out"),
])
def test_what_does_not_go_together_is_refused(arg, said):
  with pytest.raises(UserError, match=said):
    runs_of(arg)
