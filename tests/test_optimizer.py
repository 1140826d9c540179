"""The update rule against AdamW written out, and the schedule's values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import optimizer
from pathstar.optimizer import Optimizer


@pytest.mark.parametrize("fields, want", [
    (dict(schedule="constant"), {0: 1, 50: 1, 100: 1}),
    (dict(schedule="constant", warmup_steps=4), {0: 0.25, 1: 0.5, 3: 1, 4: 1, 99: 1}),
    (dict(schedule="constant", warmup_steps=1), {0: 1, 1: 1}),
    (dict(schedule="linear"), {0: 1, 25: 0.75, 100: 0}),
    (dict(schedule="linear", warmup_steps=20), {0: 0.05, 19: 1, 20: 1, 60: 0.5, 100: 0}),
    (dict(schedule="cosine"), {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 100: 0}),
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


def test_decay_spares_norms_alone(tiny):
  import flax.linen as nn

  config = tiny({"model.num_layers": 2})
  params = nn.meta.unbox(jax.eval_shape(config.model.init, jax.random.key(0)))
  spared = {path[-1].key for path, on in jax.tree_util.tree_leaves_with_path(optimizer.decayed(params)) if not on}
  assert spared == {"scale"}
