"""Every registered objective, in every order, through the same invariants; and what each of them lets the model see."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import objectives
from pathstar.objectives import base

METHODS = [(name, order) for name in objectives.OBJECTIVES for order in base.ORDERS]


@pytest.fixture(scope="module")
def setting(tiny):
  """setting(name, order) -> (config, parameters, batch of 6 in the order of the objective)."""
  drawn = {}

  def make(name, order="forward"):
    config = tiny({"objective.name": name, "objective.order": order, "model.num_layers": 2})
    if name not in drawn:  # the same for both orders
      drawn[name] = jax.jit(lambda key: nn.meta.unbox(
          {"model": config.model.init(key), "objective": config.objective.init(key)}))(jax.random.key(0))
    batch = jax.tree.map(jnp.asarray, config.task.examples(0, "train", np.arange(6)))
    return config, drawn[name], base.reorder(batch, order)

  return make


def with_other_target(config, batch):
  """The same problems with any other answer."""
  return batch | {"target": (batch["target"] + 1) % config.task.num_nodes}


@pytest.mark.parametrize("name, order", METHODS)
def test_inputs_begin_with_the_problem_and_are_tokens_that_the_model_has_room_for(setting, name, order):
  config, _, batch = setting(name, order)
  tokens = np.asarray(config.objective.inputs(batch))
  assert tokens.dtype == np.int32 and tokens.shape[1] <= config.model.max_length
  np.testing.assert_array_equal(tokens[:, :config.task.prefix_length], batch["prefix"])
  assert 0 <= tokens.min() and tokens.max() < config.model.vocab_size


@pytest.mark.parametrize("name, order", METHODS)
def test_loss_is_finite_and_every_parameter_has_a_gradient(setting, name, order):
  config, params, batch = setting(name, order)
  loss_fn = lambda params: config.objective.loss(config.model, params, batch, jax.random.key(0))
  (loss, aux), grads = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))(params)
  assert loss.shape == () and np.isfinite(loss) and loss > 0
  assert aux.loss_BxL.shape == aux.correct_BxL.shape == (6, config.task.length) and aux.correct_BxL.dtype == bool
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    assert np.isfinite(leaf).all() and np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize("name, order", METHODS)
def test_weights_are_relative_and_what_weighs_nothing_is_not_learned(setting, name, order):
  config, params, batch = setting(name, order)
  loss_fn = jax.jit(lambda batch: config.objective.loss(config.model, params, batch, jax.random.key(0))[0])
  weight = batch["weight"].at[:, -1].set(0)
  weighted = loss_fn(batch | {"weight": weight})
  assert loss_fn(batch | {"weight": 3 * weight}) == pytest.approx(float(weighted), rel=1e-5)
  assert abs(loss_fn(batch) - weighted) > 1e-4
  # The last target token is seen by nobody: without weight it may be anything.
  other = batch["target"].at[:, -1].set((batch["target"][:, -1] + 1) % config.task.num_nodes)
  assert loss_fn(batch | {"weight": weight, "target": other}) == weighted
  assert loss_fn(batch | {"target": other}) != loss_fn(batch)


@pytest.mark.parametrize("name, order", METHODS)
def test_predictions_are_tokens_that_do_not_know_the_answer(setting, name, order):
  config, params, batch = setting(name, order)
  predict = jax.jit(lambda batch: config.objective.predict(config.model, params, batch, jax.random.key(0)))
  tokens = predict(batch)
  assert tokens.shape == batch["target"].shape and jnp.issubdtype(tokens.dtype, jnp.integer)
  assert 0 <= tokens.min() and tokens.max() < config.model.vocab_size
  np.testing.assert_array_equal(predict(with_other_target(config, batch)), tokens)
  moved = predict(batch | {"prefix": jnp.roll(batch["prefix"], 1, axis=0)})
  assert not np.array_equal(moved, tokens)  # but they do know the problem


def test_score_is_the_weighted_mean_cross_entropy_of_its_definition():
  rng = np.random.default_rng(0)
  logits, target = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.integers(0, 5, (3, 4))
  weight = rng.uniform(size=(3, 4)).astype(np.float32)
  loss, aux = base.score(jnp.asarray(logits), {"target": target, "weight": weight})
  want = np.zeros((3, 4))
  for b in range(3):
    for k in range(4):
      p = np.exp(logits[b, k]) / np.exp(logits[b, k]).sum()
      want[b, k] = -np.log(p[target[b, k]])
      assert aux.correct_BxL[b, k] == (p.argmax() == target[b, k])
  np.testing.assert_allclose(aux.loss_BxL, want, rtol=1e-5)
  assert float(loss) == pytest.approx((want * weight).sum() / weight.sum(), rel=1e-5)


def test_next_token_sees_the_true_tokens_before_each(setting):
  for order in base.ORDERS:
    config, _, batch = setting("next_token", order)
    answer = np.asarray(config.objective.inputs(batch))[:, config.task.prefix_length:]
    np.testing.assert_array_equal(answer, batch["target"][:, :-1])


@pytest.mark.parametrize("order", base.ORDERS)
def test_teacherless_sees_nothing_of_the_answer(setting, order):
  config, params, batch = setting("teacherless", order)
  tokens = np.asarray(config.objective.inputs(batch))
  assert (tokens[:, config.task.prefix_length:] == config.task.dummy).all()
  assert tokens.shape[1] == config.task.prefix_length + config.task.length - 1
  other = with_other_target(config, batch)
  np.testing.assert_array_equal(config.objective.inputs(other), tokens)
  logits = jax.jit(lambda batch: config.objective.logits(config.model, params, batch))
  np.testing.assert_array_equal(logits(other), logits(batch))


def test_reversing_turns_the_answer_around_and_is_its_own_inverse(setting):
  config, _, batch = setting("next_token")
  batch |= {"weight": jnp.arange(24.0).reshape(6, 4), "answer": jnp.arange(24).reshape(6, 4) % 3 == 0}
  turned = base.reorder(batch, "reversed")
  for name in ("target", "weight", "answer"):
    np.testing.assert_array_equal(turned[name], batch[name][:, ::-1])
  for name in ("prefix", "arms"):
    np.testing.assert_array_equal(turned[name], batch[name])
  jax.tree.map(np.testing.assert_array_equal, base.reorder(turned, "reversed"), batch)
  jax.tree.map(np.testing.assert_array_equal, base.reorder(batch, "forward"), batch)


def test_path_order_puts_the_start_first_again():
  x = jnp.arange(6).reshape(2, 3)
  np.testing.assert_array_equal(base.path_order(x, "forward"), x)
  np.testing.assert_array_equal(base.path_order(x[:, ::-1], "reversed"), x)


def test_greedy_decoding_takes_each_argmax_of_a_pass_over_all_before_it(setting):
  config, params, batch = setting("next_token")
  length = config.task.length
  got = jax.jit(lambda prefix: base.greedy(config.model, params["model"], prefix, length))(batch["prefix"])
  # Checked in one pass over what was produced: by causality each argmax there is a full forward pass's.
  tokens = jnp.concatenate([batch["prefix"], got[:, :-1].astype(jnp.int32)], axis=1)
  want = jax.jit(lambda tokens: config.model.apply(params["model"], tokens, length)[0].argmax(-1))(tokens)
  np.testing.assert_array_equal(got, want)
