"""Fixture of the tests of single layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest


def close(got, want):
  return np.linalg.norm(np.asarray(got, np.float64) - want) <= 1e-5 * np.linalg.norm(want)


@pytest.fixture(scope="session")
def agree():
  """agree(module, reference, x (B, T, D)) asserts that outputs and all gradients of a layer are its float64 reference's.

  Norm-relative to 1e-5, float32 against float64; parameters move off their initial values first. The reference itself
  must agree with central differences of its outputs.
  """

  def check(module, reference, x):
    time, rng = x.shape[1], np.random.default_rng(x.shape[1])
    boxed = jax.jit(lambda key: module.init(key, x[:, :1], 1, 1)["params"])(jax.random.key(0))
    params = jax.tree.map(lambda p: np.float32(p + rng.normal(0, 0.2, p.shape)), jax.device_get(nn.meta.unbox(boxed)))
    x, w = (np.float32(rng.normal(size=x.shape)) for _ in range(2))

    def loss(params, x):
      y, _ = module.apply({"params": params}, x, time, time)
      return (y * w).sum(), y

    (d_params, dx), y = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, jnp.asarray(x))
    exact = {path: p.astype(np.float64) for path, p in by_path(params).items()}
    want, grads = reference(exact, x.astype(np.float64), w.astype(np.float64))
    assert close(y, want)
    got = by_path(d_params) | {"x": dx}
    assert got.keys() == grads.keys()
    for path, g in grads.items():
      assert close(got[path], g), path

    arrays = exact | {"x": x.astype(np.float64)}
    way = {path: 1e-6 * rng.normal(size=a.shape) for path, a in arrays.items()}
    shifted = [{path: a + sign * way[path] for path, a in arrays.items()} for sign in (1, -1)]
    ahead, behind = ((reference(a, a["x"], w)[0] * w).sum() for a in shifted)
    along = sum((grads[path] * way[path]).sum() for path in arrays)
    assert (ahead - behind) / 2 == pytest.approx(along, rel=1e-6)

  return check


def by_path(tree):
  """{"ssm/B": array, ...}"""
  return {"/".join(part.key for part in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
