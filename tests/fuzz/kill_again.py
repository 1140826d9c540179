"""Run by test_kills.py: starts a sweep again and again, kills it with SIGKILL at random moments, and says how often it did.

Its arguments: the config file, a folder, how many kills. A process that has imported everything forks; its children find devices and train.
"""

import os
import pathlib
import random
import signal
import sys
import time

from pathstar.commands import cli
from pathstar.commands import sweep as sweep_command


def start(config, folder, log):
  if child := os.fork():
    return child
  os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
  os.dup2(1, 2)
  os._exit(cli.run(sweep_command.main, [f"--config={config}", f"--workdir={folder}", "--max_pack=2"]))


def main(config, root, kills):
  chance, killed, sweeps, root = random.Random(0), 0, 0, pathlib.Path(root)
  begin = time.monotonic()
  assert os.waitpid(start(config, root / "whole", root / "log"), 0)[1] == 0
  whole = time.monotonic() - begin
  while killed < kills:
    sweeps += 1
    while True:  # until it is done; the last time it is left alone
      child, wait = start(config, root / str(sweeps), root / "log"), chance.uniform(0.2, 0.9) * whole
      end = time.monotonic() + (wait if killed < kills else 1e9)
      ended, status = 0, 0
      while not ended and time.monotonic() < end:
        time.sleep(0.005)
        ended, status = os.waitpid(child, os.WNOHANG)
      if ended:
        assert status == 0, status
        break
      os.kill(child, signal.SIGKILL)
      os.waitpid(child, 0)
      killed += 1
  print(killed, sweeps)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
