"""Grid algebra, packs that form by themselves, and sweeps that survive what happens to them."""

import json
import types

import pytest

from pathstar import cli, config, sweep, train, workdir
from pathstar.errors import UserError
from pathstar.sweep import chain, product, subsample, zipped


def test_product_is_every_combination_first_names_slowest():
  assert product({"a": [1, 2], "b": "xy"}) == [
      {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
  assert product({"a": [1]}, [{"b": 2}, {"b": 3, "c": 4}]) == [{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]
  assert product({"a": []}) == [] and product() == [{}]


def test_zipped_goes_side_by_side_and_refuses_lists_of_unequal_length():
  assert zipped({"a": [1, 2], "b": [3, 4]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
  with pytest.raises(UserError, match="'a': 2, 'b': 1"):
    zipped({"a": [1, 2], "b": [3]})


def test_chain_appends():
  assert chain([{"a": 1}], product({"b": [2, 3]})) == [{"a": 1}, {"b": 2}, {"b": 3}]


def test_subsample_is_a_fixed_choice_in_the_order_of_the_cells():
  cells = product({"a": range(50)})
  some = subsample(cells, 10)
  assert len(some) == 10 and some == subsample(cells, 10) != subsample(cells, 10, seed=1)
  assert some == sorted(some, key=lambda cell: cell["a"]) and all(cell in cells for cell in some)
  assert subsample(cells, 99) == cells


@pytest.fixture
def base(tiny):
  return config.override(config.default(), tiny.fields)


GRID = product({"task.degree": [2, 3], "seed": range(3), "optimizer.learning_rate": [1e-3, 2e-3]},
               zipped({"objective.name": ["next_token", "teacherless"], "train.num_steps": [20, 40]}))


def test_cells_that_differ_in_values_alone_share_a_pack(base):
  packs = sweep.plan(base, GRID)
  assert sorted(len(pack.runs) for pack in packs) == [6] * 4
  for pack in packs:
    shapes = {json.dumps({k: v for k, v in run.config.fields.items() if k not in config.VALUE_FIELDS}) for run in pack.runs}
    assert len(shapes) == 1
  assert sum(len(pack.runs) for pack in packs) == len(GRID)


@pytest.mark.parametrize("max_pack, sizes", [(1, [1] * 24), (4, [2, 4] * 4), (100, [6] * 4)])
def test_packs_are_no_larger_than_asked(base, max_pack, sizes):
  packs = sweep.plan(base, GRID, max_pack)
  assert sorted(len(pack.runs) for pack in packs) == sorted(sizes)
  assert len({pack.pack_id for pack in packs}) == len(packs)


def test_run_ids_are_readable_unique_and_always_the_same(base):
  ids = [run.run_id for pack in sweep.plan(base, GRID) for run in pack.runs]
  assert len(set(ids)) == len(GRID)
  assert ids == [run.run_id for pack in sweep.plan(base, GRID) for run in pack.runs]
  assert all(name.startswith(("transformer-next_token-d", "transformer-teacherless-d")) for name in ids)
  [pack] = sweep.plan(base, [{"objective.order": "reversed", "seed": 4}])
  [run] = pack.runs
  assert run.run_id.startswith("transformer-reversed-d2-l4-s4-")
  # What does not change the numbers does not change the name.
  [same] = sweep.plan(base, [{"objective.order": "reversed", "seed": 4, "train.checkpoint_every": 20}])
  [other] = sweep.plan(base, [{"objective.order": "reversed", "seed": 4, "model.width": 32}])
  assert same.runs[0].run_id == run.run_id != other.runs[0].run_id


def test_impossible_cells_are_all_listed_at_once(base):
  cells = [{"seed": 0}, {"task.degree": 0}, {"seed": 1}, {"model.num_head": 2}, {"seed": 0}]
  with pytest.raises(UserError) as error:
    sweep.plan(base, cells)
  said = str(error.value)
  assert said.startswith("3 of 5 cells are impossible")
  assert "cell 1 {'task.degree': 0}: task.degree = 0" in said
  assert "cell 3 {'model.num_head': 2}: unknown config field 'model.num_head'; did you mean 'model.num_heads'?" in said
  assert "cell 4 {'seed': 0}: the same config as an earlier cell" in said


@pytest.fixture
def sweep_file(tmp_path, tiny):
  """A config file with two packs: two seeds each of next_token and teacherless."""
  file = tmp_path / "grid.py"
  file.write_text(
      f"from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
      f"def sweep(arg=''):\n  return product({{'objective.name': ['next_token', 'teacherless'], 'seed': range(2)}})\n")
  return file


@pytest.fixture
def trained(monkeypatch):
  """Replaces training by the writing of results; `trained.packs` lists what was asked for, `trained.crash` what fails."""
  record = types.SimpleNamespace(packs=[], crash=lambda configs: False)

  def fake(configs, folders, checkpoint_folder):
    record.packs.append([folder.name for folder in folders])
    if record.crash(configs):
      raise RuntimeError("the device fell over")
    for folder in folders:
      workdir.write_json(workdir.make(folder) / workdir.RESULT, {"status": "done"})

  monkeypatch.setattr(train, "train", fake)
  return record


def test_a_sweep_trains_each_pack_once_and_skips_what_is_finished(sweep_file, trained, tmp_path):
  argv = [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]
  assert cli.run(sweep.main, argv) == 0
  assert [len(names) for names in trained.packs] == [2, 2]
  results = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "runs").glob("*/result.json")}
  assert {file.parent.name for file in results} == {name for names in trained.packs for name in names}
  assert cli.run(sweep.main, argv) == 0
  assert len(trained.packs) == 2 and {file: file.stat().st_mtime_ns for file in results} == results


def test_a_crashed_pack_stops_nobody_and_is_told(sweep_file, trained, tmp_path, capsys):
  argv = [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]
  trained.crash = lambda configs: configs[0].fields["objective.name"] == "next_token"
  assert cli.run(sweep.main, argv) == 1
  out, err = capsys.readouterr()
  assert "the device fell over" in out + err and "transformer-next_token-d2-l4" in err
  done = [file.parent.name for file in (tmp_path / "out" / "runs").glob("*/result.json")]
  assert len(done) == 2 and all("teacherless" in name for name in done)
  [error] = (tmp_path / "out" / "packs").glob("*next_token*/error.txt")
  assert "RuntimeError: the device fell over" in error.read_text()
  trained.crash, trained.packs[:] = lambda configs: False, []
  assert cli.run(sweep.main, argv) == 0  # the same command again does what is left
  assert [["next_token" in name for name in names] for names in trained.packs] == [[True, True]]


def test_a_dry_run_prints_the_plan_and_touches_nothing(sweep_file, trained, tmp_path, capsys):
  assert cli.run(sweep.main, [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}", "--dry_run"]) == 0
  out = capsys.readouterr().out
  assert out.count("transformer-next_token-d2-l4-s") >= 3 and out.count("to do") == 2
  assert not trained.packs and not (tmp_path / "out").exists()


def test_another_sweep_in_the_same_folder_is_refused(sweep_file, trained, tmp_path, capsys):
  argv = [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]
  assert cli.run(sweep.main, argv) == 0
  before = (tmp_path / "out" / "sweep.json").read_bytes()
  assert cli.run(sweep.main, [*argv, "--config.model.width=32"]) == 2
  assert "holds another sweep" in capsys.readouterr().err
  assert (tmp_path / "out" / "sweep.json").read_bytes() == before and len(trained.packs) == 2


def test_a_folder_of_something_else_is_refused(sweep_file, trained, tmp_path, capsys):
  (tmp_path / "thesis.tex").write_text("mine")
  (tmp_path / "thesis.tex").rename(workdir.make(tmp_path / "out") / "thesis.tex")
  assert cli.run(sweep.main, [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]) == 2
  assert "not a sweep's folder (it holds 'thesis.tex')" in capsys.readouterr().err and not trained.packs


def test_a_sweep_that_died_while_it_prepared_can_start_again(base, tmp_path, monkeypatch):
  packs = sweep.plan(base, [{"seed": 0}])
  with monkeypatch.context() as patch:
    patch.setattr(workdir, "write_json", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      sweep.prepare(tmp_path, packs)
  sweep.prepare(tmp_path, packs)
  assert (tmp_path / "sweep.json").exists()


@pytest.mark.slow
def test_a_sweep_for_real_leaves_what_a_run_alone_leaves(sweep_file, tmp_path, tiny):
  assert cli.run(sweep.main, [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]) == 0
  folders = sorted((tmp_path / "out" / "runs").iterdir())
  assert len(folders) == 4
  [member] = [folder for folder in folders if "next_token-d2-l4-s1" in folder.name]
  [alone] = train.train([tiny(seed=1)], [tmp_path / "alone"], tmp_path / "alone" / "checkpoints")
  result = json.loads((member / workdir.RESULT).read_text())
  assert result.keys() == alone.keys()
  assert result["status"] == alone["status"] == "done"
  for name in result.keys() - {"train_seconds", "status"}:
    assert result[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-4), name
  assert {p.name for p in member.iterdir()} >= {"config.json", "environment.json", "metrics.jsonl", "result.json"}
