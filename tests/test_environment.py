"""What is recorded of the surroundings is of this code, and of nothing that lies around it."""

import os
import pathlib
import re
import shutil
import subprocess

import jax
import pytest

import pathstar
from pathstar.devices import random
from pathstar.storage import environment

ROOT = pathlib.Path(pathstar.__file__).parent.parent


def git(folder, *words):
  clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
  who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
  return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True, env=clean | who).stdout.strip()


@pytest.fixture
def project(tmp_path, monkeypatch):
  """A checkout of something else; the package is looked for at `inside`, below it."""
  git(tmp_path, "init", "-q")
  (tmp_path / "theirs.txt").write_text("theirs")
  git(tmp_path, "add", "theirs.txt")
  git(tmp_path, "commit", "-qm", "theirs")
  inside = tmp_path / "venv" / "site-packages" / "pathstar"
  inside.mkdir(parents=True)
  (inside / "__init__.py").write_text("")
  monkeypatch.setattr(environment, "_PACKAGE", inside)
  return tmp_path, inside


def test_an_installed_package_has_no_commit_of_the_project_around_it(project):
  place, inside = project
  assert environment.commit() == "unknown"
  # Nor where the project keeps it beside its own files, untracked.
  shutil.copytree(inside, place / "pathstar")
  environment._PACKAGE = place / "pathstar"
  assert environment.commit() == "unknown"
  git(place, "add", "pathstar")
  git(place, "commit", "-qm", "ours")
  assert environment.commit() == git(place, "rev-parse", "--short=12", "HEAD")
  (place / "pathstar" / "__init__.py").write_text("changed")
  assert environment.commit() == git(place, "rev-parse", "--short=12", "HEAD") + "+"


def test_variables_of_git_do_not_lead_elsewhere(project, monkeypatch):
  place, inside = project
  monkeypatch.setenv("GIT_DIR", str(place / ".git"))
  monkeypatch.setenv("GIT_WORK_TREE", str(place))
  assert environment.commit() == "unknown"


def test_what_is_recorded(monkeypatch):
  said = environment.environment()
  assert said["random"] == random.GENERATOR == "threefry2x32" and said["python"] and said["jax"] and said["devices"]
  if (ROOT / ".git").exists():
    assert re.fullmatch(r"[0-9a-f]{12}\+?", said["commit"])


def test_the_command_is_told_however_it_was_started_and_so_is_a_precision_from_outside(monkeypatch):
  monkeypatch.setattr("sys.argv", ["/somewhere/pathstar/__main__.py", "train", "--config=quickstart"])
  assert environment.environment()["command"] == "pathstar train --config=quickstart"
  assert "matmul_precision" not in environment.environment()
  with jax.default_matmul_precision("highest"):
    assert environment.environment()["matmul_precision"] == "highest"
