"""What is on disk is compared before it is trusted, and what is derived can't be changed by what is free to change."""

import json
import shutil

import pytest

import pathstar
from pathstar.commands import cli
from pathstar.commands import sweep as sweep_command
from pathstar.commands import train as train_command
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.storage.locks import lock
from pathstar.sweeps import status
from pathstar.training import metrics, train

pytestmark = pytest.mark.slow


def rows(folder):
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(folder)]


def result(folder):
  return {k: v for k, v in workdir.read_json(folder / workdir.RESULT).items() if k != "train_seconds"}


def start(config, folder):
  return train.train([config], [folder], folder / "checkpoints")


LONG = {"train.num_steps": 200, "train.steps_per_call": None, "train.log_every": 20, "train.checkpoint_every": 30, "eval.every": 100}


def test_another_cadence_of_checkpoints_changes_nothing(tiny, tmp_path, killed_at):
  start(tiny(LONG), tmp_path / "whole")
  assert tiny(LONG).steps_per_call == 20
  with killed_at(140):
    start(tiny(LONG), tmp_path / "run")
  assert sorted(int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir() if p.name.isdigit()) == [100, 120]
  start(tiny(LONG | {"train.checkpoint_every": 1000}), tmp_path / "run")
  assert rows(tmp_path / "run") == rows(tmp_path / "whole") and result(tmp_path / "run") == result(tmp_path / "whole")
  assert [row["step"] for row in rows(tmp_path / "whole")] == list(range(0, 201, 20))


@pytest.mark.slow
def test_metrics_that_do_not_reach_the_checkpoint_are_not_continued(tiny, tmp_path, killed_at, capsys):
  fields = {"train.num_steps": 40}
  start(tiny(fields), tmp_path / "whole")
  with killed_at(35):
    start(tiny(fields), tmp_path / "killed")  # checkpoints 20 and 30
  lines = (tmp_path / "killed" / workdir.METRICS).read_bytes().splitlines(keepends=True)
  assert [json.loads(line)["step"] for line in lines] == list(range(0, 31, 5))
  damages = {
      "cut": lines[:5], "cut inside": [*lines[:5], lines[5][:20]], "a line lost": lines[:5] + lines[6:],
      "a line twice": lines[:6] + lines[5:],
      "mangled": [*lines[:5], b"\xff\x00{" + lines[5][3:], lines[6]], "swapped": [*lines[:5], lines[6], lines[5]],
      "another thing": [*lines[:5], b"[1, 2]\n", lines[6]],
  }
  for name, kept in damages.items():
    place = tmp_path / name
    shutil.copytree(tmp_path / "killed", place)
    (place / workdir.METRICS).write_bytes(b"".join(kept))
    capsys.readouterr()
    start(tiny(fields), place)
    assert "resuming from step 20" in capsys.readouterr().err, name
    assert rows(place) == rows(tmp_path / "whole"), name
    assert result(place) == result(tmp_path / "whole"), name
  for name, kept in {"gone": None, "empty": [], "short": lines[:3]}.items():
    place = tmp_path / name
    shutil.copytree(tmp_path / "killed", place)
    (place / workdir.METRICS).unlink()
    if kept is not None:
      (place / workdir.METRICS).write_bytes(b"".join(kept))
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file() and p.name != ".lock"}
    with pytest.raises(UserError, match="and no checkpoint is as old"):
      start(tiny(fields), place)
    assert {p: p.read_bytes() for p in before} == before  # nothing is lost


def test_a_run_whose_checkpoints_are_gone_keeps_its_rows(tiny, tmp_path, capsys):
  start(tiny(), tmp_path)
  (tmp_path / workdir.RESULT).unlink()
  shutil.rmtree(tmp_path / "checkpoints")  # as a folder is fetched from a bucket
  before = (tmp_path / workdir.METRICS).read_bytes()
  start(tiny(), tmp_path)
  assert "it starts again, and they are set aside as unsaved.metrics.jsonl" in capsys.readouterr().err
  assert (tmp_path / "unsaved.metrics.jsonl").read_bytes() == before and result(tmp_path)["steps"] == 20


def test_rows_up_to_the_first_checkpoint_are_those_of_an_early_kill_and_give_way(tiny, tmp_path):
  start(tiny(), tmp_path)
  (tmp_path / workdir.RESULT).unlink()
  shutil.rmtree(tmp_path / "checkpoints")
  rows = (tmp_path / workdir.METRICS).read_bytes().splitlines(keepends=True)
  early = [row for row in rows if json.loads(row)["step"] <= tiny().train.checkpoint_every]
  assert 1 < len(early) < len(rows)
  (tmp_path / workdir.METRICS).write_bytes(b"".join(early))
  start(tiny(), tmp_path)
  assert not list(tmp_path.glob("unsaved.*")) and result(tmp_path)["steps"] == 20


def test_a_finished_run_is_not_undone(tiny_file, tmp_path, capsys):
  argv = [f"--config={tiny_file}", f"--workdir={tmp_path / 'run'}"]
  assert cli.run(train_command.main, argv) == 0
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
  assert cli.run(train_command.main, argv) == 0
  assert "done at step 20" in capsys.readouterr().out
  assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


@pytest.fixture
def grid(tiny, tmp_path):
  """(command, whole): a sweep of one pack of three runs, and the folder of one never interrupted."""
  file = tmp_path / "grid.py"
  file.write_text("from pathstar.config import default, override\n\n"
                  f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
                  "def sweep(arg=''):\n  return [{'seed': seed} for seed in range(3)]\n")
  command = lambda folder, *more: cli.run(sweep_command.main, [f"--config={file}", f"--workdir={tmp_path / folder}", *more])
  assert command("whole") == 0
  return command, tmp_path / "whole"


def same_runs(folder, whole, exact):
  runs = sorted(run.name for run in (whole / "runs").iterdir())
  assert runs == sorted(run.name for run in (folder / "runs").iterdir())
  for name in runs:
    mine, theirs = rows(folder / "runs" / name), rows(whole / "runs" / name)
    if name in exact:
      assert mine == theirs and result(folder / "runs" / name) == result(whole / "runs" / name)
    for one, other in zip(mine, theirs, strict=True):
      assert one.keys() == other.keys() and one["step"] == other["step"]
      assert one.get("train/loss", 0) == pytest.approx(other.get("train/loss", 0), rel=1e-3)


def test_a_run_deleted_from_a_half_done_pack_is_said_and_done_again(grid, tmp_path, killed_at, capsys):
  command, whole = grid
  with killed_at(15):
    command("half")
  folder = tmp_path / "half"
  lost = sorted((folder / "runs").iterdir())[1]
  shutil.rmtree(lost)
  capsys.readouterr()
  assert command("half") == 1
  said = capsys.readouterr()
  assert f"{lost}: its metrics are missing" in said.err and "--redo=RUN" in said.err
  assert "0 of 3 runs finished" in said.out
  assert command("half", f"--redo={lost.name}") == 0
  assert "3 of 3 runs finished" in capsys.readouterr().out
  same_runs(folder, whole, exact=())
  assert {entry.state for entry in status.read(folder)} == {"done"}
  for run in (folder / "runs").iterdir():
    assert pathstar.load(run).step == 20


def test_a_run_deleted_from_a_finished_pack_is_done_again_and_its_siblings_are_not(grid, tmp_path, capsys):
  command, whole = grid
  folder = tmp_path / "copy"
  shutil.copytree(whole, folder)
  lost, *kept = sorted((folder / "runs").iterdir())
  shutil.rmtree(lost)
  before = {p: p.read_bytes() for run in kept for p in run.rglob("*") if p.is_file() and p.name != ".lock"}
  assert command("copy") == 1  # said, and no IndexError
  assert "its metrics are missing" in capsys.readouterr().err
  assert command("copy", f"--redo={lost.name}") == 0
  same_runs(folder, whole, exact=[run.name for run in kept])
  assert {p: p.read_bytes() for p in before} == before
  for run in (folder / "runs").iterdir():
    assert pathstar.load(run).step == 20
  assert command("copy", "--only=seed=1", f"--redo={next(run.name for run in kept if '-s1-' in run.name)}") == 0  # of a part of the grid
  assert command("copy") == 0
  assert command("copy", "--redo=nonsense") == 2
  assert "--redo = 'nonsense': no such run in this sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_alone_in_its_pack_is_done_again(grid, tmp_path):
  command, whole = grid
  assert command("alone", "--max_pack=1") == 0
  lost = sorted((tmp_path / "alone" / "runs").iterdir())[0]
  (lost / workdir.METRICS).write_text("")
  assert command("alone", "--max_pack=1", f"--redo={lost.name}") == 0
  same_runs(tmp_path / "alone", whole, exact=())
  assert (lost / f"redone.{workdir.RESULT}").exists()  # nothing is lost


@pytest.mark.slow
def test_parts_of_a_split_pack_go_on_from_its_checkpoint(grid, tmp_path, monkeypatch, capsys):
  command, whole = grid
  batches = train.device_batches

  def broken(configs, *more):
    for number, batch in enumerate(batches(configs, *more)):
      if configs[0].seed <= 1 <= configs[-1].seed and more[-1] + 5 * number == 15:
        raise RuntimeError("a bit fell over")
      yield batch

  monkeypatch.setattr(train, "device_batches", broken)
  assert command("split") == 1
  said = capsys.readouterr()
  assert "split into 3 packs" in said.out and said.err.count("resuming from step 10") == 5  # once more, and each part, one of them twice
  monkeypatch.undo()
  assert command("split") == 0
  same_runs(tmp_path / "split", whole, exact=())


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "mine").write_text("mine")
  (tmp_path / "run" / ".lock").symlink_to(tmp_path / "mine")
  with pytest.raises(UserError, match="links are not followed"), lock(tmp_path / "run"):
    pass
  assert (tmp_path / "mine").read_text() == "mine"
