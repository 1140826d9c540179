"""A sweep of twelve cells ends the same however it is killed, shared out, or hit by a crash."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from pathstar import run
from pathstar.commands import cli
from pathstar.commands import sweep as sweep_command
from pathstar.storage import workdir
from pathstar.sweeps import status
from pathstar.sweeps.folder import pack_of
from pathstar.training import metrics, train
from pathstar.training.feed import device_batches

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grid(tiny, tmp_path_factory):
  """A config file with twelve cells: four packs of three, by --max_pack=3."""
  file = tmp_path_factory.mktemp("grid") / "grid.py"
  fields = tiny.fields | {"train.num_steps": 60, "eval.every": 30, "data.num_test": 50, "eval.num_examples": 20}
  file.write_text(
      f"from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config(arg=''):\n  return override(default(), {fields!r})\n\n"
      f"def sweep(arg=''):\n  return product({{'objective.name': ['next_token', 'teacherless'], 'seed': range(6)}})\n")
  return file


def arguments(grid, folder, *more):
  return [f"--config={grid}", f"--workdir={folder}", "--max_pack=3", *more]


def start(grid, folder, *more):
  return subprocess.Popen([sys.executable, "-m", "pathstar", "sweep", *arguments(grid, folder, *more)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(*processes):
  """What the processes said, once all have ended well."""
  said = [process.communicate() for process in processes]
  assert [process.returncode for process in processes] == [0] * len(processes), said
  return [out + err for out, err in said]


def trained(text):
  """How many packs a process says it trained to their end."""
  return len(re.findall(r"^pack \d of \d: .*: exact match [\d. ]+", text, re.MULTILINE))


def outcome(folder):
  """Everything that a sweep found, wall-clock figures apart: {run: (result, metrics)}."""
  timeless = lambda row: {k: v for k, v in row.items() if k != "train_seconds" and not k.startswith("perf/")}
  return {run.name: (timeless(json.loads((run / workdir.RESULT).read_text())), [timeless(row) for row in metrics.read(run)])
          for run in (folder / "runs").iterdir() if (run / workdir.RESULT).exists()}


@pytest.fixture(scope="module")
def undisturbed(grid, tmp_path_factory):
  folder = tmp_path_factory.mktemp("undisturbed") / "out"
  finish(start(grid, folder))
  found = outcome(folder)
  assert len(found) == 12 and all(result["status"] == "done" and len(rows) == 13 for result, rows in found.values())
  return found


def traces(folder):
  """How many checkpoints and results a sweep has left so far."""
  return len([p for p in folder.glob("packs/*/checkpoints/*") if p.name.isdigit()]) + len(list(folder.glob("runs/*/result.json")))


def test_killed_three_times_at_random_moments_it_ends_the_same(grid, undisturbed, tmp_path):
  folder, chance, finished, said = tmp_path / "out", random.Random(0), {}, []
  results = lambda: {p: p.stat().st_mtime_ns for p in folder.glob("runs/*/result.json")}
  for more, pause in ((1, 0), (chance.randint(1, 5), chance.uniform(0, 0.3)), (chance.randint(1, 5), chance.uniform(0, 0.3))):
    process, before = start(grid, folder), traces(folder)
    while process.poll() is None and traces(folder) < before + more:
      time.sleep(0.01)
    time.sleep(pause)
    assert process.poll() is None, "the sweep ended before it could be killed: make it longer"
    os.killpg(process.pid, signal.SIGKILL)
    said += process.communicate()
    assert finished.items() <= results().items()  # what was finished is not touched again
    finished = results()
  assert len(finished) < 12
  said += finish(start(grid, folder))
  assert "12 of 12 runs finished" in said[-1] and any("resuming from step" in text for text in said)
  assert finished.items() <= results().items()
  assert outcome(folder) == undisturbed


def test_two_shards_at_once_end_the_same(grid, undisturbed, tmp_path):
  folder = tmp_path / "out"
  said = finish(*(start(grid, folder, f"--shard={i}/2") for i in range(2)))
  assert [trained(text) for text in said] == [2, 2]
  assert outcome(folder) == undisturbed


def test_two_processes_on_one_folder_share_it_by_their_locks(grid, undisturbed, tmp_path):
  folder = tmp_path / "out"
  said = finish(*(start(grid, folder) for _ in range(2)))
  assert sum(map(trained, said)) == 4
  assert outcome(folder) == undisturbed


def test_one_cell_that_crashes_takes_nobody_with_it(grid, undisturbed, tmp_path, monkeypatch, capsys):
  batches = device_batches

  def broken(configs, *more):
    for number, batch in enumerate(batches(configs, *more)):
      if number == 3 and any(c.seed == 4 and c.method == "teacherless" for c in configs):
        raise RuntimeError("a bit fell over")
      yield batch

  folder = tmp_path / "out"
  monkeypatch.setattr(train, "device_batches", broken)
  assert cli.run(sweep_command.main, arguments(grid, folder)) == 1
  found = outcome(folder)
  [missing] = undisturbed.keys() - found.keys()
  assert "teacherless-d2-l4-s4" in missing and missing in capsys.readouterr().err
  assert cli.run(sweep_command.main, ["--status", f"--workdir={folder}"]) == 0
  said = capsys.readouterr().out
  assert "done 11   running 0   failed 1   diverged 0   waiting 0" in said and f"{missing}  RuntimeError: a bit fell over" in said
  alone = {name for name in found if len(pack_of(folder, json.loads((folder / "sweep.json").read_text())["packs"], name)[1]) == 1}
  assert len(alone) == 2  # its siblings, in programs of their own: equal up to rounding
  assert {name: found[name] for name in found.keys() - alone} == {name: undisturbed[name] for name in found.keys() - alone}
  for name in alone:
    for row, other in zip(found[name][1], undisturbed[name][1], strict=True):
      assert row["step"] == other["step"] and row.keys() == other.keys()
      assert row.get("train/loss", 0) == pytest.approx(other.get("train/loss", 0), rel=1e-3)
  assert run.load(folder / "runs" / min(alone)).step == 60  # its checkpoint is that of its own pack
  monkeypatch.undo()
  assert cli.run(sweep_command.main, arguments(grid, folder)) == 0  # and when it is mended the same command does what is left
  assert outcome(folder).keys() == undisturbed.keys()
  assert [entry.state for entry in status.read(folder)] == ["done"] * 12
