"""What every objective must be, whatever it is: the checks that the registered ones pass, and that made-up wrong ones are caught by.

Each takes a setting (config, params, batch in the objective's order), untrained, and fails by an AssertionError.
"""

import jax
import jax.numpy as jnp
import numpy as np


def _other(config, batch, place):
  """The batch with another token at a place of the target."""
  target = batch["target"]
  return batch | {"target": target.at[:, place].set((target[:, place] + 1) % config.task.num_nodes)}


def _logits(config, params):
  return jax.jit(lambda batch: config.objective.logits(config.model, params, batch))


def _differs(a, b):
  """By more than rounding: programs that see other numbers may round them differently."""
  return bool(np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-4)


def scores_do_not_see_their_answer(config, params, batch):
  logits, length = _logits(config, params), batch["target"].shape[1]
  true = logits(batch)
  for place in range(length):
    other = logits(_other(config, batch, place))
    assert not _differs(other[:, place], true[:, place]), f"the scores of token {place} change with that token: the answer leaks"


def sees_answer_is_what_it_says(config, params, batch):
  logits, length = _logits(config, params), batch["target"].shape[1]
  true = logits(batch)
  seen = any(_differs(logits(_other(config, batch, place)), true) for place in range(length))
  assert seen == config.objective.sees_answer, f"its scores {'do' if seen else 'do not'} see the answer that is forced on them"


def one_pass_is_what_is_generated(config, params, batch):
  if not config.objective.one_pass:
    return
  generated = jax.jit(lambda batch: config.objective.predict(config.model, params, batch, jax.random.key(2)))(batch)
  again = _logits(config, params)(batch | {"target": generated.astype(batch["target"].dtype)})
  np.testing.assert_array_equal(again.argmax(-1), generated, "one pass over what is generated does not give it again")


def predictions_do_not_know_the_answer(config, params, batch):
  predict = jax.jit(lambda batch: config.objective.predict(config.model, params, batch, jax.random.key(2)))
  tokens = predict(batch)
  assert tokens.shape == batch["target"].shape and jnp.issubdtype(tokens.dtype, jnp.integer)
  assert 0 <= tokens.min() and tokens.max() < config.model.vocab_size
  for place in range(tokens.shape[1]):
    np.testing.assert_array_equal(predict(_other(config, batch, place)), tokens)


def the_loss_scores_what_it_says(config, params, batch):
  loss = jax.jit(lambda key: config.objective.loss(config.model, params, batch, key, jnp.int32(0)))
  weights = sum(np.asarray(loss(jax.random.key(i))[1].weight_BxL) for i in range(8))  # some draw what they score
  assert (weights[np.asarray(batch["weight"]) > 0] > 0).all() == config.objective.scores_all


def what_is_kept_is_enough(config, params, batch):
  """Logits and predictions are the same without the other parameters."""
  kept = config.objective.kept(params)
  outputs = lambda params: jax.jit(lambda params, batch: (
      config.objective.logits(config.model, params, batch),
      config.objective.predict(config.model, params, batch, jax.random.key(2))))(params, batch)
  for whole, part in zip(outputs(params), outputs({"objective": {}} | kept), strict=True):
    np.testing.assert_array_equal(whole, part)


ALL = (scores_do_not_see_their_answer, sees_answer_is_what_it_says, one_pass_is_what_is_generated, predictions_do_not_know_the_answer,
       the_loss_scores_what_it_says, what_is_kept_is_enough)
