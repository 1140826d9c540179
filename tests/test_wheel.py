"""The built wheel works where there is no checkout: in an empty folder, with the packaged configs by name."""

import os
import pathlib
import subprocess
import sys

import pytest

import pathstar

ROOT = pathlib.Path(__file__).parent.parent
SHORT = {"train.num_steps": 20, "train.log_every": 10, "train.checkpoint_every": 10, "eval.every": 10, "eval.num_examples": 40,
         "data.num_test": 40}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """installed(words) -> what `pathstar words` prints in an empty folder, from the wheel alone."""
  place, empty = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("empty")
  pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
  subprocess.run([*pip, "wheel", "--no-deps", "-w", place, ROOT], check=True)
  [wheel] = place.glob("pathstar-*.whl")
  subprocess.run([*pip, "install", "--no-deps", "--target", place / "site", wheel], check=True)

  def run(*words):
    done = subprocess.run([sys.executable, "-m", "pathstar", *words], cwd=empty, text=True, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(place / "site")})
    assert done.returncode == 0, done.stderr
    return done.stdout

  run.folder = empty
  return run


@pytest.mark.slow
def test_a_sweep_by_name_and_its_report(installed):
  assert installed("--version") == f"pathstar {pathstar.__version__}\n"
  short = [f"--config.{name}={value}" for name, value in SHORT.items()]
  assert "3 of 3 runs finished in runs" in installed("sweep", "--config=quickstart:num_seeds=1", "--workdir=runs", *short)
  assert "transformer on G(2,4); next_token, reversed, teacherless" in " ".join(installed("report", "--workdir=runs").split())
  assert (installed.folder / "runs" / "report" / "README.md").exists()
  assert installed("sweep", "--config=quickstart", "--workdir=other", "--dry_run").count(": to do") == 3
  assert "exact match on test" in installed("train", "--config=default", "--workdir=one", *short)
