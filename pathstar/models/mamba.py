"""Mamba: a selective state-space block (Gu and Dao 2023, arXiv 2312.00752, section 3.4 and algorithm 2).

    x, z = in_proj(input);  x = silu(conv1d(x));  dt, B, C = x_proj(x);  dt = softplus(dt_proj(dt))
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t;  y_t = C_t h_t + D x_t;  output = out_proj(y * silu(z))

B is discretised by Euler's rule, dt B, as in the reference implementation and in published weights: the first-order term of the
paper's equation 4. The paper's model has no MLP and RMSNorm, and sums its residual stream in float32, as the trunk does:
model.mlp_ratio=0, model.norm=rmsnorm, model.positions=none, model.tied_head=true; preset `mamba_130m` is its smallest.

Parameters, and the tensor of the reference implementation (package mamba_ssm, `backbone.layers.<i>.mixer.`) that each holds, for
width D, inner width I = 2 D, state N = 16, rank R = ceil(D / 16), convolution W = 4:
    in_proj_x/kernel (D, I)   in_proj.weight (2 I, D), rows 0 .. I-1, transposed
    in_proj_z/kernel (D, I)   in_proj.weight, rows I .. 2I-1, transposed
    conv1d/taps (W, I)        conv1d.weight (I, 1, W), [:, 0, :] transposed
    conv1d/bias (I,)          conv1d.bias (I,)
    x_proj/kernel (I, R + 2 N)  x_proj.weight (R + 2 N, I), transposed; the order dt, B, C is the same
    dt_proj/kernel (R, I)     dt_proj.weight (I, R), transposed
    dt_bias (I,)              dt_proj.bias (I,)
    A_log (I, N), D (I,)      the same
    out_proj/kernel (I, D)    out_proj.weight (D, I), transposed
Around them: embedding (V, D) is backbone.embedding.weight, also the head; a block's mixer_norm/scale is backbone.layers.<i>.norm.weight
and norm/scale is backbone.norm_f.weight. Blocks but the last are stacked in `body` along a leading axis; the last one is `last`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pathstar.errors import require
from pathstar.models.conv import ShortConv
from pathstar.models.layers import Linear, Trunk, kernel_init
from pathstar.models.s5 import check_steps
from pathstar.models.scan import selective_scan

_DT_FLOOR = 1e-4  # no initial step is below it, as in the reference implementation


class Mamba(nn.Module):
  """Mixer `mamba`; its fields with defaults are config fields under `model.`. Cache: state and newest inputs of the convolution."""

  ignores = ("model.positions=rope", "model.init=mimetic")
  year, source = 2023, "Gu and Dao, arXiv 2312.00752"

  trunk: Trunk
  mamba_expand: int = 2  # mamba: inner width over width
  mamba_state: int = 16  # mamba: states per inner channel
  conv_width: int = 4  # s5_gated, mamba: taps of the short causal convolution
  dt_min: float = 0.001  # s5, s5_gated, mamba: smallest initial time step
  dt_max: float = 0.1  # s5, s5_gated, mamba: largest initial time step

  def check(self) -> None:
    """Raises UserError if the fields do not fit the trunk."""
    check_steps(self.dt_min, self.dt_max)
    for name in ("mamba_expand", "mamba_state", "conv_width"):
      require(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "an integer >= 1")

  def setup(self):
    trunk, state = self.trunk, self.mamba_state
    inner, rank = self.mamba_expand * trunk.width, math.ceil(trunk.width / 16)

    def init_bias(key, shape):
      """The inverse of softplus at steps that are log-uniform in [dt_min, dt_max]."""
      dt = jnp.exp(jax.random.uniform(key, shape, jnp.float32, np.log(self.dt_min), np.log(self.dt_max)))
      dt = jnp.maximum(dt, _DT_FLOOR)
      return dt + jnp.log(-jnp.expm1(-dt))

    # One write to the residual stream per block: 1 / sqrt(depth), whatever model.init, unless that is not to know the depth.
    init_out = lambda *args: kernel_init(trunk, False)(*args) * (1.0 if trunk.init == "normal" else trunk.depth ** -0.5)
    init_dt = lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -(rank ** -0.5), rank ** -0.5)
    init_a = lambda key, shape: jnp.broadcast_to(jnp.log(jnp.arange(1, shape[1] + 1, dtype=jnp.float32))[None], shape)
    param = lambda name, init, axes, shape: self.param(name, nn.with_logical_partitioning(init, axes), shape)
    self.in_proj_x, self.in_proj_z = (Linear(inner, ("embed", "mlp"), trunk) for _ in range(2))
    self.conv1d = ShortConv(self.conv_width, inner)
    # Whatever model.bias: of these two dt alone has one, dt_bias, as in the reference implementation.
    self.x_proj = Linear(rank + 2 * state, ("mlp", None), trunk, bias=False)
    self.dt_proj = Linear(inner, (None, "mlp"), trunk, init=init_dt, bias=False)
    self.dt_bias = param("dt_bias", init_bias, ("mlp",), (inner,))
    self.a_log = param("A_log", init_a, ("mlp", None), (inner, state))
    self.d = param("D", lambda _, shape: jnp.ones(shape, jnp.float32), ("mlp",), (inner,))
    self.out_proj = Linear(trunk.width, ("mlp", "embed"), trunk, init=init_out)

  def _parameters(self, u):
    """dt, B and C in float32, and A (N, I), for the convolved input (..., I)."""
    rank = math.ceil(self.trunk.width / 16)
    dt, b, c = jnp.split(self.x_proj(u), [rank, rank + self.mamba_state], axis=-1)
    dt = self.dt_proj(dt).astype(jnp.float32) + self.dt_bias.reshape((1,) * (u.ndim - 1) + (-1,))
    return jax.nn.softplus(dt), b.astype(jnp.float32), c.astype(jnp.float32), -jnp.exp(self.a_log).T

  def _output(self, y, u, x):
    """out_proj((y + D u) * silu(z)), z from the block's input x."""
    y = y + self.d.reshape((1,) * (u.ndim - 1) + (-1,)) * u
    return self.out_proj(y.astype(x.dtype) * nn.silu(self.in_proj_z(x)))

  def __call__(self, x_BxTxD, num_last: int, max_length: int):
    """Full sequence -> (outputs at the `num_last` last positions (B, num_last, D), cache)."""
    x_TxBxD = x_BxTxD.swapaxes(0, 1)
    time, batch, _ = x_TxBxD.shape
    u_TxBxI, history = self.conv1d(self.in_proj_x(x_TxBxD), time)
    u_TxBxI = nn.silu(u_TxBxI)
    dt_TxBxI, b_TxBxN, c_TxBxN, a_NxI = self._parameters(u_TxBxI)
    u_TxBxI = u_TxBxI.astype(jnp.float32)
    start = jnp.zeros((batch, *a_NxI.shape), jnp.float32)
    y_TxBxI, state = selective_scan(u_TxBxI, dt_TxBxI, a_NxI, b_TxBxN, c_TxBxN, start)
    y_LxBxD = self._output(y_TxBxI[time - num_last:], u_TxBxI[time - num_last:], x_TxBxD[time - num_last:])
    return y_LxBxD.swapaxes(0, 1), {"conv": history, "state": state}

  def step(self, x_BxD, cache, index):
    """The next token -> (its output (B, D), cache)."""
    u_BxI, history = self.conv1d.step(self.in_proj_x(x_BxD), cache["conv"])
    u_BxI = nn.silu(u_BxI)
    dt_BxI, b_BxN, c_BxN, a_NxI = self._parameters(u_BxI)
    u_BxI = u_BxI.astype(jnp.float32)
    state = jnp.exp(dt_BxI[:, None] * a_NxI[None]) * cache["state"] + b_BxN[..., None] * (dt_BxI * u_BxI)[:, None]
    y_BxI = jnp.einsum("bnd,bn->bd", state, c_BxN)
    return self._output(y_BxI, u_BxI, x_BxD), {"conv": history, "state": state}
