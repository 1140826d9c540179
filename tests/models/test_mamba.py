"""Mamba against the paper's block in float64, its published size, and what the paper says of its initial values."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ssm_reference

from pathstar import models
from pathstar.errors import UserError
from pathstar.models.fields import ModelFields


@pytest.fixture(scope="module")
def layer(tiny):
  """layer(fields) -> the module, of width 16 unless fields say otherwise."""
  return lambda **fields: tiny({"model.mixer": "mamba", "model.positions": "none"} | {
      f"model.{name}": value for name, value in fields.items()}).model.mixer


@pytest.fixture(scope="module")
def initial(layer):
  """initial(fields) -> parameters by path, as NumPy arrays."""

  def make(**fields):
    module = layer(**fields)
    params = jax.jit(lambda key: nn.meta.unbox(
        module.init(key, jnp.zeros((1, 1, module.trunk.width)), 1, 1)["params"]))(jax.random.key(0))
    return {"/".join(part.key for part in path): np.asarray(leaf)
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)}

  return make


@pytest.mark.parametrize("time, batch", [(1, 3), (2, 5), (31, 3), (257, 1)])
@pytest.mark.parametrize("fields", [{}, {"mamba_expand": 3, "conv_width": 2}])
def test_outputs_and_gradients_are_those_of_the_papers_block(layer, agree, fields, time, batch):
  module = layer(width=18, num_heads=2, mamba_state=4, **fields)  # dt has rank ceil(18 / 16) = 2
  agree(module, ssm_reference.mamba, np.zeros((batch, time, 18), np.float32))


def test_the_smallest_published_model_has_its_number_of_parameters():
  fields, mixer = models.PRESETS["mamba_130m"], models.MIXERS["mamba"]
  trunk = ModelFields(**fields)
  model = models.LM(trunk, mixer(trunk.trunk(), parent=None), vocab_size=50_280, max_length=2048)
  assert sum(x.size for x in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)))) == 129_135_360


def test_parameters_have_the_shapes_that_the_reference_implementations_map_to(initial):
  shapes = {name: value.shape for name, value in initial(width=40, num_heads=2).items()}
  assert shapes == {
      "in_proj_x/kernel": (40, 80), "in_proj_z/kernel": (40, 80), "conv1d/taps": (4, 80), "conv1d/bias": (80,),
      "x_proj/kernel": (80, 3 + 32), "dt_proj/kernel": (3, 80), "dt_bias": (80,), "A_log": (80, 16), "D": (80,),
      "out_proj/kernel": (80, 40)}


def test_initial_values_are_the_papers(initial):
  width, depth = 512, 6
  params = initial(width=width, num_layers=3, num_loops=2)
  dt = np.log1p(np.exp(params["dt_bias"]))
  low, high = np.log(0.001), np.log(0.1)
  assert 0.00099 < dt.min() < 0.0011 and 0.09 < dt.max() < 0.101
  assert np.log(dt).mean() == pytest.approx((low + high) / 2, abs=0.15)
  assert np.log(dt).std() == pytest.approx((high - low) / 12**0.5, rel=0.06)
  np.testing.assert_allclose(-np.exp(params["A_log"]), np.tile(-np.arange(1.0, 17), (2 * width, 1)), rtol=1e-6)
  np.testing.assert_array_equal(params["D"], np.ones(2 * width))
  rank = width // 16
  assert np.abs(params["dt_proj/kernel"]).max() <= rank**-0.5
  assert params["dt_proj/kernel"].std() == pytest.approx((rank * 3)**-0.5, rel=0.02)
  assert np.abs(params["conv1d/taps"]).max() <= 4**-0.5
  # One write to the residual stream per block, six blocks applied one after another.
  assert params["in_proj_x/kernel"].std() == pytest.approx(width**-0.5, rel=0.02)
  assert params["out_proj/kernel"].std() == pytest.approx((2 * width * depth)**-0.5, rel=0.02)


def test_the_state_that_decoding_carries_does_not_grow_with_the_length(layer):
  module = layer()

  def cache(time):
    made = lambda key: module.init_with_output(key, jnp.zeros((2, time, 16)), 1, 10 * time)[0][1]
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(made, jax.random.key(0)))

  assert cache(8) == cache(80) == {"conv": (3, 2, 32), "state": (2, 16, 32)}


@pytest.mark.parametrize("fields, named", [
    ({"mamba_state": 0}, "model.mamba_state = 0: must be an integer >= 1"),
    ({"mamba_expand": 0}, "model.mamba_expand = 0"),
    ({"conv_width": 0}, "model.conv_width = 0"),
    ({"dt_min": 0.0}, "model.dt_min = 0.0: must be above 0 and below model.dt_max = 0.1"),
])
def test_fields_that_describe_no_layer_are_refused(layer, fields, named):
  with pytest.raises(UserError) as error:
    layer(**fields)
  assert named in str(error.value)
