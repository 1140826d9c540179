"""Meshes of eight simulated devices compute what one device does, and no collective of a step crosses the runs."""

import json
import math
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest

from pathstar.devices.mesh import runs_apart

FIELDS = {"train.num_steps": 20, "train.steps_per_call": 1, "train.log_every": 20, "train.checkpoint_every": 20, "eval.every": 20,
          "model.num_layers": 2, "model.s5_state": 8, "model.mamba_state": 4}
MESHES = ("run=8", "data=8", "data=4,model=2", "run=2,data=2,model=2")
CASES = [("attention", mesh) for mesh in (*MESHES, "data=8,fsdp")]
CASES += [(mixer, mesh) for mixer in ("s5_gated", "mamba") for mesh in (MESHES[0], MESHES[-1])] + [("s5", MESHES[-1])]


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
  """What eight_devices.py found; devices are made up once per process, so it is one of its own."""
  script = pathlib.Path(__file__).parent / "eight_devices.py"
  argv = [sys.executable, script, json.dumps(tiny.fields | FIELDS), tmp_path_factory.mktemp("checkpoints")]
  done = subprocess.run(argv, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("mixer, mesh", CASES)
def test_losses_on_a_mesh_are_those_of_one_device(found, mixer, mesh):
  here = found[f"{mixer} on {mesh}"]
  assert here["start"] and here["losses"] == 20 and here["learned"] > 0.1
  assert here["error"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("mixer, mesh", CASES)
def test_no_collective_crosses_the_runs(found, mixer, mesh):
  crossed = found[f"{mixer} on {mesh}"]["collectives"]
  # The gradients' all-reduce is over data alone, and every axis that has something to share out is crossed.
  assert set(crossed) == {axis for axis in ("data", "model") if axis in mesh}


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["attention", "s5_gated", "mamba"])
def test_evaluations_of_a_pack_wait_for_no_other_run(found, mixer):
  assert found[f"evaluations of {mixer}"] == [{}, {}]


@pytest.mark.slow
def test_a_checkpoint_comes_back_on_another_mesh(found):
  assert found["restored"]


@pytest.mark.slow
def test_fsdp_leaves_each_device_an_eighth_of_the_state(found):
  assert found["share"] == pytest.approx(1 / 8, rel=0.02)


@pytest.mark.parametrize("platform, axes, size, apart", [
    ("cpu", {"run": 2}, 1, True), ("cpu", {"run": 1, "data": 2}, 1, False), ("tpu", {"run": 2}, 2**21, True),
    ("tpu", {"run": 2}, 2**18, False), ("tpu", {"run": 2, "data": 2}, 2**21, False), ("gpu", {"run": 2}, 2**21, False),
])
def test_a_device_that_a_run_fills_takes_its_runs_one_after_another(platform, axes, size, apart):
  devices = np.array([types.SimpleNamespace(platform=platform)] * math.prod(axes.values()))
  assert runs_apart(types.SimpleNamespace(devices=devices, size=len(devices), shape=axes), size) == apart
