"""Run by test_bucket.py: a sweep on gs://, whose bucket is a local folder, and in which training takes a moment and does nothing.

Arguments: that folder, seconds that a claim lasts, seconds that a pack takes, and the words of `pathstar sweep`. What is trained is said on
a line when it begins and when it is done.
"""

import os
import pathlib
import sys
import time

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pathstar.commands import cli, sweep
from pathstar.storage import leases, workdir
from pathstar.sweeps import execute


class Bucket(LocalFileSystem):
  """Objects that are whole or absent, and that can be created only if absent."""

  protocol = ("gs", "gcs")
  root = ""

  @classmethod
  def _strip_protocol(cls, path):
    path = str(path)
    return path if path.startswith(cls.root) else f"{cls.root}/{path.partition('://')[2] or path}".rstrip("/")

  def _open(self, path, mode="rb", **kwargs):
    if "w" not in mode:
      return super()._open(path, mode, **kwargs)
    file = super()._open(self._aside(path), mode, **kwargs)
    close = file.close
    file.close = lambda: (close(), os.replace(file.path, path))
    return file

  def pipe_file(self, path, value, mode="overwrite", **kwargs):
    path = self._strip_protocol(path)
    aside = pathlib.Path(self._aside(path))
    aside.write_bytes(value)
    if mode == "create":
      try:
        os.link(aside, path)  # fails where there is one
      finally:
        aside.unlink()
    else:
      os.replace(aside, path)

  def _aside(self, path):
    os.makedirs(f"{self.root}.aside", exist_ok=True)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return f"{self.root}.aside/{time.monotonic_ns()}.{os.getpid()}"


def train(configs, folders, checkpoints, inherited, progress, ahead):
  name = checkpoints.parent.name
  say = lambda word: print(f"{word} {name}", flush=True)
  say("begins")
  time.sleep(float(sys.argv[3]))
  for config, folder in zip(configs, folders):
    workdir.write_json(workdir.make(folder) / workdir.RESULT, {"status": "done", "steps": config.train.num_steps, "train_seconds": 1.0})
  say("ends")


if __name__ == "__main__":
  Bucket.root, leases.LEASE_S = sys.argv[1], float(sys.argv[2])
  for name in Bucket.protocol:
    fsspec.register_implementation(name, Bucket, clobber=True)
  execute.train = train
  sys.exit(cli.run(sweep.main, sys.argv[4:]))
