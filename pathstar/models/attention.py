"""Multi-head self-attention (Vaswani et al. 2017), causal unless the objective frees it, with rotary positions (Su et al. 2021,
arXiv 2104.09864) if asked."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pathstar.devices.mesh import constrain, platform, shares
from pathstar.errors import require
from pathstar.models.layers import Linear, Norm, TokenShift, Trunk, kept, kernel_init


def rotate(x_BxTxHxK, position_T, base: float):
  """Rotary embedding (arXiv 2104.09864, equation 34): rotates the pairs (i, i + K/2) by position * base^(-2i/K).

  Positions of numpy make sines and cosines constants of the program: XLA would compute them anew for every number that they turn.
  """
  half = x_BxTxHxK.shape[-1] // 2
  lib = np if isinstance(position_T, np.ndarray) else jnp
  angle_TxI = position_T[:, None].astype(np.float32) * lib.power(np.float32(base), -lib.arange(half, dtype=np.float32) / half)[None, :]
  cos, sin = lib.cos(angle_TxI)[None, :, None, :], lib.sin(angle_TxI)[None, :, None, :]
  a, b = jnp.split(x_BxTxHxK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x_BxTxHxK.dtype)


def weights(q_BxLxHxK, k_BxTxHxK, mask_LxT):
  """Softmax over the keys that the mask lets a query see (B, H, L, T), in the type of q, which is already divided by sqrt(K)."""
  score_BxHxLxT = jnp.einsum("blhk,bthk->bhlt", q_BxLxHxK, k_BxTxHxK).astype(jnp.float32)
  score_BxHxLxT = jnp.where(mask_LxT[None, None], score_BxHxLxT, -1e30)
  raised_BxHxLxT = jnp.exp(score_BxHxLxT - kept(score_BxHxLxT.max(axis=-1, keepdims=True)))
  return (raised_BxHxLxT / kept(raised_BxHxLxT.sum(axis=-1, keepdims=True))).astype(q_BxLxHxK.dtype)


@jax.custom_vjp
def attend(q_BxLxHxK, k_BxTxHxK, v_BxTxHxK, mask_LxT):
  """Values summed by the weights (B, L, H, K)."""
  return _attend(q_BxLxHxK, k_BxTxHxK, v_BxTxHxK, mask_LxT)[0]


def _attend(q, k, v, mask):
  weight_BxHxLxT = weights(q, k, mask)
  y_BxLxHxK = kept(jnp.einsum("bhlt,bthk->blhk", weight_BxHxLxT, v))
  return y_BxLxHxK, (q, k, v, weight_BxHxLxT, y_BxLxHxK)


def _attend_backward(saved, dy):
  q, k, v, weight, y = saved
  # What softmax subtracts, sum_t weight_t dweight_t, is sum_k y_k dy_k, of smaller arrays (Dao 2023, arXiv 2307.08691, section 3.1).
  shift_BxHxLx1 = (y.astype(jnp.float32) * dy.astype(jnp.float32)).sum(-1).swapaxes(1, 2)[..., None]
  dweight = jnp.einsum("blhk,bthk->bhlt", dy, v).astype(jnp.float32)
  dscore = (weight.astype(jnp.float32) * (dweight - shift_BxHxLx1)).astype(dy.dtype)
  dq, dk = jnp.einsum("bhlt,bthk->blhk", dscore, k), jnp.einsum("bhlt,blhk->bthk", dscore, q)
  return dq, dk, jnp.einsum("bhlt,blhk->bthk", weight, dy), None


attend.defvjp(_attend, _attend_backward)


class Attention(nn.Module):
  """Mixer `attention`; its fields with defaults are config fields under `model.`. Cache: keys and values so far."""

  any_mask = True
  ignores = ("optimizer.ssm_rate_factor",)
  architecture = "transformer"
  year, source = 2017, "Vaswani et al., arXiv 1706.03762"

  trunk: Trunk
  num_heads: int = 4  # attention heads; divides width
  rope_base: float = 10000.0  # base of the rotary angles; about the context length finds lookups soonest
  qk_norm: bool = False  # RMS-normalise queries and keys
  token_shift: bool = False  # queries, keys and values also see the token before

  def check(self) -> None:
    """Raises UserError if the fields do not fit the trunk."""
    width = self.trunk.width
    require(self.num_heads >= 1 and width % self.num_heads == 0, "model.num_heads", self.num_heads,
            f"a divisor of model.width = {width}")
    if self.trunk.positions in ("rope", "both"):
      require(width // self.num_heads % 2 == 0, "model.num_heads", self.num_heads,
              f"such that rotary heads have an even width (model.width = {width})")
      require(self.rope_base > 1, "model.rope_base", self.rope_base, "a number > 1")

  def per_row(self, batch: int, time: int) -> int:
    """How many short sequences to put one after another into a row.

    A TPU's matrix unit takes 128 x 128 numbers: attention within 31 tokens takes as long as within 4 x 31, masked from each other.
    """
    if platform() != "tpu" or batch % shares("batch"):
      return 1
    return next((n for n in range(128 // time, 1, -1) if batch // shares("batch") % n == 0), 1)

  def setup(self):
    width = self.trunk.width
    look, copy, paste = self._inits()
    self.query = Linear(width, ("embed", "heads"), self.trunk, init=look)
    self.key = Linear(width, ("embed", "heads"), self.trunk, init=look)
    self.value = Linear(width, ("embed", "heads"), self.trunk, init=copy)
    self.out = Linear(width, ("heads", "embed"), self.trunk, residual=True, init=paste)
    if self.token_shift:
      self.shift = TokenShift()
    if self.qk_norm:
      self.query_norm, self.key_norm = (Norm("rmsnorm", self.trunk.dtype, self.trunk.bias) for _ in range(2))

  def _inits(self):
    """Initialisers of query and key, value, and output; None for the trunk's own.

    Under `mimetic` (after Trockman and Kolter 2023, arXiv 2305.09828) key = query and output = transposed value, so that
    attention starts out as "look for what is like me and add it": a lookup whose result can be looked up again.
    """
    if self.trunk.init != "mimetic" or not self.is_initializing():
      return None, None, None
    init = kernel_init(self.trunk, False)
    look, copy = jax.random.split(self.make_rng("params"))
    return (lambda _, *args: init(look, *args), lambda _, *args: init(copy, *args),
            lambda _, shape, dtype: init(copy, shape[::-1], dtype).T)

  def _heads(self, y_BxTxD):
    """(B, T, H, K), whole heads on each device."""
    return constrain(y_BxTxD.reshape(*y_BxTxD.shape[:2], self.num_heads, -1), "batch", None, "heads", None)

  def _project(self, linear: Linear, norm: str, x_BxTxD, position_T):
    """Heads of the tokens at these positions."""
    y = self._heads(linear(x_BxTxD))
    if self.qk_norm:
      y = getattr(self, norm)(y)
    if self.trunk.positions in ("rope", "both"):
      y = rotate(y, position_T, self.rope_base)
    return y

  def _attend(self, q_BxLxHxK, k_BxTxHxK, v_BxTxHxK, mask_LxT):
    q_BxLxHxK = q_BxLxHxK * q_BxLxHxK.shape[-1] ** -0.5
    if self.is_mutable_collection("intermediates"):
      self.sow("intermediates", "weights", weights(q_BxLxHxK, k_BxTxHxK, mask_LxT))  # for LM.layers
    y_BxLxHxK = attend(q_BxLxHxK, k_BxTxHxK, v_BxTxHxK, mask_LxT)
    return self.out(y_BxLxHxK.reshape(*y_BxLxHxK.shape[:2], -1))

  def __call__(self, x_BxTxD, num_last: int, max_length: int, free_from: int | None = None, beside: tuple | None = None,
               per_row: int = 1):
    """Full sequence -> (outputs at the `num_last` last positions (B, num_last, D), cache for `max_length` positions).

    A token sees itself and those before it, one at position `free_from` or later all. `beside = (N, first)`: the last N tokens are
    beside the sequence, as LM.hidden_beside says. With `per_row` sequences one after another in each row, none of which sees another, all
    outputs are wanted, and given by rows; the cache is by sequences.
    """
    time = x_BxTxD.shape[1] // per_row
    apart = lambda y: y.reshape(-1, time, *y.shape[2:])
    newest = apart(x_BxTxD)[:, -1]
    number, first = beside or (0, 0)
    place, length, last = np.arange(time), time - number, slice(time - num_last, None)
    at, to = jnp.arange(time)[last, None], jnp.arange(time)[None]
    position, mask = place, to <= at
    if free_from is not None:
      mask = mask | (at >= free_from)
    if beside is not None:
      position = jnp.where(place < length, place, place - length + first)  # `first` may be drawn
      mask = jnp.where(at < length, mask, (to <= at - number) | (to == at))
    if self.token_shift:
      shape, x_BxTxD = x_BxTxD.shape, apart(x_BxTxD)
      before = jnp.pad(x_BxTxD, ((0, 0), (1, 0), (0, 0)))[:, :length]
      before = jnp.concatenate([before, x_BxTxD[:, length - number:length]], axis=1) if number else before
      x_BxTxD = self.shift(x_BxTxD, before).reshape(shape)
    position, mask = position if per_row == 1 else np.tile(position, per_row), jnp.kron(jnp.eye(per_row, dtype=jnp.int8), mask) > 0
    q = self._project(self.query, "query_norm", x_BxTxD[:, last], position[last])
    k = self._project(self.key, "key_norm", x_BxTxD, position)
    v = self._heads(self.value(x_BxTxD))
    cached = lambda y: jnp.pad(apart(y), ((0, 0), (0, max_length - time), (0, 0), (0, 0)))
    cache = {"k": cached(k), "v": cached(v)} | ({"newest": newest} if self.token_shift else {})
    return self._attend(q, k, v, mask), cache

  def step(self, x_BxD, cache, index):
    """The token at position `index` -> (its output (B, D), cache)."""
    newest = {"newest": x_BxD} if self.token_shift else {}
    if self.token_shift:
      x_BxD = self.shift(x_BxD, cache["newest"])
    x_Bx1xD = x_BxD[:, None]
    q = self._project(self.query, "query_norm", x_Bx1xD, index + jnp.arange(1))
    k = self._project(self.key, "key_norm", x_Bx1xD, index + jnp.arange(1))
    v = self._heads(self.value(x_Bx1xD))
    cache = {
        "k": jax.lax.dynamic_update_slice_in_dim(cache["k"], k, index, axis=1),
        "v": jax.lax.dynamic_update_slice_in_dim(cache["v"], v, index, axis=1),
    } | newest
    mask = jnp.arange(cache["k"].shape[1])[None, :] <= index
    return self._attend(q, cache["k"], cache["v"], mask)[:, 0], cache
