"""However a run is interrupted, the same command ends with the files of a run that never was."""

import errno
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from unittest import mock

import orbax.checkpoint as ocp
import pytest
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

from pathstar.commands import cli
from pathstar.commands import train as train_command
from pathstar.commands.cli import EXIT_STOPPED
from pathstar.errors import Held, Outage, UserError
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.storage.locks import lock
from pathstar.training import metrics, train


def rows(folder):
  """Metrics without wall-clock figures."""
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(folder)]


def shown(folder):
  """TensorBoard's scalars without wall-clock figures, {tag: [(step, value)]}, and the steps of its pictures."""
  events = event_accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
  events.Reload()
  curves = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"] if not tag.startswith("perf/")}
  # The other one never drops those that a resumed run repeats; TensorBoard reads with this one.
  pictures = plugin_event_accumulator.EventAccumulator(str(folder), tensor_size_guidance={"images": 0}).Reload()
  return curves, [e.step for e in pictures.Tensors("examples")]


def saved(folder):
  """Steps of the committed checkpoints."""
  checkpoints = folder / "checkpoints"
  return sorted(int(p.name) for p in checkpoints.iterdir() if p.name.isdigit()) if checkpoints.exists() else []


def start(config, folder):
  [result] = train.train([config], [folder], folder / "checkpoints")
  return result


class Interrupt:
  """Patches training so that something happens once, when the numbers of `step` are handed over."""

  def __init__(self, monkeypatch, step, act):
    push = train.Recorder.push

    def pushed(recorder, at, *args, **kwargs):
      push(recorder, at, *args, **kwargs)
      if at == step:
        monkeypatch.setattr(train.Recorder, "push", push)
        act()

    monkeypatch.setattr(train.Recorder, "push", pushed)


class Killed(BaseException):
  """Stands in for kill -9: nothing of the loop catches it."""


def kill():
  raise Killed


@pytest.fixture(scope="module")
def fields():
  return {"train.num_steps": 40}


@pytest.fixture(scope="module")
def whole(tiny, fields, tmp_path_factory):
  """The folder of a run that was never interrupted, and its result."""
  folder = tmp_path_factory.mktemp("whole")
  return folder, start(tiny(fields), folder)


def same_ending(folder, result, whole):
  assert rows(folder) == rows(whole[0])
  assert shown(folder) == shown(whole[0])
  timeless = lambda result: {k: v for k, v in result.items() if k != "train_seconds"}
  assert timeless(result) == timeless(whole[1])


@pytest.mark.parametrize("step", [5, *(pytest.param(step, marks=pytest.mark.slow) for step in (25, 30, 40))])
def test_a_run_that_dies_anywhere_ends_as_if_it_had_not(tiny, fields, whole, tmp_path, monkeypatch, capsys, step):
  Interrupt(monkeypatch, step, kill)
  with pytest.raises(Killed):
    start(tiny(fields), tmp_path)
  assert not (tmp_path / workdir.RESULT).exists()
  newest = max(saved(tmp_path), default=0)
  capsys.readouterr()
  result = start(tiny(fields), tmp_path)
  said = capsys.readouterr().err
  assert f"resuming from step {newest}" in said if newest else "resuming" not in said
  assert (newest > 0) == (step > 10)
  same_ending(tmp_path, result, whole)


def test_a_run_that_dies_before_its_result_is_written_has_each_picture_once(tiny, fields, whole, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(whole[0], folder)
  (folder / workdir.RESULT).unlink()
  same_ending(folder, start(tiny(fields), folder), whole)
  assert shown(folder)[1] == [20, 40]


def test_sigterm_saves_says_so_and_the_same_command_goes_on(tiny, tiny_file, whole, tmp_path, monkeypatch, capsys):
  argv = [f"--config={tiny_file}", "--config.train.num_steps=40", f"--workdir={tmp_path}"]
  Interrupt(monkeypatch, 15, lambda: os.kill(os.getpid(), signal.SIGTERM))
  assert cli.run(train_command.main, argv) == EXIT_STOPPED == 75
  assert "stopped by a signal at step 15 of 40; the same command resumes" in capsys.readouterr().err
  assert 15 in saved(tmp_path) and not (tmp_path / workdir.RESULT).exists()
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # handed back
  assert cli.run(train_command.main, argv) == 0
  assert "resuming from step 15" in capsys.readouterr().err
  same_ending(tmp_path, json.loads((tmp_path / workdir.RESULT).read_text()), whole)


@pytest.mark.parametrize("lost", ["", "checkpoints"])
def test_a_folder_that_is_removed_meanwhile_ends_the_run_at_the_next_save(tiny, fields, tmp_path, monkeypatch, lost):
  def remove():
    while (tmp_path / "run" / lost).exists():  # a save may be under way
      shutil.rmtree(tmp_path / "run" / lost, ignore_errors=True)

  Interrupt(monkeypatch, 15, remove)
  with pytest.raises(UserError, match="run"):
    start(tiny(fields), tmp_path / "run")
  assert not (tmp_path / "run" / workdir.RESULT).exists()


@pytest.mark.parametrize("part", ["async_save", "finalize"])  # of Orbax: while training waits, and in the background
def test_a_checkpoint_that_can_not_be_written_ends_the_run_at_once_or_at_the_next_save(tiny, fields, whole, tmp_path, monkeypatch, part):
  full = mock.patch.object(ocp.StandardCheckpointHandler, part, side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

  def fill():
    while not saved(tmp_path):  # it is under way
      time.sleep(0.01)
    full.start()

  Interrupt(monkeypatch, 15, fill)
  try:
    with pytest.raises(Outage, match="a checkpoint can't be written .no space left on device.; the same command goes on"):
      start(tiny(fields), tmp_path)
  finally:
    full.stop()
  assert saved(tmp_path) == [10] and rows(tmp_path)[-1]["step"] == {"async_save": 20, "finalize": 30}[part]
  same_ending(tmp_path, start(tiny(fields), tmp_path), whole)


@pytest.fixture(scope="module")
def stopped(tiny, fields, tmp_path_factory):
  """The folder of a run that died after its checkpoints at 20 and 30."""
  folder = tmp_path_factory.mktemp("stopped")
  with pytest.MonkeyPatch.context() as patch:
    Interrupt(patch, 35, kill)
    with pytest.raises(Killed):
      start(tiny(fields), folder)
  assert saved(folder) == [20, 30]
  return folder


def truncate(checkpoint):
  for file in checkpoint.rglob("*"):
    if file.is_file():
      os.truncate(file, file.stat().st_size // 2)


def lose_arrays(checkpoint):
  shutil.rmtree(checkpoint / "state")


def lose_metadata(checkpoint):
  for file in checkpoint.rglob("_METADATA"):
    file.unlink()


def empty(checkpoint):
  shutil.rmtree(checkpoint)
  checkpoint.mkdir()


@pytest.mark.parametrize("tear", [truncate, lose_arrays, lose_metadata, empty])
def test_a_torn_newest_checkpoint_is_set_aside_for_the_one_before(
    tiny, fields, whole, stopped, tmp_path, caplog, capsys, tear):
  folder = tmp_path / "run"
  shutil.copytree(stopped, folder)
  tear(folder / "checkpoints" / "30")
  with caplog.at_level(logging.WARNING):
    result = start(tiny(fields), folder)
  assert "resuming from step 20" in capsys.readouterr().err
  said = [record.getMessage() for record in caplog.records]
  assert any("checkpoint 30 can't be read" in line for line in said) and "checkpoint 30 is set aside as 30.corrupt" in said
  assert (folder / "checkpoints" / "30.corrupt").is_dir()
  same_ending(folder, result, whole)


def test_when_no_checkpoint_can_be_read_nothing_is_thrown_away(tiny, fields, stopped, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(stopped, folder)
  before = rows(folder)
  for step in ("20", "30"):
    truncate(folder / "checkpoints" / step)
  for _ in range(2):  # a second start doesn't begin at 0 either
    with pytest.raises(UserError, match="none of its checkpoints can be read"):
      start(tiny(fields), folder)
    assert rows(folder) == before
    assert {"20", "30"} <= {p.name for p in (folder / "checkpoints").iterdir()}


def test_another_config_is_refused_by_the_field_that_changed(tiny, fields, stopped):
  before = {p: p.stat().st_mtime_ns for p in stopped.rglob("*") if p.is_file() and p.name != ".lock"}
  with pytest.raises(UserError) as error:
    start(tiny(fields | {"optimizer.learning_rate": 0.5, "seed": 3}), stopped)
  said = str(error.value)
  assert "optimizer.learning_rate: 0.003 there, 0.5 now" in said and "seed: 0 there, 3 now" in said and str(stopped) in said
  assert {p: p.stat().st_mtime_ns for p in before} == before


def test_fields_that_do_not_change_the_numbers_may_change(tiny, fields, whole, stopped, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(stopped, folder)
  result = start(tiny(fields | {"train.checkpoint_every": 5, "train.keep_checkpoints": 3}), folder)
  same_ending(folder, result, whole)
  assert saved(folder) == [30, 35, 40]


def test_a_folder_of_something_else_is_refused_and_left_alone(tiny, tmp_path):
  (tmp_path / "thesis.tex").write_text("mine")
  with pytest.raises(UserError, match="not empty and not a run's folder .*thesis.tex"):
    start(tiny(), tmp_path)
  assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["thesis.tex"]


def test_a_start_that_died_before_its_config_was_written_does_not_block_the_folder(tiny, tmp_path, monkeypatch):
  write = workdir.write_json

  def die(file, value):
    if file.name == workdir.CONFIG:
      raise Killed
    write(file, value)

  monkeypatch.setattr(workdir, "write_json", die)
  with pytest.raises(Killed):
    workdir.claim(tmp_path, {"seed": 0}, environment, lambda old: [])
  monkeypatch.undo()
  workdir.claim(tmp_path, {"seed": 0}, environment, lambda old: [])
  assert json.loads((tmp_path / workdir.CONFIG).read_text()) == {"seed": 0}


def test_a_second_process_is_told_who_holds_the_folder(tiny, tmp_path):
  hold = ("import pathlib, sys; from pathstar.storage.locks import lock\n"
          "with lock(pathlib.Path(sys.argv[1])):\n  print('held', flush=True); sys.stdin.read()")
  process = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
  try:
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"in use by process {process.pid} on "):
      start(tiny(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock"]
  finally:
    process.kill()
    process.wait()
  with lock(tmp_path):  # the kernel freed it, however its holder ended
    pass


def test_the_folder_is_held_until_the_result_is_there(tiny, tmp_path, monkeypatch):
  write, tried = train.results_of.write, []

  def busy(folder, result):
    with pytest.raises(Held, match="in use by"), lock(folder):
      pass
    tried.append(folder)
    write(folder, result)

  monkeypatch.setattr(train.results_of, "write", busy)
  assert start(tiny(), tmp_path)["status"] == "done" and tried == [tmp_path]


def command(tiny_file, folder):
  return [sys.executable, "-m", "pathstar", "train", f"--config={tiny_file}", f"--workdir={folder}", "--config.train.num_steps=2000",
          "--config.train.log_every=20", "--config.eval.every=100", "--config.train.checkpoint_every=20"]


def until(condition, process, seconds=120):
  end = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, "the run ended before it could be killed: make it longer"
    assert time.monotonic() < end
    time.sleep(0.01)


@pytest.mark.slow
def test_killed_twice_at_random_moments_a_run_ends_bit_for_bit_the_same(tiny_file, tmp_path):
  chance = random.Random(0)
  folder, reference = tmp_path / "killed", tmp_path / "whole"
  newest = 0
  for _ in range(2):
    process = subprocess.Popen(command(tiny_file, folder), stderr=subprocess.PIPE, text=True)
    until(lambda: max(saved(folder), default=0) > newest, process)
    time.sleep(chance.uniform(0, 0.5))
    assert process.poll() is None, "the run ended before it could be killed: make it longer"
    process.kill()
    said = process.communicate()[1]
    if newest:
      assert f"resuming from step {newest}" in said
    newest = max(saved(folder))
  done = subprocess.run(command(tiny_file, folder), capture_output=True, text=True, check=True)
  assert 0 < newest < 2000 and f"resuming from step {newest}" in done.stderr
  subprocess.run(command(tiny_file, reference), capture_output=True, check=True)
  assert len(rows(reference)) == 101
  assert rows(folder) == rows(reference)
  assert shown(folder) == shown(reference)
