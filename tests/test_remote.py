"""A remote workdir holds what a local one does; a local folder stands in for the object store."""

import json
import pathlib

import pytest
from etils import epath
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pathstar.storage import workdir
from pathstar.storage.locks import _no_locks, lock
from pathstar.training import metrics, train
from pathstar.training.checkpoint import Checkpoints


def rows(folder):
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(folder)]


def losses(folder):
  events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
  events.Reload()
  return [(e.step, e.value) for e in events.Scalars("train/loss")]


def test_remote_paths_keep_their_scheme():
  assert str(workdir.path("gs://bucket/runs") / "a") == "gs://bucket/runs/a" and workdir.is_remote(workdir.path("gs://bucket/runs"))
  assert isinstance(workdir.path("runs/a"), pathlib.Path) and not workdir.is_remote("runs/a")


def test_checkpoints_of_a_remote_run_are_remote(monkeypatch):
  given = []
  monkeypatch.setattr("orbax.checkpoint.CheckpointManager", lambda folder, options: given.append(str(folder)))
  Checkpoints(workdir.path("gs://bucket/run") / "checkpoints", keep=2)
  assert given == ["gs://bucket/run/checkpoints"]


@pytest.fixture
def bucket(tmp_path, monkeypatch):
  """A folder that counts as remote."""
  monkeypatch.setattr(workdir, "is_remote", lambda folder: "bucket" in str(folder))
  monkeypatch.setattr("tempfile.tempdir", str(workdir.make(tmp_path / "local")))
  return workdir.path(tmp_path / "bucket")


@pytest.mark.slow
def test_a_remote_run_resumed_ends_with_the_files_of_a_local_one(tiny, tmp_path, bucket, monkeypatch):
  assert isinstance(bucket, epath.Path)
  [local] = train.train([tiny()], [tmp_path / "here"], tmp_path / "here" / "checkpoints")
  save = Checkpoints.save

  def save_and_die(self, step, state, extra):
    # What a checkpoint stands for is in the remote folder before it is.
    assert [row["step"] for row in metrics.read(bucket)] == [0, 5, 10] and [step for step, _ in losses(bucket)] == [5, 10]
    save(self, step, state, extra)
    self.wait()
    raise KeyboardInterrupt

  monkeypatch.setattr(Checkpoints, "save", save_and_die)
  with pytest.raises(KeyboardInterrupt):
    train.train([tiny()], [bucket], bucket / "checkpoints")
  monkeypatch.setattr(Checkpoints, "save", save)
  [remote] = train.train([tiny()], [bucket], bucket / "checkpoints")
  timeless = lambda result: {k: v for k, v in result.items() if k != "train_seconds"}
  assert timeless(remote) == timeless(local) == timeless(json.loads((bucket / workdir.RESULT).read_text()))
  assert rows(bucket) == rows(tmp_path / "here") and losses(bucket) == losses(tmp_path / "here")
  assert not list((tmp_path / "local").iterdir())  # nothing is left behind


def test_a_file_system_without_locks_is_said_and_used(tmp_path, monkeypatch, capsys):
  _no_locks.cache_clear()

  def flock(file, how):
    raise OSError(95, "Operation not supported")

  monkeypatch.setattr("fcntl.flock", flock)
  with lock(tmp_path):
    assert "no locks on this file system (Operation not supported)" in capsys.readouterr().err
