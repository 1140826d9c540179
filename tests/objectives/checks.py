"""What every objective must be, whatever it is: the checks that the registered ones pass, and that made-up wrong ones are caught by.

Each takes an objective, untrained, and fails by an AssertionError.
"""

import jax
import jax.numpy as jnp
import numpy as np


class Subject:
  """An objective at work: config, parameters, a batch in its order, and its functions, each compiled once."""

  def __init__(self, config, params, batch):
    self.config, self.params, self.batch, self.objective = config, params, batch, config.objective
    objective, model = config.objective, config.model
    loss = lambda params, batch, key: objective.loss(model, params, batch, key, jnp.int32(0))
    self._train = jax.jit(jax.value_and_grad(loss, has_aux=True))
    self._logits = jax.jit(lambda params, batch: objective.logits(model, params, batch))
    self._predict = jax.jit(lambda params, batch: objective.predict(model, params, batch, jax.random.key(2)))

  def train(self, batch, seed=0):
    """(loss, aux), gradients."""
    return self._train(self.params, batch, jax.random.key(seed))

  def logits(self, batch, params=None):
    return self._logits(params or self.params, batch)

  def predict(self, batch, params=None):
    return self._predict(params or self.params, batch)

  def other(self, place):
    """The batch with another token at a place of the target."""
    target = self.batch["target"]
    return self.batch | {"target": target.at[:, place].set((target[:, place] + 1) % self.config.task.num_nodes)}


def _differs(a, b):
  """By more than rounding: programs that see other numbers may round them differently."""
  return bool(np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-4)


def scores_do_not_see_their_answer(subject):
  true = subject.logits(subject.batch)
  for place in range(true.shape[1]):
    other = subject.logits(subject.other(place))
    assert not _differs(other[:, place], true[:, place]), f"the scores of token {place} change with that token: the answer leaks"


def sees_answer_is_what_it_says(subject):
  true = subject.logits(subject.batch)
  seen = any(_differs(subject.logits(subject.other(place)), true) for place in range(true.shape[1]))
  assert seen == subject.objective.sees_answer, f"its scores {'do' if seen else 'do not'} see the answer that is forced on them"


def one_pass_is_what_is_generated(subject):
  if not subject.objective.one_pass:
    return
  generated = subject.predict(subject.batch)
  again = subject.logits(subject.batch | {"target": generated.astype(subject.batch["target"].dtype)})
  np.testing.assert_array_equal(again.argmax(-1), generated, "one pass over what is generated does not give it again")


def predictions_do_not_know_the_answer(subject):
  tokens = subject.predict(subject.batch)
  assert tokens.shape == subject.batch["target"].shape and jnp.issubdtype(tokens.dtype, jnp.integer)
  assert 0 <= tokens.min() and tokens.max() < subject.config.model.vocab_size
  for place in range(tokens.shape[1]):
    np.testing.assert_array_equal(subject.predict(subject.other(place)), tokens)


def the_loss_scores_what_it_says(subject):
  weights = sum(np.asarray(subject.train(subject.batch, seed)[0][1].weight_BxL) for seed in range(8))  # some draw what they score
  assert (weights[np.asarray(subject.batch["weight"]) > 0] > 0).all() == subject.objective.scores_all


def what_is_kept_is_enough(subject):
  """Logits and predictions are the same without the other parameters."""
  kept = {"objective": {}} | subject.objective.kept(subject.params)
  for of in (subject.logits, subject.predict):
    np.testing.assert_array_equal(of(subject.batch), of(subject.batch, kept))


ALL = (scores_do_not_see_their_answer, sees_answer_is_what_it_says, one_pass_is_what_is_generated, predictions_do_not_know_the_answer,
       the_loss_scores_what_it_says, what_is_kept_is_enough)
