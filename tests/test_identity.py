"""A run is what it uses: what is added to the suite changes no folder, and what nothing uses is no part of a run."""

import dataclasses
import json

import pytest

from pathstar import config, objectives
from pathstar.commands import cli
from pathstar.commands import sweep as sweep_command
from pathstar.config import registry
from pathstar.errors import UserError
from pathstar.objectives.multi_token import MultiToken
from pathstar.objectives.next_token import NextToken
from pathstar.storage import workdir
from pathstar.sweeps.folder import listing, prepare, reconcile
from pathstar.sweeps.packs import plan
from pathstar.training import metrics, train


@dataclasses.dataclass(frozen=True)
class MultiTokenWithMore(MultiToken):
  smoothing: float = 0.1  # added to the suite while sweeps were under way


@dataclasses.dataclass(frozen=True)
class NextTokenWithMore(NextToken):
  smoothing: float = 0.1


@pytest.fixture
def added(monkeypatch):
  """added(name, objective) registers it, in place of one of that name."""
  def add(name, objective):
    monkeypatch.setitem(objectives.OBJECTIVES, name, objective)
    registry.clear()

  yield add
  monkeypatch.undo()
  registry.clear()


@pytest.fixture
def base(tiny):
  return config.override(config.default(), tiny.fields)


CELLS = [{"objective.name": "next_token", "seed": 0}, {"objective.name": "multi_token", "objective.k": 3}, {"seed": 1}]


def test_a_field_added_to_one_objective_changes_no_run_of_another(base, added, tmp_path):
  before = plan(base, CELLS[::2])
  prepare(tmp_path, before)
  added("multi_token", MultiTokenWithMore)
  after = plan(base, CELLS[::2])
  assert listing(before) == listing(after) == listing(reconcile(tmp_path, after).packs)


@pytest.mark.parametrize("name, objective", [("multi_token", MultiTokenWithMore), ("next_token", NextTokenWithMore)])
def test_a_sweep_goes_on_under_its_names_when_its_own_objective_gets_a_field(base, added, tmp_path, name, objective):
  before = plan(base, CELLS)
  prepare(tmp_path, before)
  added(name, objective)
  after = plan(base, CELLS)
  assert listing(after) != listing(before) == listing(reconcile(tmp_path, after).packs)
  assert listing(prepare(tmp_path, after)) == listing(before) and not reconcile(tmp_path, after).added
  other = plan(base, [cell | ({"objective.smoothing": 0.2} if cell.get("objective.name", "next_token") == name else {}) for cell in CELLS])
  assert reconcile(tmp_path, other).added  # another value is another run


@pytest.mark.slow
def test_a_half_done_sweep_is_resumed_after_a_field_was_added(tiny, added, tmp_path, killed_at):
  file = tmp_path / "grid.py"
  file.write_text("from pathstar.config import default, override\n\n"
                  f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
                  "def sweep(arg=''):\n  return [{'seed': 0}, {'seed': 1}]\n")
  command = lambda folder: cli.run(sweep_command.main, [f"--config={file}", f"--workdir={tmp_path / folder}"])
  assert command("whole") == 0
  with killed_at(15):
    command("half")
  for name, objective in (("multi_token", MultiTokenWithMore), ("next_token", NextTokenWithMore)):
    added(name, objective)
  assert command("half") == 0
  timeless = lambda run: [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(run)]
  runs = sorted(run.name for run in (tmp_path / "whole" / "runs").iterdir())
  assert runs == sorted(run.name for run in (tmp_path / "half" / "runs").iterdir())
  for run in runs:
    assert timeless(tmp_path / "half" / "runs" / run) == timeless(tmp_path / "whole" / "runs" / run)


def test_only_what_is_used_is_recorded_and_compared(tiny, tmp_path):
  made = tiny({"model.mixer": "mamba", "model.rope_base": 50.0, "objective.k": 5})
  assert not {"model.rope_base", "model.num_heads", "objective.k", "task.digits"} & made.fields.keys()
  assert {"model.mamba_state", "task.degree", "objective.branch_weight", "eval.num_samples"} <= made.fields.keys()
  assert "eval.num_samples" not in tiny({"objective.name": "teacherless"}).fields  # the verifier measures nothing of it
  same = tiny({"model.mixer": "mamba"})
  assert dict(same.fields) == dict(made.fields) and not config.differences(same, made.fields)
  old = {name: config.schema()[name].default for name in registry.VERSION_0_1}
  everything = old | dict(made.fields) | {"model.rope_base": 3.0, "objective.newer": 1.0}  # as version 0.1 wrote, of a newer state of it
  assert not config.differences(same, everything)
  assert config.differences(tiny({"model.mixer": "mamba", "model.mamba_state": 4}), everything) == [
      "model.mamba_state: 16 there, 4 now"]
  assert {"model.num_heads: not in use there, 2 now", "model.mamba_state: 16 there, not in use now"} <= {
      *config.differences(tiny(), made.fields)}


def test_a_folder_from_before_a_field_was_added_is_the_same_run(tiny):
  now = dict(tiny({"model.mixer": "s5"}).fields)
  old = {name: value for name, value in now.items() if name in registry.VERSION_0_1}
  assert {"model.position_std", "model.bias", "model.s5_init", "optimizer.warmup_from_zero"} <= now.keys() - old.keys()
  assert dict(config.recorded(old).fields) == now
  assert config.differences(tiny({"model.mixer": "s5", "model.bias": True}), old) == ["model.bias: False there, True now"]


def test_a_field_that_a_run_may_use_and_this_version_does_not_know_is_refused(tiny):
  with pytest.raises(UserError, match="config.json: objective.newer = 1.0 is a field that this version of pathstar doesn't know"):
    config.recorded({**tiny().fields, "objective.newer": 1.0})
  with pytest.raises(UserError, match="objective.newer = 1.0"):  # one more that is not used doesn't make it version 0.1's
    config.recorded({**tiny().fields, "objective.newer": 1.0, "model.mamba_state": 4})
  for name in ("objective.name", "model.mixer", "task.name"):
    with pytest.raises(UserError, match=f"config.json: has no {name}"):
      config.recorded({k: v for k, v in tiny().fields.items() if k != name})
  lacking = {name: value for name, value in tiny().fields.items() if name not in ("objective.branch_weight", "model.qk_norm")}
  assert dict(config.recorded(lacking).fields) == dict(tiny().fields)


@pytest.mark.slow
def test_config_json_holds_the_fields_in_use(tiny, tmp_path):
  made = tiny({"train.num_steps": 10, "model.mixer": "mamba"})
  train.train([made], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  assert json.loads((tmp_path / "run" / workdir.CONFIG).read_text()) == dict(made.fields)
