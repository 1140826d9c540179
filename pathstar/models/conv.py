"""Short causal depthwise convolution over time, the local mixing before a state-space recurrence (H3, arXiv 2212.14052; Mamba).

y_t = bias + sum_w tap_w * x_(t - width + 1 + w): the last tap multiplies the newest token, as in torch.nn.Conv1d with left padding.
A sum of shifted slices: XLA's grouped convolution is slow on CPU, and four taps are no work for a matrix unit.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class ShortConv(nn.Module):
  """Depthwise convolution of (T, B, D), with bias; the initialiser is U(-1/sqrt(width), 1/sqrt(width)), as torch's."""

  width: int
  features: int

  def setup(self):
    bound = self.width ** -0.5
    uniform = lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)
    boxed = lambda *axes: nn.with_logical_partitioning(uniform, axes)
    self.taps = self.param("taps", boxed(None, "mlp"), (self.width, self.features))  # not a matrix: Muon leaves it to Adam
    self.bias = self.param("bias", boxed("mlp"), (self.features,))

  def __call__(self, x_TxBxD, num_last: int):
    """Outputs at the `num_last` last times, and the newest width - 1 inputs (width - 1, B, D): what `step` needs."""
    history = self.width - 1
    # As far back as the first output looks; zeros before the beginning.
    x = x_TxBxD[max(0, x_TxBxD.shape[0] - num_last - history):]
    x = jnp.pad(x, ((num_last + history - x.shape[0], 0), (0, 0), (0, 0)))
    taps = self.taps.astype(x.dtype)
    y = sum(taps[w][None, None] * x[w:w + num_last] for w in range(self.width))
    return y + self.bias.astype(x.dtype)[None, None], x[num_last:]

  def step(self, x_BxD, history_WxBxD):
    x = jnp.concatenate([history_WxBxD, x_BxD[None]])
    y = (self.taps.astype(x.dtype)[:, None] * x).sum(0)
    return y + self.bias.astype(x.dtype)[None], x[1:]
