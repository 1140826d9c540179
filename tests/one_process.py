"""Run by test_multihost.py: trains a pack of two as one process of a job.

Its argument is JSON: config fields, mesh, folder, what --distributed would say, and the step at which it gets SIGTERM (or null).
"""

import json
import os
import pathlib
import signal
import sys

from pathstar import config
from pathstar.commands import cli
from pathstar.devices import hosts
from pathstar.training import train


def main(argv):
  fields, mesh, folder, distributed, stop_at = json.loads(argv[0])
  hosts.join(distributed)
  push = train.Recorder.push

  def pushed(recorder, step, *args, **kwargs):
    push(recorder, step, *args, **kwargs)
    if step == stop_at:
      os.kill(os.getpid(), signal.SIGTERM)

  train.Recorder.push = pushed
  configs = [config.resolve(config.override(config.default(), fields | {"seed": seed, "mesh": mesh}), given=()) for seed in range(2)]
  folder = pathlib.Path(folder)
  print(len(train.train(configs, [folder / "runs" / str(seed) for seed in range(2)], folder / "checkpoints")))
  return 0


sys.exit(cli.run(main, sys.argv[1:]))
