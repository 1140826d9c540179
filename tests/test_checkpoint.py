"""Checkpoints come back as they were, the newest first, and only so many are kept."""

import contextlib
import errno
import os
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from pathstar.errors import Outage
from pathstar.training.checkpoint import Checkpoints, digest


@pytest.fixture
def state():
  return {"params": {"w": jnp.arange(6.0).reshape(2, 3)}, "opt": (jnp.int32([4, 5]),), "step": jnp.int32([7, 7])}


def shardings(state):
  return jax.tree.map(lambda x: x.sharding, state)


@contextlib.contextmanager
def opened(folder, keep=2):
  checkpoints = Checkpoints(folder, keep)
  yield checkpoints
  checkpoints.close()


def test_what_is_restored_is_the_newest_as_it_was_saved(state, tmp_path):
  with opened(tmp_path) as checkpoints:
    for step in (10, 20):
      checkpoints.save(step, jax.tree.map(lambda x: x * step, state), {"train_seconds": step / 8})
    checkpoints.wait()
  with opened(tmp_path) as checkpoints:
    step, restored, extra = checkpoints.restore(jax.eval_shape(lambda: state), shardings(state))
  assert step == 20 and extra == {"train_seconds": 2.5}
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  for got, want in zip(jax.tree.leaves(restored), jax.tree.leaves(state)):
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want * 20)


def test_an_empty_folder_has_nothing_to_restore(state, tmp_path):
  with opened(tmp_path / "new") as checkpoints:
    assert checkpoints.restore(jax.eval_shape(lambda: state), shardings(state)) is None


@pytest.mark.parametrize("keep", [2, 3])
def test_only_the_newest_are_kept(state, tmp_path, keep):
  with opened(tmp_path, keep) as checkpoints:
    for step in range(1, 6):
      checkpoints.save(step, state, {})
    checkpoints.wait()
  assert sorted(int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()) == list(range(6 - keep, 6))


@pytest.mark.parametrize("part, waiting, seen_by", [
    ("async_save", ["save"], "save"),  # of Orbax: while training waits ...
    ("finalize", ["save", "save"], "save"), ("finalize", ["save", "wait"], "wait"), ("finalize", ["save"], "close"),  # in the background
])
def test_what_can_not_be_written_is_said_once(state, tmp_path, part, waiting, seen_by):
  checkpoints, said = Checkpoints(tmp_path, 2), []
  checkpoints.save(10, state, {})
  checkpoints.wait()
  with mock.patch.object(ocp.StandardCheckpointHandler, part, side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
    for number, name in enumerate([*waiting, "close"]):
      try:
        getattr(checkpoints, name)(*((20 + number, state, {}) if name == "save" else ()))
      except Outage as error:
        said.append((name, str(error)))
  assert said == [(seen_by, f"{tmp_path}: a checkpoint can't be written (no space left on device); the same command goes on from the one "
                            "before")]
  with opened(tmp_path) as checkpoints:
    assert checkpoints.steps == [10]


def test_a_checkpoint_of_another_shape_is_not_taken_for_this_one(state, tmp_path):
  with opened(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.wait()
  other = state | {"params": {"w": jnp.zeros((3, 3))}}
  with opened(tmp_path) as checkpoints, pytest.raises(ValueError, match="none of its checkpoints can be read"):
    checkpoints.restore(jax.eval_shape(lambda: other), shardings(other))


def test_any_other_bit_gives_another_digest():
  rng = np.random.default_rng(0)
  state = {"f": rng.normal(size=(2, 3, 5)).astype(np.float32), "i": rng.integers(-9, 9, (2, 7)).astype(np.int32), "r": np.float32([1, 2]),
           "b": np.array([[True, False], [False, True]]), "h": jnp.ones((2, 4), jnp.bfloat16)}
  whole = digest(jax.tree.map(jnp.asarray, state))
  assert all(len(numbers) == 2 for numbers in whole.values())
  for trial in range(200):
    name = ["f", "i", "r"][trial % 3]
    other = {k: np.array(v) for k, v in state.items() if k != "h"} | {"h": state["h"]}
    flat = other[name].view(np.uint32).reshape(2, -1)
    run, place, bit = rng.integers(2), rng.integers(flat.shape[1]), rng.integers(32)
    flat[run, place] ^= np.uint32(1) << np.uint32(bit)
    found = digest(jax.tree.map(jnp.asarray, other))
    changed = [(leaf, r) for leaf in whole for r in range(2) if whole[leaf][r] != found[leaf][r]]
    assert changed == [(f"['{name}']", run)]  # that leaf of that run, and no other
  swapped = state | {"f": state["f"][:, ::-1]}
  assert digest(jax.tree.map(jnp.asarray, swapped)) != whole


def test_a_checkpoint_with_other_numbers_counts_as_torn(state, tmp_path, monkeypatch, caplog):
  with opened(tmp_path, 3) as checkpoints:
    checkpoints.save(10, state, {"train_seconds": 1.0})
    monkeypatch.setattr("pathstar.training.checkpoint.digest", lambda state: {"['step']": [1, 2]})  # as if other numbers had been written
    checkpoints.save(20, state, {})
    checkpoints.wait()
  monkeypatch.undo()
  with opened(tmp_path, 3) as checkpoints:
    step, _, extra = checkpoints.restore(jax.eval_shape(lambda: state), shardings(state))
  assert step == 10 and extra == {"train_seconds": 1.0}
  assert "are not those that were saved" in caplog.text and (tmp_path / "20.corrupt").is_dir()


def test_setting_aside_works_any_number_of_times(state, tmp_path):
  for _ in range(3):
    with opened(tmp_path, 3) as checkpoints:
      for step in (10, 20):
        if step not in checkpoints._manager.all_steps():
          checkpoints.save(step, state, {})
      checkpoints.wait()
    for file in (tmp_path / "20" / "state").rglob("*"):
      if file.is_file() and file.stat().st_size > 8:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with opened(tmp_path, 3) as checkpoints:
      assert checkpoints.restore(jax.eval_shape(lambda: state), shardings(state))[0] == 10
  assert {p.name for p in tmp_path.iterdir()} >= {"10", "20.corrupt", "20.corrupt.2", "20.corrupt.3"}
