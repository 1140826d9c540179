"""A job of two processes ends with 75 whichever of them is signalled, whenever, and goes on as if nothing had been.

PATHSTAR_SIGNAL_TRIALS=20 tries more moments than the suite has time for, PATHSTAR_SIGNAL_SEED=2 others.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pytest

from pathstar.storage import workdir
from pathstar.training import metrics

TRIALS = int(os.environ.get("PATHSTAR_SIGNAL_TRIALS", "2"))
SEED = int(os.environ.get("PATHSTAR_SIGNAL_SEED", "1"))
STEPS = 150 * TRIALS + 120  # more than are trained in so many trials
MESH = "data=2"


@pytest.fixture
def start(tiny, tmp_path):
  """start(folder, *words) -> the two processes of a job that trains there."""
  file = tmp_path / "config.py"
  fields = tiny.fields | {"train.num_steps": STEPS, "train.log_every": 25, "train.checkpoint_every": 100, "eval.every": 250, "mesh": MESH}
  file.write_text(f"from pathstar.config import default, override\n\ndef get_config(arg=''):\n  return override(default(), {fields!r})\n")

  def start(folder):
    port = free_port()
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "JAX_ENABLE_COMPILATION_CACHE": "0"}
    return [subprocess.Popen([sys.executable, "-m", "pathstar", "train", f"--config={file}", f"--workdir={folder}",
                              f"--distributed=localhost:{port},2,{i}"], stderr=subprocess.PIPE, text=True, env=environment)
            for i in range(2)]

  return start


def free_port():
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return free.getsockname()[1]


def listens(process):
  """Whether the process has taken SIGTERM and SIGINT for itself."""
  try:
    with open(f"/proc/{process.pid}/status") as file:
      caught = int(next(line for line in file if line.startswith("SigCgt")).split()[1], 16)
  except OSError:
    return False
  return all(caught >> number - 1 & 1 for number in (signal.SIGTERM, signal.SIGINT))


def ended(*processes):
  return [(process.communicate()[1], process.returncode) for process in processes]


def timeless(folder):
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(folder)]


@pytest.mark.slow
def test_whoever_is_signalled_the_job_saves_and_ends_and_goes_on(start, tmp_path):
  assert [status for _, status in ended(*start(tmp_path / "whole"))] == [0, 0]
  folder, chance, seconds, moments = tmp_path / "run", random.Random(SEED), [], []
  for trial in range(TRIALS):
    job = start(folder)
    while not all(listens(process) for process in job):
      assert all(process.poll() is None for process in job), ended(*job)
      time.sleep(0.01)
    rows = lambda: len(metrics.read(folder)) if (folder / workdir.METRICS).exists() else 0
    before = rows()
    if trial % 2:  # while it trains, else at any time before
      while rows() <= before:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.5 if trial % 2 else 8))
    number, whom = chance.choice((signal.SIGTERM, signal.SIGINT)), chance.choice(([0], [1], [0, 1]))
    assert all(process.poll() is None for process in job), ended(*job)
    begin = time.monotonic()
    for i in whom:
      job[i].send_signal(number)
    said = ended(*job)
    seconds.append(time.monotonic() - begin)
    moments.append((number.name, whom, round(seconds[-1], 1), [text.strip().splitlines()[-1:] for text, _ in said]))
    print(moments[-1], flush=True)
    assert [status for _, status in said] == [75, 75], (moments, said)
  assert max(seconds) < 10 * max(1.0, os.getloadavg()[0] / os.cpu_count()), moments  # on a machine that has other work, its share of it
  assert [status for _, status in ended(*start(folder))] == [0, 0]
  result = lambda of: {k: v for k, v in json.loads((of / workdir.RESULT).read_text()).items() if k != "train_seconds"}
  assert timeless(folder) == timeless(tmp_path / "whole") and result(folder) == result(tmp_path / "whole")


BUSY = """
import ctypes, sys, time
from pathstar.devices import hosts
from pathstar.training import signals
signals.listen(job=True)
hosts.join(sys.argv[1])
signals.joined(hosts.leave_together(signals.leave))
print("joined", file=sys.stderr, flush=True)
while True:
  if sys.argv[1].endswith(",1"):
    ctypes.PyDLL(None).usleep(900_000)  # keeps the interpreter for itself, as tracing and lowering do
  time.sleep(0.01)
"""


@pytest.mark.parametrize("whom", [0, 1])
def test_a_process_that_is_slow_to_hear_of_it_is_waited_for(whom):
  port = free_port()
  job = [subprocess.Popen([sys.executable, "-c", BUSY, f"localhost:{port},2,{i}"], stderr=subprocess.PIPE, text=True) for i in range(2)]
  for process in job:
    while "joined" not in process.stderr.readline():
      assert process.poll() is None
  job[whom].send_signal(signal.SIGTERM)
  said = ended(*job)
  assert [status for _, status in said] == [75, 75], said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_there_is_anything_to_save_a_process_ends_at_once(tmp_path, number):
  process = subprocess.Popen([sys.executable, "-m", "pathstar", "train", "--config=default", f"--workdir={tmp_path / 'run'}"],
                             stderr=subprocess.PIPE, text=True)
  while not listens(process):  # from before it loads JAX
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(number)
  [(said, status)] = ended(process)
  assert status == 75 and said.endswith("stopped by a signal; the same command goes on\n")
