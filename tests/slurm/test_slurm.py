"""launch/slurm.sh on a real SLURM: a controller and two nodes of Debian's packages, on loopback, gone again after the test."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")


def missing() -> str | None:
  """Why there can be no cluster here, or None."""
  if absent := [program for program in PROGRAMS if shutil.which(program) is None]:
    return f"no {', '.join(absent)} (on Debian: apt-get install slurmctld slurmd slurm-client munge)"
  if os.geteuid() != 0:
    return "slurmd needs root"
  return None if (ROOT / ".venv" / "bin" / "pathstar").exists() else "launch/slurm.sh needs the checkout's own .venv"


def until(condition, what, seconds=600):
  end = time.monotonic() + seconds
  while not (found := condition()):
    assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
    time.sleep(0.2)
  return found


def output(*words) -> str:
  return subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout


@pytest.fixture
def cluster(tmp_path, monkeypatch):
  """A running cluster of nodes n0 and n1, which SLURM's commands find by $SLURM_CONF."""
  if reason := missing():
    print(reason)
    pytest.skip(reason)
  folder = tmp_path / "slurm"
  (folder / "state").mkdir(parents=True)
  conf = (pathlib.Path(__file__).parent / "slurm.conf").read_text()
  (folder / "slurm.conf").write_text(conf.replace("{DIR}", str(folder)).replace("{HOST}", socket.gethostname().split(".")[0]))
  key = folder / "munge.key"
  key.write_bytes(os.urandom(1024))
  key.chmod(0o400)
  monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
  munged = [f"--{name}={folder}/munge.{end}" for name, end in (
      ("socket", "socket"), ("key-file", "key"), ("log-file", "log"), ("pid-file", "pid"), ("seed-file", "seed"))]
  daemons = []
  try:
    for words in (["munged", "--foreground", "--force", *munged], ["slurmctld", "-D"],
                  ["slurmd", "-D", "-N", "n0"], ["slurmd", "-D", "-N", "n1"]):
      daemons.append(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True))
      if words[0] == "munged":
        until((folder / "munge.socket").exists, "munged", 30)
    until(lambda: output("sinfo", "-h", "-N", "-o", "%N %T").split() == ["n0", "idle", "n1", "idle"]
          if subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0 else False, "two idle nodes", 60)
    yield
    subprocess.run(["scancel", "--user=root"], check=True)
    until(lambda: not output("squeue", "-h"), "jobs to end", 60)
  finally:
    for daemon in reversed(daemons):
      os.killpg(daemon.pid, signal.SIGTERM)
      try:
        daemon.wait(20)
      except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


@pytest.mark.slow
def test_twelve_cells_over_two_nodes_and_a_requeued_task_resumes(cluster, tiny, tmp_path):
  config, out = tmp_path / "grid.py", tmp_path / "out"
  fields = tiny.fields | {"train.num_steps": 200, "train.log_every": 20, "train.checkpoint_every": 20, "eval.every": 100}
  config.write_text(
      f"from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config(arg=''):\n  return override(default(), {fields!r})\n\n"
      f"def sweep(arg=''):\n  return product({{'objective.name': ['next_token', 'teacherless'], 'seed': range(6)}})\n")
  submitted = output("bash", "launch/slurm.sh", f"--config={config}", f"--workdir={out}", "--shards=2", "--max_pack=3",
                     "--sbatch=--exclusive")
  job = re.search(r"Submitted batch job (\d+)", submitted)[1]
  log = out / "logs" / "slurm_0.log"
  first = lambda: [p for file in (out / "runs").glob("*/environment.json") if "--shard=0/2" in file.read_text()  # of task 0
                   for p in (out / "packs").glob(f"{file.parent.name}-x3/checkpoints/[0-9]*") if p.name.isdigit()]
  until(first, "a checkpoint")
  # What SLURM does at `--signal=B:TERM@120` before the time limit.
  output("scancel", "--signal=TERM", "--batch", f"{job}_0")
  until(lambda: "back to the queue" in log.read_text(), "the task to stop")
  until(lambda: not output("squeue", "-h"), "the array to end")
  said = log.read_text()
  assert "restart 1" in said and re.search(r"resuming from step \d+", said.partition("restart 1")[2])
  assert {re.search(r"on (n\d)", (out / "logs" / f"slurm_{i}.log").read_text())[1] for i in (0, 1)} == {"n0", "n1"}
  assert "restart" in (other := (out / "logs" / "slurm_1.log").read_text()) and "restart 1" not in other
  assert len(list((out / "runs").glob("*/result.json"))) == 12
