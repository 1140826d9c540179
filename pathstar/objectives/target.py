"""The target as an objective meets it: its order, its scores, and where in it things stand.

Arrays (B, L) follow the order in which the target is produced. Answers of a task that lets them vary end in padding of no weight, in
either order: reversing turns around what comes before it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

ORDERS = ("forward", "reversed")


class Aux(NamedTuple):
  """Per-position record of a loss, in the order in which the model sees the target."""

  loss_BxL: jax.Array  # nats
  correct_BxL: jax.Array  # argmax equals the target
  weight_BxL: jax.Array  # what each token counts in the loss
  terms: dict[str, jax.Array] = {}  # parts of the loss by name, logged as train/loss_<name>


def turned(x_BxL: jax.Array, length_B: jax.Array | None = None) -> jax.Array:
  """The first `length_B` of each row (of values, or of arrays) in the opposite order; None: all. Its own inverse."""
  if length_B is None:
    return x_BxL[:, ::-1]
  place = jnp.arange(x_BxL.shape[1])[None]
  index_BxL = jnp.where(place < length_B[:, None], length_B[:, None] - 1 - place, place)
  return jnp.take_along_axis(x_BxL, jnp.expand_dims(index_BxL, range(2, x_BxL.ndim)), axis=1)


def weighted_mean(x_BxL: jax.Array, weight_BxL: jax.Array) -> jax.Array:
  """Mean over the whole batch; what weighs nothing does not count."""
  return jnp.sum(x_BxL * weight_BxL) / jnp.sum(weight_BxL)


def mean_of_any(x_BxL: jax.Array, weight_BxL: jax.Array) -> jax.Array:
  """`weighted_mean`, or 0 where nothing weighs anything: so far ahead a batch may have no token that counts."""
  return jnp.sum(x_BxL * weight_BxL) / jnp.maximum(jnp.sum(weight_BxL), 1e-9)


def score(logits_BxLxV: jax.Array, batch: dict) -> tuple[jax.Array, Aux]:
  """Weighted mean cross-entropy (nats a token) and its per-position record."""
  # Labels are picked up by a one-hot product: the gradient of a gather is a serial scatter on CPU.
  one_hot = jax.nn.one_hot(batch["target"], logits_BxLxV.shape[-1])
  loss_BxL = optax.losses.softmax_cross_entropy(logits_BxLxV, one_hot)
  weight_BxL = batch["weight"]
  return weighted_mean(loss_BxL, weight_BxL), Aux(loss_BxL, logits_BxLxV.argmax(-1) == batch["target"], weight_BxL)
