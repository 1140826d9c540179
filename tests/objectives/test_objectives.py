"""Every registered objective, in every order and with a recurrence too, through the same invariants; and what each lets the model see."""

import functools

import checks
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import models, objectives
from pathstar.devices.random import model_key, objective_key
from pathstar.errors import UserError
from pathstar.objectives import decode, target

FREE = [name for name, objective in objectives.OBJECTIVES.items() if objective.mask != "causal"]
CAUSAL = [name for name in objectives.OBJECTIVES if name not in FREE]
RECURRENCES = [name for name, mixer in models.MIXERS.items() if not getattr(mixer, "any_mask", False)]
# The order is no matter to a mixer, and which recurrence it is no matter to an objective: both orders with attention, and the recurrences
# in turn. A mask that looks ahead is attention's alone.
METHODS = [(name, order, "attention") for name in objectives.OBJECTIVES for order in target.ORDERS]
METHODS += [(name, "forward", RECURRENCES[number % len(RECURRENCES)]) for number, name in enumerate(CAUSAL)]
EVERY = pytest.mark.parametrize("method", [
    method if method[2] == "attention" or method[0] == "next_token" else pytest.param(method, marks=pytest.mark.slow)
    for method in METHODS], ids="-".join)


@pytest.fixture(scope="module")
def setting(tiny):
  """setting(name, order, mixer, fields) -> (config, parameters, batch of 6 in the order of the objective)."""
  drawn = {}

  def make(name, order="forward", mixer="attention", fields=None):
    layers = 2 if (order, mixer) == ("forward", "attention") else 1  # most of the time goes into compiling
    config = tiny({"objective.name": name, "objective.order": order, "model.mixer": mixer, "model.num_layers": layers} | (fields or {}))
    kind = mixer, layers, config.model.vocab_size, config.model.max_length
    if kind not in drawn:  # the same for all objectives
      drawn[kind] = jax.jit(lambda key: nn.meta.unbox(config.model.init(key)))(model_key(0))
    params = {"model": drawn[kind],
              "objective": jax.jit(lambda key: nn.meta.unbox(config.objective.init(key, config.model)))(objective_key(0))}
    batch = jax.tree.map(jnp.asarray, config.task.examples(0, "train", np.arange(6)))
    return config, params, config.objective.in_order(batch)

  return make


@pytest.fixture(scope="module")
def subject(setting):
  """subject(name, order, mixer) -> the checks' subject, one a method."""
  return functools.cache(lambda *method: checks.Subject(*setting(*method)))


def with_other_target(config, batch):
  """The same problems with any other answer."""
  return batch | {"target": (batch["target"] + 1) % config.task.num_nodes}


@pytest.mark.parametrize("name, order", [(name, order) for name in objectives.OBJECTIVES for order in target.ORDERS])
def test_inputs_begin_with_the_problem_and_are_tokens_that_the_model_has_room_for(setting, name, order):
  config, _, batch = setting(name, order)
  tokens = np.asarray(config.objective.inputs(batch))
  assert tokens.dtype == np.int32 and tokens.shape[1] <= config.model.max_length
  assert name == "registers" or tokens.shape[1] == config.input_length
  np.testing.assert_array_equal(tokens[:, :config.task.prefix_length], batch["prefix"])
  assert 0 <= tokens.min() and tokens.max() < config.model.vocab_size


@EVERY
def test_loss_is_finite_and_every_parameter_has_a_gradient(subject, method):
  subject = subject(*method)
  (loss, aux), grads = subject.train(subject.batch)
  assert loss.shape == () and np.isfinite(loss) and loss > 0
  assert {x.shape for x in aux[:3]} == {(6, subject.config.task.length)} and aux.correct_BxL.dtype == bool
  recorded = float((aux.loss_BxL * aux.weight_BxL).sum() / aux.weight_BxL.sum())
  assert all(term.shape == () and np.isfinite(term) for term in aux.terms.values())
  assert aux.terms or float(loss) == pytest.approx(recorded, rel=1e-5)
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    assert np.isfinite(leaf).all() and np.abs(leaf).sum() > 0, jax.tree_util.keystr(path)


@EVERY
def test_weights_are_relative_and_what_weighs_nothing_is_not_learned(subject, method):
  subject = subject(*method)
  batch, loss_of = subject.batch, lambda batch: float(subject.train(batch)[0][0])
  (loss, aux), _ = subject.train(batch)
  counts = bool((aux.weight_BxL[:, -1] > 0).any())  # the last target token, which is seen by nobody
  weight = batch["weight"].at[:, -1].set(0)
  weighted = loss_of(batch | {"weight": weight})
  assert loss_of(batch | {"weight": 3 * weight}) == pytest.approx(weighted, rel=1e-5)
  assert (abs(loss - weighted) > 1e-4) == counts
  # Without weight it may be anything.
  other = subject.other(-1)
  assert loss_of(other | {"weight": weight}) == weighted
  assert (loss_of(other) != loss) == counts
  assert loss_of(batch | {"prefix": jnp.roll(batch["prefix"], 1, axis=0)}) != loss  # but it does know the problem


@EVERY
def test_an_objective_is_what_it_says(subject, method):
  for check in checks.ALL:
    check(subject(*method))


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("mixer", RECURRENCES)
def test_a_recurrence_refuses_an_objective_that_looks_ahead(tiny, name, mixer):
  with pytest.raises(UserError, match="^model.mixer = .*: must be one that can see ahead, as attention, for"):
    tiny({"objective.name": name, "model.mixer": mixer})


@pytest.mark.parametrize("order, place", [("forward", 1), ("reversed", 2)])
def test_branch_only_scores_the_branch_token_alone(subject, order, place):
  subject = subject("branch_only", order, "attention")
  batch, ((loss, aux), _) = subject.batch, subject.train(subject.batch)
  branch = np.asarray(batch["arms"])[:, :, 1]
  assert all(token in moves for token, moves in zip(batch["target"][:, place].tolist(), branch.tolist()))  # it is a first move
  assert float(loss) == pytest.approx(float(aux.loss_BxL[:, place].mean()), rel=1e-5)
  assert aux.weight_BxL.sum(axis=0).tolist() == [6 * (k == place) for k in range(4)]


@pytest.mark.parametrize("name", ["next_token", "teacherless"])
@pytest.mark.parametrize("order, place", [("forward", 1), ("reversed", 2)])
def test_branch_weight_scales_the_branch_token_against_the_others(setting, name, order, place):
  losses = {}
  for weight in (0.0, 1.0, 5.0):
    config, params, batch = setting(name, order, fields={"objective.branch_weight": weight})
    losses[weight], aux = jax.jit(lambda params: config.objective.loss(config.model, params, batch, jax.random.key(0), 0))(params)
    per_token = np.asarray(aux.loss_BxL).mean(axis=0)
    assert float(losses[weight]) == pytest.approx(
        (np.delete(per_token, place).sum() + weight * per_token[place]) / (3 + weight), rel=1e-5)
  assert len({round(float(x), 5) for x in losses.values()}) == 3


@pytest.mark.parametrize("fields, said", [
    ({"objective.order": "backward"}, "objective.order = 'backward'"),
    ({"objective.branch_weight": -1.0}, "objective.branch_weight = -1.0: must be a number >= 0"),
    ({"task.name": "addition", "objective.branch_weight": 2.0}, "must be 1 for 3-digit addition"),
    ({"task.target": "search", "objective.branch_weight": 2.0}, "must be 1 for G(2,4) search"),
    ({"task.name": "addition", "objective.name": "branch_only"}, "objective.name = 'branch_only': must be another objective for 3-digit"),
    ({"task.target": "search", "objective.order": "reversed"}, "objective.order = 'reversed': must be forward for G(2,4) search"),
])
def test_an_objective_refuses_what_the_task_has_not(tiny, fields, said):
  with pytest.raises(UserError) as error:
    tiny(fields)
  assert said in str(error.value)


def test_score_is_the_weighted_mean_cross_entropy_of_its_definition():
  rng = np.random.default_rng(0)
  logits, labels = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.integers(0, 5, (3, 4))
  weight = rng.uniform(size=(3, 4)).astype(np.float32)
  loss, aux = target.score(jnp.asarray(logits), {"target": labels, "weight": weight})
  want = np.zeros((3, 4))
  for b in range(3):
    for k in range(4):
      p = np.exp(logits[b, k]) / np.exp(logits[b, k]).sum()
      want[b, k] = -np.log(p[labels[b, k]])
      assert aux.correct_BxL[b, k] == (p.argmax() == labels[b, k])
  np.testing.assert_allclose(aux.loss_BxL, want, rtol=1e-5)
  assert float(loss) == pytest.approx((want * weight).sum() / weight.sum(), rel=1e-5)


def test_next_token_sees_the_true_tokens_before_each(setting):
  for order in target.ORDERS:
    config, _, batch = setting("next_token", order)
    answer = np.asarray(config.objective.inputs(batch))[:, config.task.prefix_length:]
    np.testing.assert_array_equal(answer, batch["target"][:, :-1])


@pytest.mark.parametrize("order", target.ORDERS)
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
  backwards = setting("next_token", "reversed")[0].objective
  turned = backwards.in_order(batch)
  for name in ("target", "weight", "answer"):
    np.testing.assert_array_equal(turned[name], batch[name][:, ::-1])
  for name in ("prefix", "arms"):
    np.testing.assert_array_equal(turned[name], batch[name])
  jax.tree.map(np.testing.assert_array_equal, backwards.in_order(turned), batch)
  jax.tree.map(np.testing.assert_array_equal, config.objective.in_order(batch), batch)


def test_along_the_path_the_start_is_first_again(setting):
  x = jnp.arange(24).reshape(6, 4)
  for order in target.ORDERS:
    config, _, batch = setting("next_token", order)
    np.testing.assert_array_equal(config.objective.along_path(x if order == "forward" else x[:, ::-1], batch), x)


def test_padding_stays_behind_what_is_turned():
  x, length = jnp.arange(12).reshape(3, 4), jnp.array([4, 3, 1])
  turned = target.turned(x, length)
  np.testing.assert_array_equal(turned, [[3, 2, 1, 0], [6, 5, 4, 7], [8, 9, 10, 11]])
  np.testing.assert_array_equal(target.turned(turned, length), x)
  np.testing.assert_array_equal(target.turned(x[..., None], length)[..., 0], turned)


def test_greedy_decoding_takes_each_argmax_of_a_pass_over_all_before_it(setting):
  config, params, batch = setting("next_token")
  length = config.task.length
  got = jax.jit(lambda batch: decode.autoregressive(config.objective, config.model, params, batch))(batch)
  # Checked in one pass over what was produced: by causality each argmax there is a full forward pass's.
  tokens = jnp.concatenate([batch["prefix"], got[:, :-1].astype(jnp.int32)], axis=1)
  want = jax.jit(lambda tokens: config.model.apply(params["model"], tokens, length)[0].argmax(-1))(tokens)
  np.testing.assert_array_equal(got, want)


def test_samples_follow_the_probabilities_of_a_pass_over_all_before_them(setting):
  config, params, batch = setting("next_token")
  many = {"prefix": jnp.repeat(batch["prefix"][:1], 4000, axis=0), "target": jnp.zeros((4000, 2), jnp.int32)}
  params = jax.tree.map(lambda x: 2 * x, params)  # surer, so that few tokens carry most of the mass
  sample = jax.jit(lambda key: decode.autoregressive(config.objective, config.model, params, many, key))
  tokens = np.asarray(sample(jax.random.key(3)))
  first = np.bincount(tokens[:, 0], minlength=config.task.vocab_size).argmax()
  second = tokens[tokens[:, 0] == first, 1]
  seen = jnp.append(batch["prefix"][0], first)[None]
  logits = jax.jit(lambda seen: config.model.apply(params["model"], seen, 2)[0])(seen)[0]
  for drawn, p in zip((tokens[:, 0], second), np.asarray(jax.nn.softmax(logits)), strict=True):
    share = np.bincount(drawn, minlength=config.task.vocab_size) / len(drawn)
    assert len(drawn) > 300 and np.abs(share - p).max() < 4 * 0.5 / np.sqrt(len(drawn))
