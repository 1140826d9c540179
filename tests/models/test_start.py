"""Where the parameters of every mixer start, by the fields that say so: biases, the scale of positions, and no scaling by depth."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import models
from pathstar.models import layers

pytestmark = pytest.mark.slow

UNBIASED = ("x_proj", "dt_proj")  # Mamba's, which has dt_bias


@pytest.fixture(scope="module")
def start(tiny):
  """start(fields) -> (model, its initial parameters)."""

  def make(**fields):
    model = tiny({"model.num_layers": 2} | {f"model.{name}": value for name, value in fields.items()}).model
    return model, jax.jit(lambda key: nn.meta.unbox(model.init(key)))(jax.random.key(0))

  return make


def by_path(tree):
  return {"/".join(part.key for part in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("positions, std, want", [
    ("learned", None, 0.5), ("learned", 1.0, 1.0), ("learned", 0.0, 0.0), ("both", None, 0.1), ("both", 3.0, 3.0)])
def test_learned_positions_have_the_scale_that_they_are_given_and_all_else_stays(start, positions, std, want):
  _, params = start(positions=positions, position_std=std, width=128)
  assert params["positions"].std() == pytest.approx(want, rel=0.1)
  _, others = start(positions=positions, width=128)
  jax.tree.map(np.testing.assert_array_equal, params | {"positions": 0}, others | {"positions": 0})


@pytest.mark.parametrize("mixer", models.MIXERS)
def test_under_normal_no_parameter_knows_the_depth(start, mixer):
  blocks = lambda init: [start(mixer=mixer, init=init, num_layers=number)[1] for number in (2, 5)]
  shallow, deep = blocks("normal")
  for part in shallow.keys() - {"body"}:  # the same numbers drawn, so that they are equal if their scales are
    jax.tree.map(np.testing.assert_array_equal, shallow[part], deep[part])
  jax.tree.map(lambda x, y: np.testing.assert_array_equal(x.shape[1:], y.shape[1:]), shallow["body"], deep["body"])
  shallow, deep = blocks("gpt2")
  apart = {path for path, x in by_path(shallow["last"]).items() if not np.array_equal(x, by_path(deep["last"])[path])}
  assert "mlp/down/kernel" in apart  # there they do


@pytest.mark.parametrize("mixer", models.MIXERS)
def test_every_map_and_norm_has_a_bias_that_starts_at_0_and_nothing_else_changes(start, mixer):
  more = {"qk_norm": True} if mixer == "attention" else {}
  with_bias, without = (by_path(start(mixer=mixer, bias=bias, **more)[1]) for bias in (True, False))
  apart = {path for path in with_bias if path not in without}
  assert apart == {f"{path.rpartition('/')[0]}/bias" for path in with_bias
                   if path.endswith(("/kernel", "/scale")) and path.split("/")[-2] not in UNBIASED}
  for path, value in with_bias.items():
    np.testing.assert_array_equal(value, 0 if path in apart else without[path])


@pytest.mark.parametrize("mixer", ["attention", "s5_gated", "mamba"])
def test_biases_do_something_the_same_in_one_pass_as_token_by_token(start, mixer):
  model, params = start(mixer=mixer, bias=True, positions="both" if mixer == "attention" else "none")
  keys = iter(jax.random.split(jax.random.key(1), 100))
  moved = lambda path, x: 0.3 * jax.random.normal(next(keys), x.shape) if path[-1].key == "bias" else x
  params = jax.tree_util.tree_map_with_path(moved, params)
  tokens = jax.random.randint(jax.random.key(2), (2, 7), 0, 16)
  loss = lambda params: jnp.square(jax.nn.log_softmax(model.apply(params, tokens, 4)[0])).mean()
  for path, slope in by_path(jax.jit(jax.grad(loss))(params)).items():
    assert np.abs(slope).max() > 1e-9, path

  def decode(params):
    hidden, cache = model.prefill(params, tokens[:, :6], 7)
    return model.unembed(params, jnp.stack([hidden, model.step(params, tokens[:, 6], cache, 6)[0]], axis=1))

  np.testing.assert_allclose(jax.jit(decode)(params), model.apply(params, tokens, 2)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_a_map_of_an_objective_is_as_those_of_the_model(start, bias):
  model, _ = start(bias=bias)
  params = nn.meta.unbox(model.init_linear(jax.random.key(3), 16, 5))
  assert params.keys() == ({"kernel", "bias"} if bias else {"kernel"})
  params = jax.tree.map(lambda x: x + 1, params)
  x = jax.random.normal(jax.random.key(4), (2, 3, 16))
  want = np.asarray(x) @ np.asarray(params["kernel"]) + bias
  np.testing.assert_allclose(model.linear(params, x), want, rtol=1e-5, atol=1e-5)
  module = layers.Linear(5, ("embed", "mlp"), model.fields.trunk())
  np.testing.assert_allclose(module.apply({"params": params}, x), want, rtol=1e-5, atol=1e-5)
