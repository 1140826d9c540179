"""The update rule against AdamW written out, the schedule's values, and which group every parameter is in."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import models
from pathstar.config import Optimizer
from pathstar.training import optimizer


@pytest.mark.parametrize("fields, want", [
    (dict(schedule="constant"), {0: 1, 50: 1, 100: 1}),
    (dict(schedule="constant", warmup_steps=4), {0: 0.25, 1: 0.5, 3: 1, 4: 1, 99: 1}),
    (dict(schedule="constant", warmup_steps=1), {0: 1, 1: 1}),
    (dict(schedule="constant", warmup_steps=4, warmup_from_zero=True), {0: 0, 1: 0.25, 3: 0.75, 4: 1, 99: 1}),
    (dict(schedule="constant", warmup_steps=1, warmup_from_zero=True), {0: 0, 1: 1}),
    (dict(schedule="linear"), {0: 1, 25: 0.75, 100: 0}),
    (dict(schedule="linear", warmup_steps=20), {0: 0.05, 19: 1, 20: 1, 60: 0.5, 100: 0}),
    (dict(schedule="cosine"), {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 100: 0}),
    (dict(schedule="linear", warmup_steps=20, warmup_from_zero=True), {0: 0, 10: 0.5, 20: 1, 60: 0.5, 100: 0}),
    (dict(schedule="cosine", warmup_steps=20), {0: 0.05, 10: 0.55, 20: 1, 60: 0.5, 100: 0}),
])
def test_schedules_have_the_values_that_their_names_say(fields, want):
  schedule = optimizer.schedule(Optimizer(**fields), 100)
  for step, value in want.items():
    assert float(schedule(step)) == pytest.approx(value, abs=1e-6), step


@pytest.mark.parametrize("fields", [dict(), dict(clip_norm=0.5), dict(clip_norm=None, beta1=0.8, beta2=0.95)])
def test_updates_are_adamw(fields):
  rate, decay = 0.1, 0.3
  fields = Optimizer(**fields)
  rng = np.random.default_rng(0)
  x = {"kernel": rng.normal(size=(2, 3)), "scale": rng.normal(size=3)}
  m, v = ({name: 0 * value for name, value in x.items()} for _ in range(2))
  params = jax.tree.map(jnp.float32, x)
  rule = optimizer.build(fields, rate, decay)
  state = rule.init(params)
  update = jax.jit(rule.update)
  for t in range(1, 4):
    g = {name: rng.normal(size=value.shape) for name, value in x.items()}
    updates, state = update(jax.tree.map(jnp.float32, g), state, params)
    params = jax.tree.map(jnp.add, params, updates)
    norm = sum((value**2).sum() for value in g.values())**0.5
    factor = min(1, fields.clip_norm / norm) if fields.clip_norm else 1
    for name in x:
      m[name] = fields.beta1 * m[name] + (1 - fields.beta1) * factor * g[name]
      v[name] = fields.beta2 * v[name] + (1 - fields.beta2) * (factor * g[name])**2
      step = m[name] / (1 - fields.beta1**t) / (np.sqrt(v[name] / (1 - fields.beta2**t)) + 1e-8)
      x[name] = x[name] - rate * (step + (decay * x[name] if name == "kernel" else 0))  # norms do not decay
    jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=2e-4, atol=1e-5), params, x)


@pytest.mark.parametrize("bias, want", [(False, {"scale"}), (True, {"scale", "bias"})])
def test_decay_spares_norms_and_biases_alone(tiny, bias, want):
  config = tiny({"model.num_layers": 2, "model.bias": bias})
  params = nn.meta.unbox(jax.eval_shape(config.model.init, jax.random.key(0)))
  spared = {path[-1].key for path, on in jax.tree_util.tree_leaves_with_path(optimizer.decayed(params)) if not on}
  assert spared == want


# Group of every parameter of a layer, by hand: dynamics of the recurrence | offsets | maps.
S5_SSM = {"ssm/Lambda_re": "ssm", "ssm/Lambda_im": "ssm", "ssm/log_step": "ssm", "ssm/B": "ssm", "ssm/C": "decay", "ssm/D": "ssm"}
GROUPS = {
    "attention": {f"{name}/kernel": "decay" for name in ("query", "key", "value", "out")}
    | {"query_norm/scale": "no_decay", "key_norm/scale": "no_decay", "shift/scale": "no_decay"},
    "s5": S5_SSM | {"gate/kernel": "decay"},
    "s5_gated": S5_SSM | {f"{name}/kernel": "decay" for name in ("query", "key", "value", "out")}
    | {f"{name}_conv/taps": "decay" for name in ("query", "key", "value")}
    | {f"{name}_conv/bias": "no_decay" for name in ("query", "key", "value")},
    "mamba": {"A_log": "ssm", "dt_bias": "ssm", "D": "ssm", "conv1d/taps": "decay", "conv1d/bias": "no_decay"}
    | {f"{name}/kernel": "decay" for name in ("in_proj_x", "in_proj_z", "x_proj", "dt_proj", "out_proj")},
}


@pytest.fixture(scope="module")
def parameters(tiny):
  """parameters(mixer) -> the model's parameters as shapes, and the group of each by path."""

  def make(mixer):
    config = tiny({"model.num_layers": 2, "model.mixer": mixer, "model.qk_norm": True, "model.token_shift": True})
    params = nn.meta.unbox(jax.eval_shape(config.model.init, jax.random.key(0)))
    block = {f"mixer/{path}": group for path, group in GROUPS[mixer].items()} | {
        "mixer_norm/scale": "no_decay", "mlp_norm/scale": "no_decay", "mlp/up/kernel": "decay", "mlp/down/kernel": "decay"}
    want = {"embedding": "decay", "positions": "decay", "head": "decay", "norm/scale": "no_decay"}
    return params, want | {f"{part}/{path}": group for part in ("body", "last") for path, group in block.items()}

  return make


def by_path(tree):
  return {"/".join(part.key for part in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("mixer", models.MIXERS)
def test_every_parameter_of_every_mixer_is_in_its_group(parameters, mixer):
  params, want = parameters(mixer)
  assert by_path(optimizer.labels(params)) == want


@pytest.mark.parametrize("name", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mixer", ["s5_gated", "mamba"])
def test_state_space_dynamics_have_their_own_rate_and_no_decay(parameters, mixer, name):
  shapes, groups = parameters(mixer)
  params = jax.tree.map(lambda x: jnp.full(x.shape, 3.0), shapes)

  def moved(gradient, factor):
    rule = optimizer.build(Optimizer(name=name, ssm_rate_factor=factor, clip_norm=None), 0.1, 0.5)
    grads = jax.tree.map(lambda x: jnp.full(x.shape, gradient), shapes)
    return by_path(jax.jit(lambda p, g: rule.update(g, rule.init(p), p)[0])(params, grads))

  still, slow, whole = moved(0.0, 0.25), moved(1.0, 0.25), moved(1.0, 1.0)
  close = lambda got, want, path: np.testing.assert_allclose(got[path], want, rtol=1e-4, atol=1e-6, err_msg=path)
  for path, group in groups.items():
    close(still, -0.1 * 0.5 * 3 if group == "decay" else 0, path)
    close(slow, whole[path] * (0.25 if group == "ssm" else 1), path)
    if group == "ssm":  # Adam's first step is the rate, whatever the optimiser of matrices
      close(whole, -0.1, path)
