"""A sweep that is killed at any moment, as often as one likes, ends bit for bit as one that never was."""

import json
import pathlib
import subprocess
import sys

import pytest

from pathstar.storage import workdir
from pathstar.training import metrics

pytestmark = pytest.mark.slow

FULL, PART = 100, 3


def outcome(folder):
  """Every run's numbers, wall-clock figures apart."""
  timeless = lambda row: {k: v for k, v in row.items() if k != "train_seconds" and not k.startswith("perf/")}
  return {run.name: (timeless(json.loads((run / workdir.RESULT).read_text())), [timeless(row) for row in metrics.read(run)])
          for run in (folder / "runs").iterdir()}


def test_kills_at_random_moments_make_no_difference(tiny, trials, tmp_path):
  fields = tiny.fields | {"train.num_steps": 100, "data.num_test": 50, "eval.num_examples": 20}
  (tmp_path / "grid.py").write_text(
      f"from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config():\n  return override(default(), {fields!r})\n\n"
      "def sweep():\n  return product({'seed': range(2)})\n")
  kills = len(list(trials(FULL, PART)))
  done = subprocess.run([sys.executable, pathlib.Path(__file__).parent / "kill_again.py", tmp_path / "grid.py", tmp_path, str(kills)],
                        capture_output=True, text=True)
  assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()[-3000:]
  killed, sweeps = map(int, done.stdout.split())
  assert killed >= kills and "Traceback" not in (tmp_path / "log").read_text()
  want = outcome(tmp_path / "whole")
  assert len(want) == 2
  for number in range(1, sweeps + 1):
    assert outcome(tmp_path / str(number)) == want, number
