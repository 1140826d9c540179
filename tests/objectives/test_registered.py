"""Objectives with heads and in any order, really trained: on two meshes, through a kill, reported with the numbers that they generate."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

FIELDS = {
    "task.length": 3, "task.num_nodes": 7, "data.num_train": 300, "data.num_test": 40, "model.num_layers": 2, "model.width": 32,
    "train.num_steps": 160, "train.steps_per_call": 10, "train.log_every": 40, "train.checkpoint_every": 80, "train.batch_size": 16,
    "eval.every": 80, "eval.num_examples": 40, "optimizer.learning_rate": 6e-3,
}
CASES = {
    "multi_token": {"objective.name": "multi_token", "objective.k": 3},
    "masked_diffusion_full": {"objective.name": "masked_diffusion"},
    "masked_diffusion_prefix": {"objective.name": "masked_diffusion", "objective.mask": "prefix", "objective.num_passes": 2},
}
MESHES = ("model=2", "data=2,fsdp")


@pytest.fixture(scope="module")
def found(tiny, tmp_path_factory):
  script = pathlib.Path(__file__).parent / "on_meshes.py"
  cases = json.dumps({name: tiny.fields | FIELDS | fields for name, fields in CASES.items()})
  done = subprocess.run([sys.executable, script, cases, tmp_path_factory.mktemp("runs")], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_killed_and_started_again_it_ends_bit_for_bit_the_same(found, name):
  whole, killed = found[f"{name} on {MESHES[-1]}"]
  assert whole == killed and whole[0]["status"] == "done" and whole[0]["steps"] == 160


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_meshes_agree_and_it_learns(found, name):
  one, other = (found[f"{name} on {mesh}"][0][1] for mesh in MESHES)
  losses = [[row["train/loss"] for row in rows if "train/loss" in row] for rows in (one, other)]
  np.testing.assert_allclose(*losses, rtol=1e-2)  # after 160 steps of rounding
  assert losses[0][-1] < 0.7 * losses[0][0]
  assert (name == "multi_token") == any("train/loss_head_3" in row for row in one)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_reported_is_what_is_generated(found, name):
  result, rows = found[f"{name} on {MESHES[0]}"][0]
  for split in ("test", "train"):
    assert result[f"eval/{split}/exact_match"] == pytest.approx(result[f"eval/{split}/generated_exact_match"], abs=1e-6)
    for k in range(3) if "masked" in name else ():
      assert result[f"eval/{split}/position_{k}/accuracy"] == result[f"eval/{split}/position_{k}/generated_accuracy"]
  assert result["eval/train/exact_match"] > 0.2  # it does learn something
  if "masked" in name:  # and only where it was generated
    assert [row["step"] for row in rows if "eval/test/exact_match" in row] == [0, 160]
    assert result["parameters"] == result["parameters_used"] and "eval/test/cheat_accuracy" not in result
  else:
    assert result["parameters"] > result["parameters_used"]
