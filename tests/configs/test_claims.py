"""Every claim's config, at each scale that it has: valid, with seeds, and with the command that its docstring gives."""

import ast
import pathlib
import re

import pytest

from pathstar import config, presets
from pathstar.errors import UserError
from pathstar.sweeps.packs import plan

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
GRAPHS = ("claims/failure", "claims/targets")  # those with scale=graphs
NAMES = ["architectures", *sorted(f"claims/{file.stem}" for file in (CONFIGS / "claims").glob("*.py"))]


SMALL = ("claims/length",)  # those with scale=cpu alone
AT = [(name, scale) for name in NAMES for scale in ("cpu", *["graphs"] * (name in GRAPHS), *["paper"] * (name not in SMALL))]


def packs_of(name, arg):
  base, module, arg, _ = config.load(f"{CONFIGS / name}.py:{arg}")
  return plan(base, module.sweep(arg))


def test_all_claims_have_a_config():
  claims = set()
  for name in NAMES:
    [numbers] = re.findall(r"^Claims? ([\d, and]+):", ast.get_docstring(ast.parse((CONFIGS / f"{name}.py").read_text())))
    claims |= set(map(int, re.findall(r"\d+", numbers)))
  assert claims == set(range(1, 13))


@pytest.mark.parametrize("name, scale", AT)
def test_every_cell_is_valid_and_repeated_over_seeds(name, scale):
  packs = packs_of(name, f"scale={scale}")
  for pack in packs:  # cells that differ in the seed alone train together
    assert [run.config.seed for run in pack.runs] == list(range(3 if name == "architectures" else 4))
  nodes = {run.config.task.num_nodes for pack in packs for run in pack.runs if run.config.task.slug.startswith("d")}
  assert nodes <= (set(range(9, 25)) if scale == "cpu" else set(presets.PAPER_NODES))
  layers = {run.config.model.fields.num_layers for pack in packs for run in pack.runs}
  assert layers <= ({12, 24} if scale == "paper" else {1, 2, 3})
  assert sum(len(pack.runs) for pack in packs_of(name, f"scale={scale},num_seeds=1")) == len(packs)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_gives_a_command_for_each_scale_and_what_to_expect(name):
  said = ast.get_docstring(ast.parse((CONFIGS / f"{name}.py").read_text()))
  for scale in (scale for of, scale in AT if of == name):
    assert re.search(rf"pathstar sweep --config=configs/{name}.py:scale={scale} --workdir=\S+", said)
  runs = sum(len(pack.runs) for pack in packs_of(name, ""))
  assert "xpected:" in said and re.search(rf"\b{runs} runs, about \d+ minutes", " ".join(said.split()))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_papers_graphs_have_its_data_a_small_model_and_the_steps_of_the_table(name):
  runs = [run.config for pack in packs_of(name, "scale=graphs") for run in pack.runs]
  tried = {mixer: {(run.task.degree, run.task.length) for run in runs if run.fields["model.mixer"] == mixer}
           for mixer in ("attention", "mamba", "s5_gated")}
  assert tried["attention"] == set(presets.PAPER_TOPOLOGIES) and tried["mamba"] == tried["s5_gated"] == {(2, 5), (5, 5)}
  assert {run.method for run in runs} == ({"next_token", "branch_only"} if name == "claims/failure" else {"reversed", "teacherless"})
  assert all((run.data.num_train, run.data.num_test) == (200_000, 20_000) for run in runs)
  assert {(run.model.fields.num_layers, run.model.fields.num_loops, run.model.fields.width) for run in runs} == {(2, 1, 64)}
  assert all(run.task.num_nodes == (100 if run.task.degree == 20 else 50) for run in runs)
  for run in runs:
    longer = run.train.num_steps / presets.GRAPH_STEPS[run.task.degree, run.task.length]
    assert longer == (1 if run.architecture == "transformer" else 3)


def test_the_papers_graphs_can_be_passed_as_often_as_one_likes():
  runs = [run.config for pack in packs_of("claims/failure", "scale=graphs,epochs=3") for run in pack.runs]
  assert {run.train.num_steps * run.train.batch_size for run in runs} == {3 * 200_000}
  for arg in ("scale=graphs,epochs=-1", "scale=cpu,epochs=1"):
    with pytest.raises(UserError, match="file argument epochs"):
      packs_of("claims/failure", arg)


def test_the_budget_of_a_length_grows_as_if_it_had_been_longer_from_the_start():
  runs = [run.config for pack in packs_of("claims/length", "") for run in pack.runs]
  assert {run.optimizer.schedule for run in runs} == {"constant"} and {run.method for run in runs} == {"next_token"}
  axes = {(run.task.length, run.model.fields.width, run.task.num_nodes, run.seed) for run in runs}
  assert len(axes) == len(runs) == 96 and {length for length, *_ in axes} == {3, 4, 5, 6} and {seed for *_, seed in axes} == set(range(4))


def test_no_run_is_made_twice_at_cpu_scale():
  made = [run.run_id for name in NAMES for pack in packs_of(name, "scale=cpu") for run in pack.runs]
  assert len(set(made)) == len(made)


@pytest.mark.parametrize("arg, said", [
    ("scale=tpu", "file argument scale = 'tpu': must be one of cpu, paper"), ("scal=cpu", "did you mean 'scale'?"),
    ("scale=graphs", "file argument scale = 'graphs': must be one of cpu, paper"),
    ("num_seeds=0", "file argument num_seeds = 0"), ("scale=", "file argument = 'scale=': must be written scale=VALUE"),
    ("scale", "file argument = 'scale': must be written scale=VALUE"),
])
def test_wrong_file_arguments_are_refused(arg, said):
  with pytest.raises(UserError) as error:
    config.load(f"{CONFIGS / NAMES[0]}.py:{arg}")
  assert said in str(error.value)


def test_topologies_leave_out_what_does_not_fit():
  assert presets.topologies([(2, 5), (20, 5)], [50, 100]) == [
      {"task.degree": d, "task.length": 5, "task.num_nodes": n} for d, n in ((2, 50), (2, 100), (20, 100))]
