"""Two processes of four devices each compute, write and stop as one process of eight does."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from pathstar import config
from pathstar.commands.cli import EXIT_STOPPED
from pathstar.devices import hosts
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.storage.locks import lock
from pathstar.sweeps.folder import prepare
from pathstar.sweeps.packs import plan
from pathstar.training import metrics

FIELDS = {"train.num_steps": 200, "train.steps_per_call": 2, "train.log_every": 20, "train.checkpoint_every": 100, "eval.every": 100,
          "eval.num_examples": 8}
RUN = pathlib.Path(__file__).parent / "one_process.py"


def together(processes, arguments):
  """Exit status, output and errors of processes started at once by arguments(i, what --distributed says); 8 devices in all."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    port = free.getsockname()[1]
  started = []
  for i in range(processes):
    how = f"localhost:{port},{processes},{i}" if processes > 1 else None
    # Without the cache: only the first process may write there, and the second would compile while the first waits for it.
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(8 // processes), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    started.append(subprocess.Popen([sys.executable, *map(str, arguments(i, how))], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    text=True, env=environment))
  ended = [process.communicate(timeout=300) for process in started]
  return [process.returncode for process in started], [out for out, _ in ended], [error for _, error in ended]


@pytest.fixture(scope="module")
def job(tiny):
  """job(folder, processes, mesh, stop_at) -> exit statuses, outputs and standard errors of a pack's processes."""
  return lambda folder, processes, mesh, stop_at=None: together(processes, lambda i, how: [
      RUN, json.dumps([tiny.fields | FIELDS, mesh, str(folder), how, stop_at if i == processes - 1 else None])])


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
  """The folder of a run of one process."""
  folder = tmp_path_factory.mktemp("one")
  status, out, error = job(folder, 1, "data=8")
  assert status == [0] and out[0].endswith("2\n"), error
  return folder


def same(folder, whole):
  for seed in ("0", "1"):
    rows, wanted = ([{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(f / "runs" / seed)]
                    for f in (folder, whole))
    assert [list(row) for row in rows] == [list(row) for row in wanted]
    for row, want in zip(rows, wanted, strict=True):
      assert row.get("train/loss", 0.0) == pytest.approx(want.get("train/loss", 0.0), rel=2e-3)
    results = [json.loads((f / "runs" / seed / workdir.RESULT).read_text()) for f in (folder, whole)]
    assert results[0].keys() == results[1].keys() and results[0]["status"] == "done"
    assert results[0]["eval/test/loss"] == pytest.approx(results[1]["eval/test/loss"], rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["run=2,data=4", "run=2,data=2,model=2"])
def test_two_processes_are_one(job, whole, tmp_path, mesh):
  status, out, error = job(tmp_path, 2, mesh)
  assert status == [0, 0], error
  assert out[0].endswith("2\n") and out[1].endswith("0\n")  # the first process writes and returns the results
  same(tmp_path, whole)


@pytest.mark.slow
def test_sigterm_to_one_stops_both_and_one_process_goes_on(job, whole, tmp_path):
  status, _, error = job(tmp_path, 2, "data=8", stop_at=20)
  assert status == [EXIT_STOPPED] * 2, error
  [step] = {re.search(r"stopped by a signal at step (\d+) of 200", text)[1] for text in error}
  assert 20 <= int(step) < 200
  status, _, error = job(tmp_path, 1, "data=4,model=2")
  assert status == [0] and f"resuming from step {step}" in error[0]
  same(tmp_path, whole)


@pytest.mark.slow
def test_what_one_process_refuses_both_refuse(job, tmp_path):
  (tmp_path / "runs" / "1").mkdir(parents=True)
  (tmp_path / "runs" / "1" / "thesis.tex").write_text("")
  status, _, error = job(tmp_path, 2, "data=8")
  assert status == [2, 2] and all("not a run's folder (it holds 'thesis.tex')" in text for text in error)


@pytest.mark.slow
def test_devices_of_other_processes_are_not_left_out(job, tmp_path):
  status, _, error = job(tmp_path, 2, "run=2")
  assert status == [2, 2] and all("must be of all 8 devices, since they belong to several processes" in text for text in error)


@pytest.mark.slow
def test_a_sweep_by_two_processes_passes_over_what_another_holds_and_is_finished_later(tiny, tmp_path):
  grid, folder = tmp_path / "grid.py", tmp_path / "out"
  grid.write_text(
      f"from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
      f"def sweep(arg=''):\n  return product({{'objective.name': ['next_token', 'teacherless'], 'seed': range(2)}})\n")
  base, module, arg, _ = config.load(str(grid))
  held = plan(base, module.sweep(arg))[0]
  arguments = lambda i, how: ["-m", "pathstar", "sweep", f"--config={grid}", f"--workdir={folder}", f"--distributed={how}"]
  prepare(folder, plan(base, module.sweep(arg)))
  with lock(workdir.make(folder / "packs" / held.pack_id)):
    status, out, error = together(2, arguments)
  assert status == [0, 0], error
  assert all("2 of 4 runs finished" in text and "2 more are in the hands of other processes" in text for text in out)
  status, out, error = together(2, arguments)
  assert status == [0, 0] and all("4 of 4 runs finished" in text for text in out), error
  assert len(list(folder.glob("runs/*/result.json"))) == 4


@pytest.mark.parametrize("how", ["here", "here:1,2", "here:1,2,2", "here:1,a,0", "here,2,0", ":1,2,0", "here:abc,2,0", "here:99999,2,0",
                                 "here:99999,2,1", "here:0,2,0", "here:²,2,0", "here:1,²,0"])
def test_a_process_is_described_in_full(how):
  with pytest.raises(UserError, match="--distributed = .* must be ADDRESS:PORT,COUNT,ID"):
    hosts.join(how)
