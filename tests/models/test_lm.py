"""The trunk with every registered mixer: causal, equal however it is computed, and shaped as its config says."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import models
from pathstar.models import attention, layers, lm

LENGTH = 10
VALUES = {"model.num_layers": 2}


uses = lambda mixer, positions: mixer == "attention" or positions not in ("rope", "both")  # rotary positions are attention's alone
slow = lambda *values: pytest.param(*values, marks=pytest.mark.slow)
# Among the fast ones attention and one recurrence; of the S5 layers, s5_gated holds all of s5 but its activation.
MIXERS = [slow(mixer) if mixer in ("s5", "s5_gated") else mixer for mixer in models.MIXERS]
# Of each kind of positions, loops and layers something, for every mixer that takes it; of a recurrence one among the fast ones.
FAST = [("s5_gated", "none", 2, 1), ("mamba", "none", 2, 1)]
SHAPES = [shape if shape[0] == "attention" or shape in FAST else slow(*shape) for mixer in models.MIXERS
          for shape in ((mixer, "learned", 1, 2), (mixer, "rope", 2, 2), (mixer, "both", 1, 1), (mixer, "none", 2, 1))
          if uses(mixer, shape[1])]


@pytest.fixture(scope="module")
def build(tiny):
  """build(fields) -> (model, parameters, tokens (2, LENGTH))."""
  tokens = jax.random.randint(jax.random.key(1), (2, LENGTH), 0, 16)
  drawn = {}  # most of the time goes into compiling, so what does not change parameters shares them

  def make(**fields):
    model = tiny(VALUES | {f"model.{name}": value for name, value in fields.items()}).model
    key = tuple((name, value) for name, value in fields.items() if name not in ("num_loops", "scan_layers", "remat", "dtype"))
    if key not in drawn:
      drawn[key] = jax.jit(lambda key: nn.meta.unbox(model.init(key)))(jax.random.key(0))
    return model, drawn[key], tokens

  return make


@pytest.fixture(scope="module")
def shapes(tiny):
  """shapes(fields) -> the shape of every parameter."""

  def make(**fields):
    model = tiny(VALUES | {f"model.{name}": value for name, value in fields.items()}).model
    return jax.tree.map(lambda x: x.shape, nn.meta.unbox(jax.eval_shape(model.init, jax.random.key(0))))

  return make


def logits(model, params, tokens, last=LENGTH):
  return jax.jit(lambda params, tokens: model.apply(params, tokens, last)[0])(params, tokens)


def close(here, there, tolerance=2e-5):
  np.testing.assert_allclose(here, there, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mixer, positions", [
    slow(mixer, positions) if mixer == "s5" else (mixer, positions)
    for mixer in models.MIXERS for positions in ("learned", "rope") if uses(mixer, positions)])
def test_a_mixer_is_causal_by_its_gradient(tiny, mixer, positions):
  module = tiny({"model.mixer": mixer, "model.positions": positions}).model.mixer
  x = jax.random.normal(jax.random.key(0), (7, 16))
  params = nn.meta.unbox(module.init(jax.random.key(1), x[None], 7, 7))
  jacobian_TxDxTxD = jax.jit(jax.jacrev(lambda x: module.apply(params, x[None], 7, 7)[0][0]))(x)
  size_TxT = np.sqrt(np.square(jacobian_TxDxTxD).sum(axis=(1, 3)))  # how output t depends on input s
  assert not np.triu(size_TxT, 1).any()  # exactly nothing from the future
  assert (np.diag(size_TxT) > 1e-6).all()
  assert (size_TxT[-1] > 1e-9).all()  # the last output sees every input


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_token_changes_no_logits_before_it_and_those_from_it_on(build, mixer):
  model, params, tokens = build(mixer=mixer)
  apply = jax.jit(lambda tokens: model.apply(params, tokens, LENGTH)[0])
  before = apply(tokens)
  changed = np.abs(apply(tokens.at[:, 4].set((tokens[:, 4] + 1) % 16)) - before).max(axis=(0, 2))
  assert not changed[:4].any() and (changed[4:] > 1e-6).all()


@pytest.mark.parametrize("mixer, positions, num_loops, num_layers", SHAPES)
def test_decoding_token_by_token_gives_the_logits_of_one_pass(build, mixer, positions, num_loops, num_layers):
  model, params, tokens = build(mixer=mixer, positions=positions, num_loops=num_loops, num_layers=num_layers)
  start = 6

  def decode(params, tokens):
    first, cache = model.prefill(params, tokens[:, :start], LENGTH)

    def step(cache, index):
      hidden, cache = model.step(params, tokens[:, index], cache, index)
      return cache, hidden

    _, rest = jax.lax.scan(step, cache, jnp.arange(start, LENGTH))
    return model.unembed(params, jnp.concatenate([first[None], rest]))

  close(jax.jit(decode)(params, tokens).swapaxes(0, 1), logits(model, params, tokens, LENGTH - start + 1), 1e-4)


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_last_outputs_alone_are_the_tail_of_all(build, mixer):
  model, params, tokens = build(mixer=mixer, num_loops=2)
  whole = logits(model, params, tokens)
  for last in (1, 4):
    out, hidden = jax.jit(lambda tokens: model.apply(params, tokens, last))(tokens)
    assert out.shape == (2, last, model.vocab_size) and hidden.shape == (2, last, 16)
    close(out, whole[:, -last:])


@pytest.mark.parametrize("mixer", [mixer if mixer == "attention" else slow(mixer) for mixer in models.MIXERS])
def test_how_layers_are_run_changes_neither_loss_nor_gradient(build, mixer, monkeypatch):
  _, params, tokens = build(mixer=mixer)
  found = []
  for platform, fields in (("cpu", {"scan_layers": False}), ("cpu", {"scan_layers": True}), ("cpu", {"scan_layers": True, "remat": True}),
                           ("tpu", {"scan_layers": True}), ("gpu", {})):
    for module in (lm, layers, attention):
      monkeypatch.setattr(module, "platform", lambda platform=platform: platform, raising=False)
    model, *_ = build(mixer=mixer, **fields)
    loss = lambda params: jnp.square(jax.nn.log_softmax(model.apply(params, tokens, 4)[0])).mean()
    found.append(jax.jit(jax.value_and_grad(loss))(params))
  for other in found[1:]:
    close(other[0], found[0][0])
    jax.tree.map(lambda x, y: close(x, y, 1e-4), other[1], found[0][1])
  for path, leaf in jax.tree_util.tree_leaves_with_path(found[0][1]):  # and every parameter is used
    assert np.isfinite(leaf).all() and np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize("mixer", MIXERS)
def test_bfloat16_computes_near_float32_and_keeps_parameters_and_logits_in_float32(build, mixer):
  exact, params, tokens = build(mixer=mixer)
  model, *_ = build(mixer=mixer, dtype="bfloat16")
  shapes = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)))
  assert {x.dtype for x in shapes} == {np.dtype(np.float32)}
  out = logits(model, params, tokens)
  assert out.dtype == np.float32 and np.isfinite(out).all()
  assert np.mean(out == np.asarray(jnp.asarray(out, jnp.bfloat16), np.float32)) < 0.1  # nor rounded on the way
  error = np.abs(out - logits(exact, params, tokens)).max()
  assert 0 < error < 0.5  # it does compute in another type, and not in another way
  # The residual stream is summed in float32, even so.
  trunk = lambda params: model.before_last(params, tokens)
  assert jax.eval_shape(trunk, params).dtype == np.float32
  assert jax.eval_shape(lambda params: model.last_block(params["last"], trunk(params), LENGTH), params).dtype == np.float32


def test_loops_share_weights_and_do_more(build, shapes):
  once, params, tokens = build()
  twice, *_ = build(num_loops=2)
  assert shapes() == shapes(num_loops=2)
  assert np.abs(logits(once, params, tokens) - logits(twice, params, tokens)).max() > 1e-3


def test_parameters_are_those_that_the_fields_ask_for(tiny, shapes):
  model = tiny(VALUES).model
  assert shapes()["embedding"] == (model.vocab_size, 16) and shapes()["head"] == (16, model.vocab_size)
  assert shapes()["positions"] == shapes(positions="both")["positions"] == (model.max_length, 16)
  # The last block stands apart.
  body, last = shapes(num_layers=4)["body"], shapes(num_layers=4)["last"]
  assert body == jax.tree.map(lambda shape: (3, *shape), last, is_leaf=lambda x: isinstance(x, tuple))
  assert "body" not in shapes(num_layers=1)
  assert "head" not in shapes(tied_head=True)
  for positions in ("rope", "none"):
    assert "positions" not in shapes(positions=positions)
  assert "mlp" not in shapes(mlp_ratio=0)["last"]
  assert shapes(mlp_ratio=3)["last"]["mlp"]["up"]["kernel"] == (16, 48)


def test_a_tied_head_is_the_embedding(tiny, build):
  untied, params, tokens = build()
  tied = tiny(VALUES | {"model.tied_head": True}).model
  without = {name: value for name, value in params.items() if name != "head"}
  close(logits(tied, without, tokens), logits(untied, params | {"head": params["embedding"].T}, tokens))


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_norms_follow_their_definitions(norm):
  x = np.random.default_rng(0).normal(2, 3, (2, 5, 8)).astype(np.float32)
  scale, bias = np.arange(1, 9, dtype=np.float32), np.arange(8, dtype=np.float32)
  centred = x - x.mean(-1, keepdims=True) if norm == "layernorm" else x
  want = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5) * scale
  close(layers.Norm(norm, "float32").apply({"params": {"scale": scale}}, x), want)
  close(layers.Norm(norm, "float32", True).apply({"params": {"scale": scale, "bias": bias}}, x), want + bias)


def test_learned_positions_are_the_only_ones_that_tell_places_apart(build):
  # The same token everywhere: without positions every output is the same.
  same = jnp.zeros((1, LENGTH), int)
  model, params, _ = build()
  out = logits(model, params, same)
  assert np.abs(out[:, 0] - out[:, -1]).max() > 1e-2
  out = logits(model, {name: value for name, value in params.items() if name != "positions"}, same)
  close(out[:, 0], out[:, -1])


def test_embedding_by_product_and_by_gather_are_one(build, monkeypatch):
  model, params, tokens = build()
  by_product = logits(model, params, tokens)
  monkeypatch.setattr(lm, "ONE_HOT_VOCAB", 0)
  close(logits(model, params, tokens), by_product)


@pytest.mark.parametrize("init, inside, out", [("fan_in", 128**-0.5, 512**-0.5), ("gpt2", 0.02, 0.02 / 12**0.5),
                                               ("normal", 0.02, 0.02)])
def test_initial_weights_have_the_scale_of_their_scheme(tiny, init, inside, out):
  # 3 layers, 2 loops: 12 maps write to the residual stream.
  fields = {"model.width": 128, "model.num_layers": 3, "model.num_loops": 2, "model.init": init}
  params = jax.jit(lambda key: nn.meta.unbox(tiny(fields).model.init(key)))(jax.random.key(0))
  assert params["last"]["mlp"]["up"]["kernel"].std() == pytest.approx(inside, rel=0.02)
  assert params["last"]["mlp"]["down"]["kernel"].std() == pytest.approx(out, rel=0.02)
  assert params["body"]["mlp"]["down"]["kernel"].std() == pytest.approx(out, rel=0.02)
  assert params["head"].std() == pytest.approx(inside, rel=0.05)
  first, second = params["body"]["mlp"]["up"]["kernel"]
  assert np.abs(first - second).max() > 0  # layers start different


@pytest.mark.parametrize("preset", [name for name in models.PRESETS if "mamba" not in name])  # see test_mamba.py for those
def test_presets_build_with_the_number_of_parameters_that_arithmetic_gives(tiny, preset):
  made = tiny({f"model.{name}": value for name, value in models.PRESETS[preset].items()})
  f, task = made.model.fields, made.task
  count = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(jax.eval_shape(made.model.init, jax.random.key(0))))
  block = (4 + 2 * f.mlp_ratio) * f.width**2 + 2 * f.width  # 4 attention maps, the MLP, 2 norms
  block += (4 + f.mlp_ratio + 1 + 2) * f.width * f.bias
  block += f.width * getattr(made.model.mixer, "token_shift", False)
  embeddings = task.vocab_size * (1 if f.tied_head else 2) + (task.prefix_length + task.length) * (f.positions != "rope")
  embeddings = (embeddings + f.num_loops * f.loop_embedding) * f.width
  assert count == f.num_layers * block + embeddings + f.width * (1 + f.bias)
