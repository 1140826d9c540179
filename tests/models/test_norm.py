"""The norm's own gradient against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.models.layers import standardise


@pytest.mark.parametrize("centred", [True, False])
def test_the_gradient_of_a_norm_is_that_of_its_definition(centred):
  keys = jax.random.split(jax.random.key(0), 3)
  x, scale, g = (jax.random.normal(key, shape) for key, shape in zip(keys, ((2, 5, 8), (1, 1, 8), (2, 5, 8))))

  def defined(x, scale):
    y = x - x.mean(-1, keepdims=True) if centred else x
    return y / jnp.sqrt(jnp.square(y).mean(-1, keepdims=True) + 1e-5) * scale

  got, want = (jax.vjp(f, 3 * x + 1, scale) for f in (lambda x, scale: standardise(x, scale, centred, 1e-5), defined))
  np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6)
  for one, other in zip(got[1](g), want[1](g), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
