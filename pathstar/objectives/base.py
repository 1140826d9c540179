"""What all objectives share: the type of a score, cross-entropy over the target, target order, and decoding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

ORDERS = ("forward", "reversed")


class Aux(NamedTuple):
  """Per-position record of a loss, in the order in which the model sees the target."""

  loss_BxL: jax.Array  # nats
  correct_BxL: jax.Array  # argmax equals the target
  weight_BxL: jax.Array  # what each token counts in the loss


def reorder(batch: dict, order: str) -> dict:
  """The batch with its target in the order in which it is to be produced. Its own inverse."""
  if order == "forward":
    return batch
  return {k: v[:, ::-1] if k in ("target", "weight", "answer") else v for k, v in batch.items()}


def path_order(x_BxL: jax.Array, order: str) -> jax.Array:
  """Per-position values from target order to path order (position 0 = start), so that positions mean the same everywhere."""
  return x_BxL if order == "forward" else x_BxL[:, ::-1]


def at_branch(task, order: str) -> np.ndarray:
  """Where in a target in `order` the branch token stands: bool (1, L)."""
  place = task.branch if order == "forward" else task.target_length - 1 - task.branch
  return np.arange(task.target_length)[None] == place


def score(logits_BxLxV: jax.Array, batch: dict) -> tuple[jax.Array, Aux]:
  """Weighted mean cross-entropy (nats a token) and its per-position record."""
  # Labels are picked up by a one-hot product: the gradient of a gather is a serial scatter on CPU.
  one_hot = jax.nn.one_hot(batch["target"], logits_BxLxV.shape[-1])
  loss_BxL = optax.losses.softmax_cross_entropy(logits_BxLxV, one_hot)
  weight_BxL = batch["weight"]
  loss = jnp.sum(loss_BxL * weight_BxL) / jnp.sum(weight_BxL)
  return loss, Aux(loss_BxL, logits_BxLxV.argmax(-1) == batch["target"], weight_BxL)


def decode(model, params, prefix_BxP: jax.Array, length: int, key: jax.Array | None = None) -> jax.Array:
  """`length` tokens (B, length) decoded one by one from the prefix with the model's cache.

  Each is the argmax; or, with a `key`, a sample at temperature 1.
  """
  start = prefix_BxP.shape[1]
  logits_BxV, cache = model.prefill(params, prefix_BxP, start + length)

  def choose(logits_BxV, index):
    if key is None:
      return logits_BxV.argmax(-1)
    return jax.random.categorical(jax.random.fold_in(key, index), logits_BxV)

  def step(carry, index):
    logits_BxV, cache = carry
    token_B = choose(logits_BxV, index)
    return model.step(params, token_B, cache, index), token_B

  # The last token needs no step after it.
  indices = start + jnp.arange(length - 1)
  (logits_BxV, _), token_LxB = jax.lax.scan(step, (logits_BxV, cache), indices)
  return jnp.concatenate([token_LxB.T, choose(logits_BxV, start + length - 1)[:, None]], axis=1)
