"""Diagonal recurrences against a loop in float64, by every method, under the transformations that training applies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.models import scan

LENGTHS = [1, 2, 31, 257]
RNG = np.random.default_rng(0)


def relative(got, want):
  return np.linalg.norm(np.asarray(got, np.float64) - want) / np.linalg.norm(want)


def draw(*shape):
  return RNG.normal(size=shape)


def recurrence(a, b, h):
  out = []
  for t in range(len(b)):
    h = a[t if len(a) > 1 else 0] * h + b[t]
    out.append(h)
  return np.stack(out)


def recurrence_gradients(a, b, h, w):
  """Of sum Re(conj(w) h): for each input, the derivative by its real part plus i times that by its imaginary part."""
  states, g = recurrence(a, b, h), np.zeros_like(h)
  da, db = np.zeros((len(b), *h.shape), a.dtype), np.zeros_like(b)
  for t in reversed(range(len(b))):
    g = g + w[t]
    db[t], da[t] = g, g * np.conj(states[t - 1] if t else h)
    g = g * np.conj(a[t if len(a) > 1 else 0])
  axes = tuple(i for i, n in enumerate(a.shape) if n < da.shape[i])
  return da.sum(axis=axes, keepdims=True), db, g


@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("method", [*scan.METHODS, None])
def test_states_and_gradients_are_those_of_a_loop(time, parts, constant, method):
  value = lambda *shape: draw(*shape) if parts == 1 else draw(*shape) + 1j * draw(*shape)
  size = 0.5 + 0.5 / (1 + np.exp(-draw(1 if constant else time, 1, 4)))  # |a| in (0.5, 1)
  a = size * np.exp(1j * draw(*size.shape)) if parts == 2 else size
  b, h, w = value(time, 3, 4), value(3, 4), value(time, 3, 4)
  split = lambda x: (jnp.float32(x),) if parts == 1 else (jnp.float32(x.real), jnp.float32(x.imag))
  join = lambda x: np.asarray(x[0], np.float64) + (1j * np.asarray(x[1], np.float64) if parts == 2 else 0)

  def loss(a, b, h):
    states = scan.linear_recurrence(a, b, h, method)
    return sum((p * q).sum() for p, q in zip(states, split(w), strict=True)), states

  grads, states = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(split(a), split(b), split(h))
  rel = lambda got, want: np.linalg.norm(got - want) / np.linalg.norm(want)
  assert rel(join(states), recurrence(a, b, h)) < 1e-5
  for got, want in zip(grads, recurrence_gradients(a, b, h, w), strict=True):
    assert rel(join(got), want) < 1e-5


def selective(time, batch=3, channels=5, state=4):
  dt = np.log1p(np.exp(draw(time, batch, channels) - 2))
  return (draw(time, batch, channels), dt, -np.exp(draw(state, channels)), draw(time, batch, state),
          draw(time, batch, state), draw(batch, state, channels))


def selective_loop(u, dt, a, b, c, h):
  """Outputs and last state, and their gradients along the given directions by the chain rule, written out."""
  ys, states = [], [h]
  for t in range(len(u)):
    h = np.exp(dt[t][:, None] * a[None]) * h + (dt[t] * u[t])[:, None] * b[t][..., None]
    states.append(h)
    ys.append((h * c[t][..., None]).sum(1))
  return np.stack(ys), np.stack(states)


def selective_gradients(u, dt, a, b, c, states, wy, wh):
  du, ddt, da, db, dc, g = np.zeros_like(u), np.zeros_like(u), np.zeros_like(a), np.zeros_like(b), np.zeros_like(c), wh
  for t in reversed(range(len(u))):
    decay = np.exp(dt[t][:, None] * a[None])
    g = g + c[t][..., None] * wy[t][:, None]
    dc[t] = (states[t + 1] * wy[t][:, None]).sum(2)
    db[t] = (g * (dt[t] * u[t])[:, None]).sum(2)
    du[t] = (g * b[t][..., None]).sum(1) * dt[t]
    exponent = g * states[t] * decay
    ddt[t] = (g * b[t][..., None]).sum(1) * u[t] + (exponent * a[None]).sum(1)
    da += (exponent * dt[t][:, None]).sum(0)
    g = g * decay
  return du, ddt, da, db, dc, g


@pytest.mark.parametrize("time", [*LENGTHS, 3, 16])
@pytest.mark.parametrize("method", [*scan.METHODS, None])
def test_a_selective_scan_and_its_gradients_are_those_of_a_loop(time, method):
  args = selective(time)
  wy, wh = draw(*args[0].shape), draw(*args[5].shape)

  def loss(*args):
    y, h = scan.selective_scan(*args, method)
    return (y * jnp.float32(wy)).sum() + (h * jnp.float32(wh)).sum(), (y, h)

  grads, (y, h) = jax.jit(jax.grad(loss, argnums=range(6), has_aux=True))(*map(jnp.float32, args))
  want_y, states = selective_loop(*args)
  assert relative(y, want_y) < 1e-5 and relative(h, states[-1]) < 1e-5
  for got, want in zip(grads, selective_gradients(*args[:5], states, wy, wh), strict=True):
    assert relative(got, want) < 1e-5


@pytest.mark.parametrize("method", [pytest.param(name, marks=pytest.mark.slow) if name == "associative" else name for name in scan.METHODS])
def test_gradients_are_the_same_under_vmap_checkpoint_and_a_scan_over_layers(method):
  runs = [tuple(map(jnp.float32, selective(9))) for _ in range(2)]

  def loss(args):
    def layer(u, _):
      return jax.checkpoint(lambda u: jnp.tanh(scan.selective_scan(u, *args[1:], method)[0]))(u), None

    pair = lambda x: (x, x / 2)
    states = scan.linear_recurrence(pair(jnp.exp(-args[1][:1, :1])), pair(args[0]), pair(args[1][0]), method)
    return jnp.square(jax.lax.scan(layer, args[0], None, length=2)[0]).sum() + jnp.square(states[0] + states[1]).sum()

  stacked = jax.tree.map(lambda *x: jnp.stack(x), *runs)
  together = jax.jit(jax.vmap(jax.grad(loss), spmd_axis_name="run"))(stacked)
  for i, run in enumerate(runs):
    for got, want in zip(together, jax.jit(jax.grad(loss))(run), strict=True):
      np.testing.assert_allclose(got[i], want, rtol=1e-4, atol=1e-5)


def test_the_method_is_chosen_for_the_platform_that_a_program_is_lowered_for():
  b = (jnp.ones((8, 2, 3)),)
  trace = jax.jit(lambda a, b: scan.linear_recurrence(a, b, (b[0][0],))).trace((b[0][:1],), b)
  loops = {platform: "stablehlo.while" in trace.lower(lowering_platforms=(platform,)).as_text() for platform in ("cpu", "tpu")}
  assert loops == {"cpu": True, "tpu": False}


@pytest.mark.parametrize("method", scan.METHODS)
def test_the_states_of_all_times_are_never_there_at_once(method):
  time, batch, channels, state = 256, 2, 16, 16
  args = tuple(map(jnp.float32, selective(time, batch, channels, state)))
  step = jax.jit(jax.grad(lambda args: jnp.square(scan.selective_scan(*args, method)[0]).sum()))
  assert step.lower(args).compile().memory_analysis().temp_size_in_bytes < 4 * time * batch * channels * state
