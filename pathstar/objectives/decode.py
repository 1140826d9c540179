"""How answers are produced: token by token with the model's cache, or in a number of passes that fill it in.

Both go through the objective, which may have a head between hidden state and logits, tokens of its own before the answer, and passes
of its own. Both are pure and vectorise over the runs of a pack.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def autoregressive(objective, model, params, batch: dict, key: jax.Array | None = None) -> jax.Array:
  """Tokens (B, L), each the argmax after those before it; or, with a `key`, a sample at temperature 1."""
  prompt_BxP, length = objective.prompt(batch), batch["target"].shape[1]
  start = prompt_BxP.shape[1]
  readout = lambda hidden_BxD, token_B: objective.readout(model, params, hidden_BxD[:, None], token_B[:, None])[:, 0]

  def choose(logits_BxV, index):
    if key is None:
      return logits_BxV.argmax(-1)
    return jax.random.categorical(jax.random.fold_in(key, index), logits_BxV)

  def step(carry, index):
    logits_BxV, cache = carry
    token_B = choose(logits_BxV, index)
    hidden_BxD, cache = model.step(params["model"], token_B, cache, index)
    return (readout(hidden_BxD, token_B), cache), token_B

  hidden_BxD, cache = model.prefill(params["model"], prompt_BxP, start + length)
  # The last token needs no step after it.
  indices = start + jnp.arange(length - 1)
  (logits_BxV, _), token_LxB = jax.lax.scan(step, (readout(hidden_BxD, prompt_BxP[:, -1]), cache), indices)
  return jnp.concatenate([token_LxB.T, choose(logits_BxV, start + length - 1)[:, None]], axis=1)


def iterative(fill: Callable, hidden_BxL: jax.Array, num_passes: int, left_to_right: bool = False) -> jax.Array:
  """Tokens (B, L) filled in over `num_passes` passes, as many in each as in the others, the surest first or from left to right.

  Args:
    fill: tokens (B, L), some of them hidden -> logits (B, L, V) of all, among which the hidden token is not.
    hidden_BxL: the start: the hidden token everywhere.
    num_passes: how often the model is asked.
  """
  def one(number, token_BxL):
    logits_BxLxV = fill(token_BxL)
    open_BxL = token_BxL == hidden_BxL
    first_BxL = -jnp.arange(open_BxL.shape[1])[None] if left_to_right else jax.nn.log_softmax(logits_BxLxV, axis=-1).max(-1)
    rank_BxL = jnp.argsort(jnp.argsort(-jnp.where(open_BxL, first_BxL, -jnp.inf), axis=1), axis=1)
    count_B = -(-open_BxL.sum(axis=1) // (num_passes - number))
    now_BxL = open_BxL & (rank_BxL < count_B[:, None])
    return jnp.where(now_BxL, logits_BxLxV.argmax(-1).astype(token_BxL.dtype), token_BxL)

  return jax.lax.fori_loop(0, num_passes, one, hidden_BxL)
