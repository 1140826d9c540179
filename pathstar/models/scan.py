"""Diagonal linear recurrences h_t = a_t * h_(t-1) + b_t, forward and backward, in one place.

`linear_recurrence` returns all states (S5, arXiv 2208.04933, equation 2 after diagonalisation). `selective_scan` is Mamba's (arXiv
2312.00752, algorithm 2 and equations 2a, 2b), whose states of shape (T, B, N, D) are never kept: the forward pass saves one state in
about sqrt(T), the backward pass recomputes the others chunk by chunk, as section 3.3.2 does between levels of GPU memory.

A platform runs what is fast there: on CPU one step after another, with time leading so that a step touches contiguous memory; on
GPU and TPU an associative scan (Blelloch 1990; S5, appendix H), which needs log T dependent steps, but for Mamba on a TPU, whose
states are too many for its fast memory at once, one step after another. The choice is made when
the program is lowered, so a program compiled for a device that is not there is the one that will run on it. All arithmetic is
real: a complex array is the pair of its parts, since complex scans compile slowly and TPUs have no complex units.
"""

import functools
import math

import jax
import jax.numpy as jnp

METHODS = ("sequential", "associative")
_UNROLL = 4  # steps of a small sequential scan per iteration of the loop, whose overhead would dominate

# An element is a tuple of arrays: (real,) or (real part, imaginary part).


def _mul(x, y):
  if len(x) == 1:
    return (x[0] * y[0],)
  return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _add(x, y):
  return tuple(p + q for p, q in zip(x, y, strict=True))


def _conj(x):
  return x if len(x) == 1 else (x[0], -x[1])


def _map(f, x):
  return tuple(f(p) for p in x)


def _sequential(a, b, start, reverse: bool):
  def step(h, a_and_b):
    a_t, b_t = a_and_b
    h = _add(_mul(_map(lambda p: p[0], a) if a_t is None else a_t, h), b_t)
    return h, h

  constant = a[0].shape[0] == 1
  return jax.lax.scan(step, start, (None if constant else a, b), reverse=reverse, unroll=_UNROLL)[1]


def _associative(a, b, start, reverse: bool):
  def combine(first, second):
    (a1, b1), (a2, b2) = first, second
    return _mul(a2, a1), _add(_mul(a2, b1), b2)

  time = b[0].shape[0]
  a = _map(lambda p: jnp.broadcast_to(p, (time, *p.shape[1:])), a)
  edge = time - 1 if reverse else 0  # the step that continues from `start`
  carried = _mul(_map(lambda p: p[edge], a), start)
  b = tuple(p.at[edge].add(q) for p, q in zip(b, carried, strict=True))
  return jax.lax.associative_scan(combine, (a, b), reverse=reverse)[1]


def _states(method, a, b, start, reverse=False):
  """All h_t, by `method`; None: by platform. In reverse, h_t = a_t h_(t+1) + b_t."""
  run = {"sequential": functools.partial(_sequential, reverse=reverse),
         "associative": functools.partial(_associative, reverse=reverse)}
  if method is not None:
    return run[method](a, b, start)
  return jax.lax.platform_dependent(a, b, start, cpu=run["sequential"], default=run["associative"])


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def linear_recurrence(a, b, start, method: str | None = None):
  """All states h_t = a_t * h_(t-1) + b_t, with h_(-1) = start, of a real or complex diagonal recurrence.

  Args:
    a: tuple of arrays (T, ...), or (1, ...) if it does not change with time; may have ones where `b` is larger.
    b: tuple of arrays (T, ...).
    start: tuple of arrays (...).
    method: sequential | associative; None: by platform.

  Returns:
    A tuple of arrays (T, ...).
  """
  return _states(method, a, b, start)


def _linear_forward(a, b, start, method):
  h = _states(method, a, b, start)
  return h, (a, start, h)


def _linear_backward(method, saved, dh):
  # With g_t the gradient of the loss with respect to h_t through all later steps: g_t = dh_t + conj(a_(t+1)) g_(t+1).
  a, start, h = saved
  a = _conj(a)
  later = a if a[0].shape[0] == 1 else _map(lambda p: jnp.concatenate([p[1:], jnp.zeros_like(p[:1])]), a)
  g = _states(method, later, dh, _map(jnp.zeros_like, start), True)
  before = tuple(jnp.concatenate([first[None], p[:-1]]) for first, p in zip(start, h, strict=True))
  da = tuple(_sum_to(p, q.shape) for p, q in zip(_mul(g, _conj(before)), a, strict=True))
  return da, g, _mul(_map(lambda p: p[0], a), _map(lambda p: p[0], g))


def _sum_to(x, shape):
  axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
  return x.sum(axis=axes, keepdims=True)


linear_recurrence.defvjp(_linear_forward, _linear_backward)


# Below, B x N x D is the layout of a state: channels D last, where they fill vector lanes.


def _decay(dt_xD, a_NxD):
  """Zero-order hold of the diagonal A: exp(dt A)."""
  return jnp.exp(dt_xD[..., None, :] * a_NxD.reshape((1,) * (dt_xD.ndim - 1) + a_NxD.shape))


def _next(h, u, dt, a_NxD, b):
  return _decay(dt, a_NxD) * h + b[..., None] * (dt * u)[:, None, :]


def _chunk_sequential(h, a_NxD, u, dt, b, c):
  def step(h, x):
    u, dt, b, c = x
    h = _next(h, u, dt, a_NxD, b)
    return h, jnp.einsum("bnd,bn->bd", h, c)

  return jax.lax.scan(step, h, (u, dt, b, c))


def _chunk_associative(h, a_NxD, u, dt, b, c):
  h = _associative((_decay(dt, a_NxD),), (b[..., None] * (dt * u)[:, :, None, :],), (h,), False)[0]
  return h[-1], jnp.einsum("tbnd,tbn->tbd", h, c)


def _over_states(x_BxNxD, a_NxD):
  """Their product, summed over the states (B, D)."""
  # Term by term where, with a run axis, XLA makes a reduction over a middle axis five times slower than the whole step.
  terms = lambda x, a: sum(x[:, n] * a_n[None] for n, a_n in enumerate(a))
  return jax.lax.platform_dependent(x_BxNxD, a_NxD, cpu=terms, default=lambda x, a: jnp.einsum("bnd,nd->bd", x, a))


def _chunk_backward_sequential(h, g, a_NxD, u, dt, b, c, dy):
  def recompute(h, x):
    u, dt, b, dy = x
    after = _next(h, u, dt, a_NxD, b)
    return after, (h, jnp.einsum("bnd,bd->bn", after, dy))

  def step(carry, x):
    g, da_BxNxD = carry
    u, dt, b, c, dy, h = x
    g = (g + c[..., None] * dy[:, None, :])
    into = _decay(dt, a_NxD) * g  # gradient of the state before
    d_exponent = into * h
    d_input = jnp.einsum("bnd,bn->bd", g, b)
    grads = (d_input * dt, _over_states(d_exponent, a_NxD) + d_input * u, jnp.einsum("bnd,bd->bn", g, dt * u))
    return (into, da_BxNxD + d_exponent * dt[:, None, :]), grads  # summed over B at the end: a reduction per step costs more

  _, (before, dc) = jax.lax.scan(recompute, h, (u, dt, b, dy))
  (g, da), (du, ddt, db) = jax.lax.scan(step, (g, jnp.zeros_like(g)), (u, dt, b, c, dy, before), reverse=True)
  return g, da.sum(0), du, ddt, db, dc


def _chunk_backward_associative(h, g, a_NxD, u, dt, b, c, dy):
  decay = _decay(dt, a_NxD)
  after = _associative((decay,), (b[..., None] * (dt * u)[:, :, None, :],), (h,), False)[0]
  before = jnp.concatenate([h[None], after[:-1]])
  later = jnp.concatenate([decay[1:], jnp.ones_like(decay[:1])])
  g = _associative((later,), (c[..., None] * dy[:, :, None, :],), (g,), True)[0]
  d_exponent = g * decay * before
  d_input = jnp.einsum("tbnd,tbn->tbd", g, b)
  ddt = jnp.einsum("tbnd,nd->tbd", d_exponent, a_NxD) + d_input * u
  da = jnp.einsum("tbnd,tbd->nd", d_exponent, dt)
  db, dc = jnp.einsum("tbnd,tbd->tbn", g, dt * u), jnp.einsum("tbnd,tbd->tbn", after, dy)
  return decay[0] * g[0], da, d_input * dt, ddt, db, dc


_CHUNK = {"sequential": (_chunk_sequential, _chunk_backward_sequential),
          "associative": (_chunk_associative, _chunk_backward_associative)}


def _by_method(method, direction: int, *args):
  if method is not None:
    return _CHUNK[method][direction](*args)
  one_by_one, at_once = (_CHUNK[name][direction] for name in METHODS)
  return jax.lax.platform_dependent(*args, cpu=one_by_one, tpu=one_by_one, default=at_once)


def _chunks(*arrays):
  """Arrays (T, ...) as (T / c, c, ...) with c about sqrt(T). Padding has dt = 0: it leaves the state as it is."""
  time = arrays[0].shape[0]
  size = 2 ** math.ceil(math.log2(time) / 2)
  pad = lambda x: jnp.pad(x, ((0, -time % size),) + ((0, 0),) * (x.ndim - 1))
  return tuple(pad(x).reshape(-1, size, *x.shape[1:]) for x in arrays)


def _join(x, time: int):
  return x.reshape(-1, *x.shape[2:])[:time]


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def selective_scan(u_TxBxD, dt_TxBxD, a_NxD, b_TxBxN, c_TxBxN, start_BxNxD, method: str | None = None):
  """Mamba's recurrence h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t, y_t = C_t h_t, in float32.

  Returns:
    y (T, B, D) and the last state (B, N, D).
  """
  return _selective_forward(u_TxBxD, dt_TxBxD, a_NxD, b_TxBxN, c_TxBxN, start_BxNxD, method)[0]


def _selective_forward(u, dt, a, b, c, start, method):
  def chunk(h, x):
    after, y = _by_method(method, 0, h, a, *x)
    return after, (y, h)

  last, (y, starts) = jax.lax.scan(chunk, start, _chunks(u, dt, b, c))
  return (_join(y, u.shape[0]), last), (u, dt, a, b, c, starts)


def _selective_backward(method, saved, grads):
  u, dt, a, b, c, starts = saved
  dy, dlast = grads

  def chunk(carry, x):
    g, da = carry
    g, da_here, *rest = _by_method(method, 1, x[0], g, a, *x[1:])
    return (g, da + da_here), rest

  inputs = (starts, *_chunks(u, dt, b, c, dy))
  (dstart, da), rest = jax.lax.scan(chunk, (dlast, jnp.zeros_like(a)), inputs, reverse=True)
  du, ddt, db, dc = (_join(x, u.shape[0]) for x in rest)
  return du, ddt, da, db, dc, dstart


selective_scan.defvjp(_selective_forward, _selective_backward)
