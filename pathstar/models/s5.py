"""S5: a multi-input, multi-output diagonal state-space layer (Smith, Warrington and Linderman 2023, arXiv 2208.04933).

    x'(t) = Lambda x(t) + B u(t),  y(t) = 2 Re(C x(t)) + D u(t)     discretised per state with its own step exp(log_step)

Lambda starts as the eigenvalues of HiPPO-N (section 4.1, appendix B.1; with J blocks on the diagonal, appendix B.1.1), of which
one of each conjugate pair is kept (appendix B.1.2). Mixer `s5` is the paper's layer, with its activation GELU(y) * sigmoid(W GELU(y));
the paper has no MLP after it (model.mlp_ratio=0). A time-invariant layer can't choose what to remember by what a token is.
Mixer `s5_gated` therefore puts the same SSM into the gated block of H3 (Fu et al. 2023, arXiv 2212.14052, section 3): short
convolutions on q, k and v, then q * S5(k * v). It is not the paper's layer, and reports should say which is which.
A recurrence knows the order of its inputs: rotary positions are attention's alone, so `rope` is `none` for these mixers and Mamba.

Parameters are those of the reference implementation, with real and imaginary parts leading instead of last: for H features and P
conjugate pairs Lambda_re, Lambda_im, log_step (P,), B (2, P, H), C (2, H, P), D (H,).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pathstar.devices.mesh import constrain
from pathstar.errors import choose, require
from pathstar.models.conv import ShortConv
from pathstar.models.layers import Linear, Trunk, gelu, product
from pathstar.models.scan import linear_recurrence

_CLIP = -1e-4  # largest real part under s5_clip, as in the reference implementation


def hippo_n(size: int) -> tuple[np.ndarray, np.ndarray]:
  """Eigenvalues (size / 2,) and eigenvectors (size, size / 2) of HiPPO-N, one of each conjugate pair, in float64.

  HiPPO-N (equation 9 of arXiv 2208.04933) is -1/2 I plus a skew-symmetric matrix S with |S_nk| = sqrt((n + 1/2)(k + 1/2)).
  """
  root = np.sqrt(np.arange(size) + 0.5)
  outer = np.outer(root, root)
  skew = np.triu(outer, 1) - np.tril(outer, -1)
  imaginary, vectors = np.linalg.eigh(-1j * skew)  # ascending: the first half are the negative ones
  half = vectors[:, :size // 2]
  # An eigenvector's phase is up to the linear algebra library: fix it, so that a seed means the same everywhere.
  half = half * (np.abs(half[:1]) / half[:1])
  return -0.5 + 1j * imaginary[:size // 2], half


class SSM(nn.Module):
  """The recurrence alone, on (T, B, H): time leads."""

  features: int
  state: int
  blocks: int
  discretization: str
  clip: bool
  scheme: str
  dt_min: float
  dt_max: float

  def setup(self):
    width, pairs = self.features, self.state // 2
    eigenvalues, vectors = hippo_n(self.state // self.blocks)
    # Complex constants as float32 parts: B = V^H B', C = C' V for real B' and complex C' that are LeCun normal. The reference
    # implementation draws B (P, H) by an initialiser to which P are the inputs (init_VinvB), and each part of C by one that does not know
    # of the other (trunc_standard_normal, its default).
    basis = np.kron(np.eye(self.blocks), vectors)
    re, im = jnp.asarray(basis.real, jnp.float32), jnp.asarray(basis.imag, jnp.float32)
    normal = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)

    def init_b(key, shape):
      b = normal(key, (self.state, width), jnp.float32)
      b = b * (width / self.state) ** 0.5 if self.scheme == "reference" else b
      return jnp.stack([re.T @ b, -im.T @ b])

    def init_c(key, shape):
      c = normal(key, (2, width, self.state), jnp.float32)
      c_re, c_im = c * 2**0.5 if self.scheme == "reference" else c
      return jnp.stack([c_re @ re - c_im @ im, c_re @ im + c_im @ re])

    def init_step(key, shape):
      return jax.random.uniform(key, shape, jnp.float32, np.log(self.dt_min), np.log(self.dt_max))

    constant = lambda x: lambda key, shape: jnp.asarray(np.tile(x, self.blocks), jnp.float32)
    param = lambda name, init, axes, shape: self.param(name, nn.with_logical_partitioning(init, axes), shape)
    self.lambda_re = param("Lambda_re", constant(eigenvalues.real), ("state",), (pairs,))
    self.lambda_im = param("Lambda_im", constant(eigenvalues.imag), ("state",), (pairs,))
    self.log_step = param("log_step", init_step, ("state",), (pairs,))
    self.b = param("B", init_b, (None, "state", "embed"), (2, pairs, width))
    self.c = param("C", init_c, (None, "embed", "state"), (2, width, pairs))
    self.d = param("D", lambda key, shape: jax.random.normal(key, shape, jnp.float32), ("embed",), (width,))

  def _discretize(self):
    """Transition (P,) and input matrix (H, P), each as (re, im) (equation 6 and appendix A)."""
    re = jnp.minimum(self.lambda_re, _CLIP) if self.clip else self.lambda_re
    im, dt = self.lambda_im, jnp.exp(self.log_step)
    x, y = re * dt, im * dt
    if self.discretization == "zoh":
      a = jnp.exp(x) * jnp.cos(y), jnp.exp(x) * jnp.sin(y)
      # exp(z) - 1 without cancellation for small z = x + iy, then divided by Lambda.
      top = jnp.expm1(x) * jnp.cos(y) - 2 * jnp.square(jnp.sin(y / 2)), a[1]
      size = jnp.square(re) + jnp.square(im)
      f = (top[0] * re + top[1] * im) / size, (top[1] * re - top[0] * im) / size
    else:  # bilinear: (1 + z/2) / (1 - z/2) and dt / (1 - z/2)
      size = jnp.square(1 - x / 2) + jnp.square(y / 2)
      inverse = (1 - x / 2) / size, y / 2 / size
      a = inverse[0] * (1 + x / 2) - inverse[1] * y / 2, inverse[1] * (1 + x / 2) + inverse[0] * y / 2
      f = inverse[0] * dt, inverse[1] * dt
    b_re, b_im = self.b
    f_re, f_im = f[0][:, None], f[1][:, None]
    return a, ((f_re * b_re - f_im * b_im).T, (f_re * b_im + f_im * b_re).T)

  def _output(self, h_re, h_im, u):
    """y = 2 Re(C x) + D u, on any leading axes."""
    y = product(h_re.astype(u.dtype), 2 * self.c[0].T) - product(h_im.astype(u.dtype), 2 * self.c[1].T)
    return y + self.d.astype(u.dtype).reshape((1,) * (u.ndim - 1) + (-1,)) * u

  def __call__(self, u_TxBxH, num_last: int):
    """Outputs (num_last, B, H) at the last times, and the state after all of them."""
    time, batch, _ = u_TxBxH.shape
    a, matrices = self._discretize()
    bu = tuple(product(u_TxBxH, matrix).astype(jnp.float32) for matrix in matrices)
    start = (jnp.zeros((batch, self.state // 2), jnp.float32),) * 2
    re, im = linear_recurrence(tuple(p[None, None] for p in a), bu, start)
    y_LxBxH = self._output(re[time - num_last:], im[time - num_last:], u_TxBxH[time - num_last:])
    return constrain(y_LxBxH, None, "batch", None), {"re": re[-1], "im": im[-1]}

  def step(self, u_BxH, state):
    (a_re, a_im), matrices = self._discretize()
    bu_re, bu_im = (product(u_BxH, matrix).astype(jnp.float32) for matrix in matrices)
    re = a_re[None] * state["re"] - a_im[None] * state["im"] + bu_re
    im = a_re[None] * state["im"] + a_im[None] * state["re"] + bu_im
    return self._output(re, im, u_BxH), {"re": re, "im": im}


class S5(nn.Module):
  """Mixer `s5`; its fields with defaults are config fields under `model.`. Cache: the complex state (B, P)."""

  ignores = ("model.positions=rope", "model.init=mimetic")
  year, source = 2022, "Smith et al., arXiv 2208.04933"

  trunk: Trunk
  s5_state: int = 32  # s5, s5_gated: real dimension of the state; half as many conjugate pairs are stored
  s5_blocks: int = 1  # s5, s5_gated: HiPPO-N blocks on the diagonal of the initial state matrix
  s5_discretization: str = "zoh"  # s5, s5_gated: zoh | bilinear
  s5_clip: bool = False  # s5, s5_gated: keep eigenvalues in the left half plane
  s5_init: str = "fan_in"  # s5, s5_gated: mean square of B and C at first: 1/width, 1/state | reference (published code): 1/state, 2/state
  dt_min: float = 0.001  # s5, s5_gated, mamba: smallest initial time step
  dt_max: float = 0.1  # s5, s5_gated, mamba: largest initial time step

  def check(self) -> None:
    """Raises UserError if the fields do not fit the trunk."""
    check_steps(self.dt_min, self.dt_max)
    choose("model.s5_discretization", self.s5_discretization, ("zoh", "bilinear"))
    choose("model.s5_init", self.s5_init, ("fan_in", "reference"))
    require(self.s5_blocks >= 1, "model.s5_blocks", self.s5_blocks, "an integer >= 1")
    require(self.s5_state >= 2 and self.s5_state % (2 * self.s5_blocks) == 0, "model.s5_state", self.s5_state,
            f"a positive multiple of 2 * model.s5_blocks = {2 * self.s5_blocks}")

  def setup(self):
    self.ssm = self.make_ssm()
    self.gate = Linear(self.trunk.width, ("embed", "mlp"), self.trunk)

  def make_ssm(self) -> SSM:
    return SSM(self.trunk.width, self.s5_state, self.s5_blocks, self.s5_discretization, self.s5_clip, self.s5_init, self.dt_min,
               self.dt_max)

  def _activate(self, y):
    y = gelu(y)
    return y * nn.sigmoid(self.gate(y))

  def __call__(self, x_BxTxD, num_last: int, max_length: int):
    """Full sequence -> (outputs at the `num_last` last positions (B, num_last, D), cache)."""
    y_LxBxD, state = self.ssm(x_BxTxD.swapaxes(0, 1), num_last)
    return self._activate(y_LxBxD).swapaxes(0, 1), state

  def step(self, x_BxD, cache, index):
    """The next token -> (its output (B, D), cache)."""
    y_BxD, cache = self.ssm.step(x_BxD, cache)
    return self._activate(y_BxD), cache


class S5Gated(S5):
  """Mixer `s5_gated`; adds to the fields of `s5`. Cache: the state and the convolutions' newest inputs."""

  year, source = 2022, "S5 in the gated block of H3: Fu et al., arXiv 2212.14052"

  conv_width: int = 4  # s5_gated, mamba: taps of the short causal convolution

  def check(self) -> None:
    """Raises UserError if the fields do not fit the trunk."""
    super().check()
    require(self.conv_width >= 1, "model.conv_width", self.conv_width, "an integer >= 1")

  def setup(self):
    width = self.trunk.width
    self.ssm = self.make_ssm()
    self.query, self.key, self.value = (Linear(width, ("embed", "mlp"), self.trunk) for _ in range(3))
    self.query_conv, self.key_conv, self.value_conv = (ShortConv(self.conv_width, width) for _ in range(3))
    self.out = Linear(width, ("mlp", "embed"), self.trunk, residual=True)

  def __call__(self, x_BxTxD, num_last: int, max_length: int):
    """Full sequence -> (outputs at the `num_last` last positions (B, num_last, D), cache)."""
    x_TxBxD = x_BxTxD.swapaxes(0, 1)
    time, seen = x_TxBxD.shape[0], num_last + self.conv_width - 1
    q_LxBxD, q_history = self.query_conv(self.query(x_TxBxD[max(0, time - seen):]), num_last)
    k_TxBxD, k_history = self.key_conv(self.key(x_TxBxD), time)
    v_TxBxD, v_history = self.value_conv(self.value(x_TxBxD), time)
    y_LxBxD, state = self.ssm(k_TxBxD * v_TxBxD, num_last)
    cache = {"ssm": state, "q": q_history, "k": k_history, "v": v_history}
    return self.out(q_LxBxD * y_LxBxD).swapaxes(0, 1), cache

  def step(self, x_BxD, cache, index):
    """The next token -> (its output (B, D), cache)."""
    q_BxD, q_history = self.query_conv.step(self.query(x_BxD), cache["q"])
    k_BxD, k_history = self.key_conv.step(self.key(x_BxD), cache["k"])
    v_BxD, v_history = self.value_conv.step(self.value(x_BxD), cache["v"])
    y_BxD, state = self.ssm.step(k_BxD * v_BxD, cache["ssm"])
    return self.out(q_BxD * y_BxD), {"ssm": state, "q": q_history, "k": k_history, "v": v_history}


def check_steps(dt_min: float, dt_max: float) -> None:
  """Raises UserError unless the initial time steps are a range."""
  require(0 < dt_min < dt_max, "model.dt_min", dt_min, f"above 0 and below model.dt_max = {dt_max}")
