"""A mixer in one file: the mean of all tokens so far, gated by the newest."""

import flax.linen as nn
import jax.numpy as jnp

from pathstar.models.layers import Linear, Trunk


class RunningMean(nn.Module):
  """Mixer `running_mean`. Cache: sum and number of the tokens so far."""

  year, source = None, "made up for the tests"

  trunk: Trunk
  mean_decay: float = 1.0  # running_mean: weight of a token for the next

  def check(self):
    """Any trunk will do."""

  def setup(self):
    self.gate, self.out = (Linear(self.trunk.width, ("embed", "mlp"), self.trunk) for _ in range(2))

  def _next(self, x_BxD, cache):
    total, number = cache["total"] * self.mean_decay + x_BxD.astype(jnp.float32), cache["number"] + 1
    return self.out((total / number).astype(x_BxD.dtype) * nn.sigmoid(self.gate(x_BxD))), {"total": total, "number": number}

  def __call__(self, x_BxTxD, num_last, max_length):
    cache = {"total": jnp.zeros((x_BxTxD.shape[0], self.trunk.width)), "number": jnp.float32(0)}
    outputs = []
    for t in range(x_BxTxD.shape[1]):
      y_BxD, cache = self._next(x_BxTxD[:, t], cache)
      outputs.append(y_BxD)
    return jnp.stack(outputs[-num_last:], axis=1), cache

  def step(self, x_BxD, cache, index):
    return self._next(x_BxD, cache)
