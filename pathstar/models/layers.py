"""The few layers that the trunk and the mixers share."""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from pathstar.devices.mesh import alone, platform

KEPT = "kept"
SMALL = ("gpt2", "normal")  # values of model.init with a standard deviation of 0.02, whatever the width


def kept(x):
  """x, which a block that is computed again in the backward pass (LM._apply_block) need not compute again: small, or dear to get."""
  return checkpoint_name(x, KEPT)


@dataclasses.dataclass(frozen=True)
class Trunk:
  """What every block of one model has in common. Handed to each mixer as `trunk`."""

  width: int
  depth: int  # blocks applied one after another, loops counted
  mlp_ratio: int
  positions: str
  norm: str
  bias: bool
  init: str
  dtype: str


def kernel_init(trunk: Trunk, residual: bool):
  """Initialiser of a linear map: N(0, 1/fan_in), or GPT-2's N(0, 0.02^2).

  Under `gpt2`, maps that write to the residual stream (`residual`) are scaled by 1 / sqrt(2 * depth), as in Radford et al.
  (2019), "Language models are unsupervised multitask learners", section 2.3. Under `normal` they are not.
  """
  if trunk.init not in SMALL:
    return nn.initializers.variance_scaling(1.0, "fan_in", "normal")
  return nn.initializers.normal(0.02 / (2 * trunk.depth) ** 0.5 if residual and trunk.init == "gpt2" else 0.02)


def product(x, kernel):
  """x @ kernel over the last axis of x, in the type of x."""
  kernel = kernel.astype(x.dtype)
  # Not on a TPU, where rows are tiles of 8: to put 31 tokens and the batch into one axis would copy them all. Nor on a mesh, which would
  # gather a batch that is shared out.
  if platform() == "tpu" or not alone():
    return jnp.einsum("...d,df->...f", x, kernel)
  # Flattened to 2-D: the gradient of the 3-D product is three times slower on XLA's CPU backend, and transposes more on a GPU.
  return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


def with_bias(x, bias_D):
  """x + bias along the last axis, in the type of x; x if there is no bias."""
  return x if bias_D is None else x + bias_D.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


class Linear(nn.Module):
  """y = x @ kernel over the last axis, plus a bias if the trunk says so. `axes` are the kernel's logical axes (see devices/mesh.py)."""

  features: int
  axes: tuple[str, str]
  trunk: Trunk
  residual: bool = False
  init: Callable | None = None  # in place of the trunk's
  bias: bool | None = None  # None: as the trunk says

  @nn.compact
  def __call__(self, x):
    param = lambda name, init, axes, *shape: self.param(name, nn.with_logical_partitioning(init, axes), shape, jnp.float32)
    y = product(x, param("kernel", self.init or kernel_init(self.trunk, self.residual), self.axes, x.shape[-1], self.features))
    has = self.trunk.bias if self.bias is None else self.bias
    return with_bias(y, param("bias", nn.initializers.zeros, self.axes[1:], self.features) if has else None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def standardise(x, scale, centred: bool, epsilon: float):
  """x over its root mean square along the last axis, less its mean first if `centred`, times a scale (1, ..., 1, D)."""
  return _standardise(x, scale, centred, epsilon)[0]


def _standardise(x, scale, centred, epsilon):
  mean = kept(x.mean(axis=-1, keepdims=True)) if centred else 0.0
  # E x^2 - (E x)^2, since both are taken in one pass, by what computes x; the mean of a residual stream is not large.
  variance = jnp.maximum(jnp.square(x).mean(axis=-1, keepdims=True) - jnp.square(mean), 0.0)
  rate = kept(jax.lax.rsqrt(variance + epsilon))
  return (x - mean) * rate * scale, (x, scale, mean, rate)


def _standardise_backward(centred, epsilon, saved, g):
  # With both means over the same numbers, neither of the other, one pass over the array takes them where autodiff's takes two.
  x, scale, mean, rate = saved
  y, dy = (x - mean) * rate, g * scale
  dx = dy - y * (dy * y).mean(axis=-1, keepdims=True) - (dy.mean(axis=-1, keepdims=True) if centred else 0.0)
  return rate * dx, (g * y).sum(axis=tuple(range(x.ndim - 1)), keepdims=True)


standardise.defvjp(_standardise, _standardise_backward)


class Norm(nn.Module):
  """LayerNorm or RMSNorm over the last axis, computed in float32, with a learned scale and perhaps a bias; the result is of `dtype`."""

  kind: str
  dtype: str
  bias: bool = False
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x):
    param = lambda name, init: self.param(name, nn.with_logical_partitioning(init, ("embed",)), (x.shape[-1],), jnp.float32)
    scale = param("scale", nn.initializers.ones).reshape((1,) * (x.ndim - 1) + (-1,))
    y = standardise(x.astype(jnp.float32), scale, self.kind == "layernorm", self.epsilon)
    return with_bias(y, param("bias", nn.initializers.zeros) if self.bias else None).astype(self.dtype)


class TokenShift(nn.Module):
  """x_t + scale * roll(x_(t-1), D/2): every token carries the one before it in another half of the channels.

  As the token shift of RWKV (Peng et al. 2023, arXiv 2305.13048), but added rather than interpolated.
  """

  @nn.compact
  def __call__(self, x, previous):
    scale = self.param("scale", nn.with_logical_partitioning(nn.initializers.ones, ("embed",)), (x.shape[-1],), jnp.float32)
    return x + scale.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,)) * jnp.roll(previous, x.shape[-1] // 2, axis=-1)


def gelu(x):
  """GELU (Hendrycks and Gimpel 2016, arXiv 1606.08415), by tanh."""
  # A GPU computes it again sooner than it stores the six arrays, each as wide as the MLP, that its gradient would read.
  return (jax.checkpoint(nn.gelu) if platform() == "gpu" else nn.gelu)(x)


class MLP(nn.Module):
  """Two linear maps around a GELU; `mlp_ratio` times as wide inside."""

  trunk: Trunk

  @nn.compact
  def __call__(self, x):
    hidden = Linear(self.trunk.mlp_ratio * self.trunk.width, ("embed", "mlp"), self.trunk, name="up")(x)
    return Linear(self.trunk.width, ("mlp", "embed"), self.trunk, residual=True, name="down")(gelu(hidden))
