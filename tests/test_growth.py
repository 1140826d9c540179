"""A sweep grows: the same folder takes more seeds, cells and parts of a grid, and keeps what is done."""

import json

import pytest

from pathstar import config
from pathstar.commands import cli
from pathstar.commands import plan as plan_command
from pathstar.commands import report as report_command
from pathstar.commands import sweep as sweep_command
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.sweep import product
from pathstar.sweeps import status
from pathstar.sweeps.folder import PLAN, listing, prepare, reconcile
from pathstar.sweeps.packs import plan
from pathstar.training import metrics, train


@pytest.fixture
def base(tiny):
  return config.override(config.default(), tiny.fields)


def grid(degrees, lengths, seeds):
  return product({"task.degree": degrees, "task.length": lengths, "task.num_nodes": [14], "seed": range(seeds)})


def test_what_is_planned_stays_and_what_is_new_gets_packs_of_its_own(base, tmp_path):
  small, large = plan(base, grid([2, 3], [3, 4], 2)), plan(base, grid([2, 3, 4], [3, 4], 4))
  prepare(tmp_path, small)
  before = workdir.read_json(tmp_path / PLAN)
  found = prepare(tmp_path, large)
  after = workdir.read_json(tmp_path / PLAN)
  assert list(after["packs"].items())[:4] == list(before["packs"].items()) and len(after["packs"]) == 10
  runs = [run for pack in found for run in pack.runs]
  assert len(runs) == 24 == len({run.path for run in runs}) == len(after["runs"])
  assert {json.dumps(dict(run.config.fields)) for run in runs} == {json.dumps(dict(r.config.fields)) for p in large for r in p.runs}
  assert after["grown"][0]["command"] and "grown" not in before
  # The same command again adds nothing, and so do smaller ones.
  assert listing(prepare(tmp_path, large)) == after["packs"] and workdir.read_json(tmp_path / PLAN) == after
  assert not reconcile(tmp_path, small).added
  for path, fields in after["runs"].items():
    [run] = [run for run in runs if run.path == path]
    assert dict(config.recorded(after["common"] | fields).fields) == dict(run.config.fields)


def test_a_part_of_a_pack_is_asked_for(base, tmp_path):
  prepare(tmp_path, plan(base, grid([2, 3], [4], 4)))
  found = reconcile(tmp_path, plan(base, grid([2], [4], 2)))
  [one] = found.packs
  assert not found.added and [run.config.seed for run in one.runs] == [0, 1] and len(one.whole) == 4


def test_another_sweep_adds_nothing(base, tmp_path):
  prepare(tmp_path, plan(base, grid([2], [4], 2)))
  with pytest.raises(UserError, match="holds another sweep"):
    reconcile(tmp_path, plan(config.override(base, {"model.width": 32}), grid([2], [4], 2)))


class Killed(BaseException):
  """Stands in for kill -9."""


@pytest.mark.slow
def test_a_sweep_grown_while_half_done_and_killed_twice_equals_the_large_one(tiny, tmp_path, monkeypatch, capsys):
  fields = {name: value for name, value in tiny.fields.items() if not name.startswith("task.")}
  fields |= {"data.num_test": 40, "data.num_train": 100}
  file = tmp_path / "grid.py"

  def write(degrees, seeds):
    file.write_text("from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
                    f"def get_config(arg=''):\n  return override(default(), {fields!r})\n\n"
                    f"def sweep(arg=''):\n  return product({{'task.degree': {degrees}, 'task.length': [3, 4], 'task.num_nodes': [14], "
                    f"'seed': range({seeds})}})\n")

  push, count = train.Recorder.push, [0]

  def dying(recorder, step, *args, **more):
    count[0] += 1
    if count[0] in kills:
      raise Killed
    push(recorder, step, *args, **more)

  command = lambda folder, *more: cli.run(sweep_command.main, [f"--config={file}", f"--workdir={tmp_path / folder}", *more])
  write([2, 3, 4], 4)
  assert command("large") == 0
  monkeypatch.setattr(train.Recorder, "push", dying)
  write([2, 3], 2)
  kills = {9}  # in the second pack
  with pytest.raises(Killed):
    command("grown")
  write([2, 3, 4], 4)
  assert command("grown", "--dry_run") == 0
  assert capsys.readouterr().out.count("to do, new") == 6
  kills = {20}
  with pytest.raises(Killed):
    command("grown")
  kills = set()
  assert command("grown") == 0
  said = capsys.readouterr().out
  assert "24 of 24 runs finished" in said
  assert len(status.read(tmp_path / "grown")) == 24
  by_config = lambda folder: {
      json.dumps({k: v for k, v in json.loads((run / workdir.CONFIG).read_text()).items()}): run for run in (folder / "runs").iterdir()}
  large, grown = by_config(tmp_path / "large"), by_config(tmp_path / "grown")
  assert large.keys() == grown.keys() and len(large) == 24
  for key in large:
    for one, other in zip(metrics.read(grown[key]), metrics.read(large[key]), strict=True):
      assert one.keys() == other.keys() and one["step"] == other["step"]
      # In packs of other sizes: equal up to rounding.
      assert one.get("train/loss", 0) == pytest.approx(other.get("train/loss", 0), rel=1e-4)
      assert one.get("eval/test/loss", 0) == pytest.approx(other.get("eval/test/loss", 0), rel=1e-4)


@pytest.mark.slow
def test_only_takes_a_part_of_a_grid_everywhere(tiny, tmp_path, capsys):
  file = tmp_path / "grid.py"
  file.write_text("from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
                  f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
                  "def sweep(arg=''):\n  return product({'task.degree': [2, 3], 'task.num_nodes': [14], 'objective.order': ['forward', "
                  "'reversed'], 'seed': range(2)})\n")
  only = ["--only=task.degree=2", "--only=objective.order=forward,reversed"]
  sweep = lambda *more: cli.run(sweep_command.main, [f"--config={file}", f"--workdir={tmp_path / 'runs'}", *more])
  assert sweep("--dry_run", *only) == 0 and capsys.readouterr().out.count(": to do") == 2
  assert sweep(*only) == 0 and "4 of 4 runs finished" in capsys.readouterr().out
  assert sweep("--dry_run") == 0
  said = capsys.readouterr().out
  assert "8 runs in 4 packs: 4 finished, 4 to do, 4 of them new in" in said and "task.degree: 2, 3" in said
  assert said.count(": finished") == 2 and said.count("to do, new") == 2
  assert cli.run(plan_command.main, [f"--config={file}", *only]) == 0 and "2 packs of 4 runs" in capsys.readouterr().out
  assert sweep("--only=seed=0") == 0 and "4 of 4 runs finished" in capsys.readouterr().out  # one seed of every setting, two of them done
  assert cli.run(sweep_command.main, ["--status", f"--workdir={tmp_path / 'runs'}", "--only=task.degree=3"]) == 0
  assert "2 runs in 2 packs" in capsys.readouterr().out
  assert cli.run(report_command.main, [f"--workdir={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}", "--only=seed=0"]) == 0
  assert len((tmp_path / "out" / "runs.csv").read_text().splitlines()) == 5
  for word, said in (("task.degre=2", "did you mean 'task.degree'"), ("task.degree", "must be written FIELD=VALUE"),
                     ("task.degree=x", "task.degree = 'x': must be of type int"), ("task.degree=7", "none of the 8 cells is such")):
    assert sweep(f"--only={word}") == 2 and said in capsys.readouterr().err
