"""The leaderboard's config: every objective of the registry on every graph at one setting, valid at both scales."""

import itertools
import pathlib

import pytest

from pathstar import config, objectives, presets
from pathstar.errors import UserError
from pathstar.sweeps.packs import plan

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "objectives.py"


def runs_of(arg):
  base, module, arg, _ = config.load(f"{CONFIG}:{arg}")
  return [run.config for pack in plan(base, module.sweep(arg)) for run in pack.runs]


@pytest.mark.parametrize("scale", presets.SCALES)
def test_every_way_of_training_is_on_every_graph_of_the_ladder_at_one_setting(scale):
  runs = runs_of(f"scale={scale},num_seeds=2")
  ways = set(objectives.OBJECTIVES) - {"branch_only"} | {"reversed"}
  graphs = {str(run.task) for run in runs}
  assert {(run.method, str(run.task), run.seed) for run in runs} == set(itertools.product(ways, graphs, (0, 1)))
  assert len(graphs) == 6 and any(run.task.answers_vary for run in runs)
  assert {(run.task.degree, run.task.length) for run in runs} == {(2, 4), (2, 5), (3, 5), (2, 8), (5, 5)}
  common = {name: value for name, value in runs[0].fields.items() if name.partition(".")[0] in ("model", "optimizer", "train", "data")}
  assert all(common.items() <= run.fields.items() for run in runs)


@pytest.mark.parametrize("scale", presets.SCALES)
def test_heads_go_from_next_token_to_all_of_the_path(scale):
  runs = runs_of(f"scale={scale},part=heads,num_seeds=1")
  assert sorted(run.objective.k for run in runs) == list(range(1, runs[0].task.length + 2))


@pytest.mark.parametrize("scale", presets.SCALES)
def test_recurrences_get_all_objectives_that_they_can_have(scale):
  runs = runs_of(f"scale={scale},part=architectures,num_seeds=1")
  assert {run.architecture for run in runs} == {"mamba", "s5_gated"}
  assert {run.method for run in runs} == {name for name, one in objectives.OBJECTIVES.items() if one.mask == "causal"} - {"branch_only"}


def test_an_unknown_part_is_refused():
  with pytest.raises(UserError, match="file argument part = 'head': must be one of ladder, heads, architectures; did you mean 'heads'?"):
    runs_of("part=head")
