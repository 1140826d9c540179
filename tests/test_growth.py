"""A sweep grows: the same folder takes more seeds, cells and parts of a grid, and keeps what is done."""

import json
import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from pathstar import config
from pathstar.commands import cli
from pathstar.commands import plan as plan_command
from pathstar.commands import report as report_command
from pathstar.commands import sweep as sweep_command
from pathstar.errors import UserError
from pathstar.reports.csv_files import read_csv
from pathstar.storage import workdir
from pathstar.sweep import product
from pathstar.sweeps import status
from pathstar.sweeps.folder import PLAN, listing, prepare, reconcile
from pathstar.sweeps.packs import plan
from pathstar.training import growth, metrics, train


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


def test_parts_of_one_grid_follow_each_other_though_they_share_no_run(base, tmp_path):
  whole, first, second = (plan(base, grid(degrees, [4], 2)) for degrees in ([2, 3], [2], [3]))
  prepare(tmp_path, first, lambda: whole)
  with pytest.raises(UserError, match="holds another sweep"):
    reconcile(tmp_path, second)
  assert listing(prepare(tmp_path, second, lambda: whole)) == listing(second)
  assert not reconcile(tmp_path, whole).added
  longer = plan(config.override(base, {"train.num_steps": 40}), grid([2, 3, 4], [4], 2))
  assert len(reconcile(tmp_path, [one for one in longer if one.runs[0].config.task.degree == 4], lambda: longer).added) == 1


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
  write([2, 3], 3)
  assert command("large") == 0
  monkeypatch.setattr(train.Recorder, "push", dying)
  write([2], 2)
  kills = {9}  # in the second pack
  with pytest.raises(Killed):
    command("grown")
  write([2, 3], 3)
  assert command("grown", "--dry_run") == 0
  assert capsys.readouterr().out.count("to do, new") == 4
  kills = {20}
  with pytest.raises(Killed):
    command("grown")
  kills = set()
  assert command("grown") == 0
  said = capsys.readouterr().out
  assert "12 of 12 runs finished" in said
  assert len(status.read(tmp_path / "grown")) == 12
  by_config = lambda folder: {
      json.dumps({k: v for k, v in json.loads((run / workdir.CONFIG).read_text()).items()}): run for run in (folder / "runs").iterdir()}
  large, grown = by_config(tmp_path / "large"), by_config(tmp_path / "grown")
  assert large.keys() == grown.keys() and len(large) == 12
  for key in large:
    for one, other in zip(metrics.read(grown[key]), metrics.read(large[key]), strict=True):
      timed = ("perf/steps_per_sec", "perf/examples_per_sec")  # which a start has from its second dispatch on
      assert one.keys() - timed == other.keys() - timed and one["step"] == other["step"]
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
  other = ["--only=task.degree=3", "--only=objective.order=forward"]  # no run of which the folder has
  assert sweep("--dry_run", *other) == 0 and capsys.readouterr().out.count(": to do, new") == 1
  assert sweep("--only=seed=0") == 0 and "4 of 4 runs finished" in capsys.readouterr().out  # one seed of every setting, two of them done
  assert cli.run(sweep_command.main, ["--status", f"--workdir={tmp_path / 'runs'}", "--only=task.degree=3"]) == 0
  assert "2 runs in 2 packs" in capsys.readouterr().out
  assert cli.run(report_command.main, [f"--workdir={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}", "--only=seed=0"]) == 0
  assert len((tmp_path / "out" / "runs.csv").read_text().splitlines()) == 5
  for word, said in (("task.degre=2", "did you mean 'task.degree'"), ("task.degree", "must be written FIELD=VALUE"),
                     ("task.degree=x", "task.degree = 'x': must be of type int"),
                     ("task.degree=2,7", "--only task.degree = '7': must be one of 2, 3"),
                     ("model.mamba_state=4", "--only model.mamba_state: none of the 8 runs uses it")):
    assert sweep(f"--only={word}") == 2 and said in capsys.readouterr().err
    for main, more in ((sweep_command.main, "--status"), (report_command.main, f"--out={tmp_path / 'out'}")):  # of the six that there are
      assert cli.run(main, [f"--workdir={tmp_path / 'runs'}", more, f"--only={word}"]) == 2
      assert said.replace("8 runs", "6 runs") in capsys.readouterr().err


CONSTANT = {"optimizer.schedule": "constant", "train.num_steps": 15, "train.log_every": 10, "train.checkpoint_every": 10, "eval.every": 10}
timeless = lambda row: {k: v for k, v in row.items() if k != "train_seconds" and not k.startswith("perf/")}


def ending(folder):
  """What a run left, wall-clock figures apart: result, metrics, and TensorBoard's curves, pictures and hyperparameters."""
  events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
  events.Reload()
  curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"] if not tag.startswith("perf/")}
  others = {tag: [(e.step, hash(e.tensor_proto.SerializeToString())) for e in events.Tensors(tag)]
            for tag in events.Tags()["tensors"] if not tag.startswith("_hparams_")}
  told = plugin_data_pb2.HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
  fields = {name: (value.number_value, value.string_value) for name, value in told.session_start_info.hparams.items()}
  return (timeless(workdir.read_json(folder / workdir.RESULT)), [timeless(row) for row in metrics.read(folder)], curves, others, fields,
          workdir.read_json(folder / workdir.CONFIG))


def sweep_file(path, fields):
  path.write_text("from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
                  f"def get_config(arg=''):\n  return override(default(), {fields!r})\n\n"
                  "def sweep(arg=''):\n  return product({'seed': range(2)})\n")
  return path


@pytest.mark.parametrize("steps, killed_at", [((15, 20, 35), None), pytest.param((15, 20, 35), 30, marks=pytest.mark.slow)])
def test_a_run_of_more_steps_goes_on_and_equals_one_of_as_many_from_the_start(tiny, tmp_path, monkeypatch, steps, killed_at):
  start = lambda folder, number: train.train([tiny(CONSTANT | {"train.num_steps": number})], [folder], folder / "checkpoints")[0]
  start(tmp_path / "whole", steps[-1])
  found = {str(number): timeless(start(tmp_path / "run", number)) for number in steps[:-1]}
  push = train.Recorder.push

  def dying(recorder, step, *args, **more):
    if step == killed_at:
      raise Killed
    push(recorder, step, *args, **more)

  if killed_at:
    with monkeypatch.context() as patch, pytest.raises(Killed):
      patch.setattr(train.Recorder, "push", dying)
      start(tmp_path / "run", steps[-1])
  assert start(tmp_path / "run", steps[-1])["steps"] == 35
  assert ending(tmp_path / "run") == ending(tmp_path / "whole")
  raised = workdir.read_json(tmp_path / "run" / growth.RAISED)
  assert {number: timeless(result) for number, result in raised.items()} == found  # what was found is kept
  assert start(tmp_path / "run", steps[-1])["steps"] == 35  # and now it is finished
  with pytest.raises(UserError, match="train.num_steps: 35 there, 15 now"):
    start(tmp_path / "run", 15)


@pytest.mark.parametrize("fields, number, said", [
    ({"optimizer.schedule": "cosine"}, 30, "optimizer.schedule = 'cosine' spreads its rates"),
    ({"optimizer.schedule": "linear"}, 30, "optimizer.schedule=constant it could go on"),
    ({"train.steps_per_call": None}, 30, "as means over 5 steps, one of 30 as means over 10: 35 steps can go on"),
])
def test_where_a_run_can_not_go_on_it_says_why(tiny, fields, number, said):
  with pytest.raises(UserError, match=f"train.num_steps = {number}: the run is one of 15 steps, .*{re.escape(said)}"):
    growth.steps_before(tiny(CONSTANT | fields | {"train.num_steps": number}), tiny(CONSTANT | fields).fields)


@pytest.mark.slow
def test_a_run_that_can_not_go_on_stays_as_it_is(tiny, tmp_path):
  start = lambda fields: train.train([tiny(CONSTANT | fields)], [tmp_path], tmp_path / "checkpoints")
  start({"train.num_steps": 10, "optimizer.schedule": "linear"})
  files = lambda: {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
  before, linear = files(), {"optimizer.schedule": "linear"}
  for fields, said in (({"train.num_steps": 15}, "optimizer.schedule: 'linear' there, 'constant' now; train.num_steps: 10 there, 15 now"),
                       ({"train.num_steps": 15} | linear, "spreads its rates"), ({"data.num_test": 300} | linear, "200 there, 300 now")):
    with pytest.raises(UserError, match=said):
      start(fields)
  (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
  with pytest.raises(UserError, match="has no checkpoint to go on from"):
    growth.begin([(tiny(CONSTANT), tmp_path)], [tmp_path / "checkpoints"])
  assert files() == before


def test_warm_up_alone_is_no_obstacle(tiny):
  same = {"optimizer.schedule": "cosine", "optimizer.warmup_steps": 30}
  assert growth.steps_before(tiny(CONSTANT | same | {"train.num_steps": 25}), tiny(CONSTANT | same).fields) == 15


@pytest.mark.slow
def test_a_sweep_of_more_steps_goes_on_and_has_each_run_once(tiny, tmp_path, capsys):
  file = sweep_file(tmp_path / "grid.py", tiny.fields | CONSTANT)

  def command(folder, *more):
    status, said = cli.run(sweep_command.main, [f"--config={file}", f"--workdir={tmp_path / folder}", *more]), capsys.readouterr()
    return status, said.out + said.err

  longer, one = "--config.train.num_steps=35", "--only=seed=1"
  assert command("whole", longer)[0] == 0 and command("grown")[0] == 0
  names = sorted(run.name for run in (tmp_path / "grown" / "runs").iterdir() if run.is_dir())
  status_, said = command("grown", longer, "--dry_run")
  assert status_ == 0 and "x2: to do, on from 15 steps" in said and "0 finished, 2 to do, 2 of them from 15 steps on" in said
  assert command("grown", "--dry_run")[1].count(": finished") == 1  # nothing has changed yet
  assert "1 runs go on, from 15 steps" in command("grown", longer, one)[1]  # a part of a pack
  assert [entry.state for entry in status.read(tmp_path / "grown")] == ["done", "done"]
  assert command("grown", longer)[0] == 0
  assert sorted(run.name for run in (tmp_path / "grown" / "runs").iterdir() if run.is_dir()) == names
  runs = lambda folder: (run for run in (tmp_path / folder / "runs").iterdir() if run.is_dir())
  of_seed = lambda folder: {workdir.read_json(run / workdir.CONFIG)["seed"]: run for run in runs(folder)}
  for seed in range(2):  # in packs of other sizes: equal up to rounding
    whole, grown = ending(of_seed("whole")[seed]), ending(of_seed("grown")[seed])
    assert grown[-1] == whole[-1] and [row.keys() for row in grown[1]] == [row.keys() for row in whole[1]]
    assert [row.get("train/loss", 0) for row in grown[1]] == pytest.approx([row.get("train/loss", 0) for row in whole[1]], rel=1e-4)
  status_, said = command("grown")
  assert status_ == 2 and "steps can only be raised" in said
  status_, said = command("grown", "--config.train.num_steps=55", "--config.optimizer.schedule=cosine")
  assert status_ == 2 and "holds another sweep" in said
  assert command("grown", longer)[1].count("2 of 2 runs finished") == 1
  assert cli.run(report_command.main, [f"--workdir={tmp_path / 'grown'}", f"--out={tmp_path / 'out'}"]) == 0
  assert [row["steps"] for row in read_csv(tmp_path / "out" / "runs.csv")] == [35, 35]


def test_runs_of_several_numbers_of_steps_are_runs_of_their_own(base, tmp_path):
  steps = lambda *numbers: plan(config.override(base, CONSTANT), product({"train.num_steps": numbers}))
  prepare(tmp_path, steps(20, 40))
  assert not reconcile(tmp_path, steps(20, 40)).added
  found = reconcile(tmp_path, steps(20, 40, 80))
  assert len(found.added) == 1 and not found.raised
  with pytest.raises(UserError, match="holds another sweep"):
    reconcile(tmp_path, steps(80))
  other = tmp_path / "other"
  prepare(other, steps(20))
  assert reconcile(other, steps(40)).raised and len(prepare(other, steps(40))) == 1
  prepare(other, steps(40, 80))
  with pytest.raises(UserError, match="was raised to 40, which can't be taken back"):
    reconcile(other, steps(20))
