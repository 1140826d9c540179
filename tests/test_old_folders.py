"""Folders that version 0.1 left half-way go on, and are read, under the names that they have.

data/version_0_1.tar.gz holds a sweep (its first pack finished, its second killed after the checkpoint of step 10), a run killed likewise,
and the metrics of both where nothing was killed, all made by version 0.1 from data/version_0_1.py.
"""

import json
import pathlib
import tarfile

import pytest

import pathstar
from pathstar import config
from pathstar.commands import cli
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.sweeps.folder import prepare
from pathstar.sweeps.packs import plan

DATA = pathlib.Path(__file__).parent / "data"
FILE = DATA / "version_0_1.py"


@pytest.fixture
def old(tmp_path):
  with tarfile.open(DATA / "version_0_1.tar.gz") as tar:
    tar.extractall(tmp_path, filter="data")
  return tmp_path


@pytest.fixture
def command(monkeypatch, capsys):
  def call(*words):
    monkeypatch.setattr("sys.argv", ["pathstar", *map(str, words)])
    capsys.readouterr()
    assert cli.command() == 0
    return capsys.readouterr().out

  return call


def rows(text):
  return [{k: v for k, v in json.loads(line).items() if not k.startswith("perf/")} for line in text.splitlines()]


def goes_on(folder, before, expected):
  """What was there stays to the byte; what comes is what version 0.1 would have written, up to another machine's rounding."""
  after = (folder / "metrics.jsonl").read_text()
  assert after.startswith(before) and len(after) >= len(before)
  want, got = rows(expected), rows(after)
  assert [row["step"] for row in got] == [row["step"] for row in want]
  for one, other in zip(got, want):
    assert one.keys() == other.keys()
    for name in one:
      assert one[name] == pytest.approx(other[name], rel=1e-3, abs=0.03 if name.startswith("eval/") else 1e-6), name


def test_a_run_goes_on(old, command):
  before = (old / "run" / "metrics.jsonl").read_text()
  assert [row["step"] for row in rows(before)][-1] == 10
  assert "done at step 20" in command("train", f"--config={FILE}", f"--workdir={old / 'run'}")
  goes_on(old / "run", before, (old / "expected" / "run.jsonl").read_text())
  with pytest.raises(UserError, match="optimizer.learning_rate: 0.003 there, 0.5 now"):
    base, *_ = config.load(str(FILE), {"optimizer.learning_rate": 0.5})
    workdir.claim(old / "run", {}, dict, lambda there: config.differences(config.resolve(base), there))


@pytest.mark.slow
def test_a_sweep_goes_on_and_is_read(old, command):
  folder = old / "sweep"
  before = {run.name: (run / "metrics.jsonl").read_text() for run in (folder / "runs").iterdir()}
  assert command("sweep", f"--config={FILE}", f"--workdir={folder}", "--dry_run").count(": finished") == 1
  assert "4 of 4 runs finished" in command("sweep", f"--config={FILE}", f"--workdir={folder}")
  assert {run.name for run in (folder / "runs").iterdir()} == before.keys()
  for name, text in before.items():
    goes_on(folder / "runs" / name, text, (old / "expected" / f"{name}.jsonl").read_text())
  assert "done 4" in command("sweep", "--status", f"--workdir={folder}")
  assert "mamba, learning_rate 0.003" in command("report", f"--workdir={folder}")
  assert (folder / "report" / "table.md").read_text().count("| G(2,4) |") == 4  # two rates are two settings
  name = next(name for name in before if name.startswith("mamba"))
  loaded = pathstar.load(folder / "runs" / name)
  assert loaded.step == 20 and loaded.config.architecture == "mamba" and "model.num_heads" not in loaded.config.fields
  said = json.loads(command("eval", f"--workdir={folder / 'runs' / name}"))
  last = rows((folder / "runs" / name / "metrics.jsonl").read_text())[-1]
  assert said["step"] == 20 and said["loss"] == pytest.approx(last["eval/test/loss"], rel=1e-3)


def test_another_sweep_is_still_another(old):
  base, module, _, _ = config.load(str(FILE), {"model.width": 32})
  with pytest.raises(UserError, match="holds another sweep .its runs differ"):
    prepare(old / "sweep", plan(base, module.sweep()))
  base, module, _, _ = config.load(str(FILE))
  with pytest.raises(UserError, match="version 0.1 planned it, and then it can't get more runs"):
    prepare(old / "sweep", plan(base, [*module.sweep(), {"task.degree": 3}]))
