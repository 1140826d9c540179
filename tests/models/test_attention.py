"""Attention against its definition in NumPy, and the property that rotary positions are for."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.errors import UserError
from pathstar.models.attention import attend, rotate


def test_attention_is_its_definition(tiny):
  module = tiny({"model.positions": "none", "model.num_heads": 4}).model.mixer
  x = np.random.default_rng(0).normal(size=(6, 16)).astype(np.float32)
  params = jax.tree.map(np.asarray, jax.device_get(module.init(jax.random.key(0), x[None], 6, 6)))
  kernel = {name: part["kernel"].value for name, part in params["params"].items()}
  q, k, v = (x @ kernel[name] for name in ("query", "key", "value"))
  out = np.zeros((6, 16))
  for head in range(4):
    part = slice(4 * head, 4 * head + 4)
    for t in range(6):
      score = np.array([q[t, part] @ k[s, part] / 2 for s in range(t + 1)])
      weight = np.exp(score - score.max())
      out[t, part] = weight / weight.sum() @ v[:t + 1, part]
  got, _ = module.apply(params, x[None], 6, 6)
  np.testing.assert_allclose(got[0], out @ kernel["out"], rtol=1e-4, atol=1e-5)


def test_the_gradient_of_attention_is_that_of_its_definition():
  keys = jax.random.split(jax.random.key(0), 4)
  q, k, v, g = (jax.random.normal(key, (2, length, 3, 4)) for key, length in zip(keys, (3, 5, 5, 3)))
  mask = jnp.arange(5)[None] <= jnp.arange(2, 5)[:, None]

  def defined(q, k, v):
    score = jnp.where(mask, jnp.einsum("blhk,bthk->bhlt", q, k), -jnp.inf)
    return jnp.einsum("bhlt,bthk->blhk", jax.nn.softmax(score), v)

  got, want = (jax.vjp(f, q, k, v) for f in (lambda q, k, v: attend(q, k, v, mask), defined))
  np.testing.assert_allclose(got[0], want[0], rtol=1e-5, atol=1e-6)
  for one, other in zip(got[1](g), want[1](g), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("free_from", [None, 2])
def test_sequences_in_one_row_do_not_see_each_other(tiny, free_from):
  module = tiny({"model.positions": "rope", "model.token_shift": True}).model.mixer
  x = jax.random.normal(jax.random.key(0), (4, 5, 16))
  params = nn.meta.unbox(module.init(jax.random.key(1), x, 5, 5))
  want = module.apply(params, x, 5, 7, free_from)
  got = module.apply(params, x.reshape(2, 10, 16), 5, 7, free_from, per_row=2)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x.reshape(y.shape), y, rtol=1e-4, atol=1e-5), got, want)


def test_rotary_scores_depend_on_the_distance_alone_and_lengths_stay():
  q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
  score = lambda m, n: float((rotate(q, jnp.array([m]), 100.0) * rotate(k, jnp.array([n]), 100.0)).sum())
  assert score(3, 1) == pytest.approx(score(12, 10), abs=1e-4)
  assert abs(score(3, 1) - score(3, 2)) > 1e-2
  assert jnp.linalg.norm(rotate(q, jnp.array([9]), 100.0)) == pytest.approx(float(jnp.linalg.norm(q)), rel=1e-5)
  np.testing.assert_allclose(rotate(q, jnp.array([0]), 100.0), q, rtol=1e-6)


def test_rotary_angles_follow_the_paper():
  # theta_i = base^(-2i / K) for pair (i, i + K/2), here K = 4, base 100, position 3.
  got = rotate(jnp.ones((1, 1, 1, 4)), jnp.array([3]), 100.0)[0, 0, 0]
  a, b = 3.0, 3 * 100**-0.5
  want = [np.cos(a) - np.sin(a), np.cos(b) - np.sin(b), np.sin(a) + np.cos(a), np.sin(b) + np.cos(b)]
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_normalised_queries_and_keys_forget_the_size_of_their_maps(tiny):
  module = tiny({"model.qk_norm": True}).model.mixer
  x = 3 * jax.random.normal(jax.random.key(0), (1, 6, 16))
  params = jax.device_get(module.init(jax.random.key(1), x, 6, 6))
  larger = jax.tree.map(lambda x: x, params)
  for name in ("query", "key"):
    larger["params"][name] = jax.tree.map(lambda x: 10 * x, params["params"][name])
  np.testing.assert_allclose(module.apply(params, x, 6, 6)[0], module.apply(larger, x, 6, 6)[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fields, named", [
    ({"model.num_heads": 3}, "model.num_heads = 3: must be a divisor of model.width = 16"),
    ({"model.num_heads": 0}, "model.num_heads = 0"),
    ({"model.num_heads": 16, "model.positions": "rope"}, "even width"),
    ({"model.rope_base": 1.0, "model.positions": "both"}, "model.rope_base = 1.0"),
])
def test_fields_that_do_not_fit_the_trunk_are_refused(tiny, fields, named):
  with pytest.raises(UserError) as error:
    tiny(fields)
  assert named in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [
    {"positions": "learned"}, {"positions": "rope"},
    {"positions": "both", "token_shift": True, "num_layers": 1, "num_loops": 2, "inject": True, "qk_norm": True}], ids=str)
@pytest.mark.parametrize("ahead", [0, 2])
def test_tokens_beside_the_sequence_are_each_as_if_the_sequence_ended_there(tiny, fields, ahead):
  model = tiny({f"model.{name}": value for name, value in ({"num_layers": 2} | fields).items()}).model
  params = nn.meta.unbox(model.init(jax.random.key(0)))
  tokens = jax.random.randint(jax.random.key(1), (2, 8), 0, 16)
  beside = jnp.array([[11, 12, 13], [12, 15, 11]])
  number, start = 3, 6  # after tokens 5, 6, 7 come the positions 6, 7, 8
  whole, found = jax.jit(model.hidden_beside)(params, tokens, beside, jnp.int32(start + ahead))
  np.testing.assert_allclose(whole, model.hidden(params, tokens, number), rtol=2e-5, atol=2e-5)
  if ahead and fields["positions"] != "learned":
    return  # a rotary position can't be had without the tokens before it
  for i in range(number):
    # `ahead` positions further: what stands in the table there, at the place that comes next.
    there = dict(params)
    if "positions" in params:
      there["positions"] = params["positions"].at[start + i].set(params["positions"][start + i + ahead])
    alone = jnp.concatenate([tokens[:, :start + i], beside[:, i:i + 1]], axis=1)
    np.testing.assert_allclose(found[:, i], model.hidden(there, alone, 1)[:, 0], rtol=2e-5, atol=2e-5)
