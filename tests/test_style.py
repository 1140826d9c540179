"""The linter has nothing to say (its rules stand in pyproject.toml)."""

import pathlib
import subprocess
import sys


def test_ruff_finds_nothing():
  root = pathlib.Path(__file__).parents[1]
  done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=root, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
