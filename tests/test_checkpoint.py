"""Checkpoints come back as they were, the newest first, and only so many are kept."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.training.checkpoint import Checkpoints


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


def test_a_checkpoint_of_another_shape_is_not_taken_for_this_one(state, tmp_path):
  with opened(tmp_path) as checkpoints:
    checkpoints.save(1, state, {})
    checkpoints.wait()
  other = state | {"params": {"w": jnp.zeros((3, 3))}}
  with opened(tmp_path) as checkpoints, pytest.raises(ValueError, match="none of its checkpoints can be read"):
    checkpoints.restore(jax.eval_shape(lambda: other), shardings(other))
