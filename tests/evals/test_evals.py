"""What an evaluation reports as a whole: names, chunks, and numbers by position."""

import functools

import flax.linen as nn
import jax
import numpy as np
import pytest

from pathstar import evals, objectives
from pathstar.evals import positions
from pathstar.objectives import target
from pathstar.training import data

CHEAT = {"cheat_accuracy", "end_follows_arm", "end_copies_goal"}


def everything(config, key, batch):
  """(metrics of one pass, metrics of decoding, tokens) of an untrained model."""
  params = nn.meta.unbox({"model": config.model.init(key), "objective": config.objective.init(key, config.model)})
  return evals.of_logits(config, params, batch), *evals.of_tokens(config, params, batch)


@pytest.mark.parametrize("order", target.ORDERS)
@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_every_method_reports_the_numbers_that_are_defined_for_it(tiny, name, order):
  config = tiny({"objective.name": name, "objective.order": order})
  of_shapes = functools.partial(everything, config)  # names and shapes need no numbers
  metrics, decoded, tokens = jax.eval_shape(of_shapes, jax.random.key(0), data.eval_examples(config, "test"))
  places, one_pass = range(config.task.length), config.objective.one_pass
  if not one_pass:  # what is generated decides, and has no loss a position
    assert not {"exact_match", "token_error", "position_0/accuracy", "position_0/loss"} & metrics.keys()
    assert {"loss", "branch_accuracy"} <= metrics.keys()
    metrics, decoded = metrics | decoded | {f"position_{k}/loss": decoded[f"position_{k}/accuracy"] for k in places}, decoded
  assert {"exact_match", "loss", "token_error", "snowball_prediction", "branch_accuracy", "legal_mass", "branch_entropy"} <= metrics.keys()
  assert {f"position_{k}/{what}" for k in places for what in ("accuracy", "loss")} <= metrics.keys()
  assert {f"position_{k}/generated_accuracy" for k in places} | {"generated_exact_match"} <= decoded.keys()
  assert not one_pass or not metrics.keys() & decoded.keys()  # teacher-forced and generated numbers never share a name
  if name in ("next_token", "teacherless", "branch_only"):
    assert CHEAT & metrics.keys() == (CHEAT if (name, order) == ("next_token", "forward") else set())
  assert all(x.shape == () for x in (metrics | decoded).values())
  assert tokens.shape == (40, config.task.length)


@pytest.mark.parametrize("fields, length", [
    ({"task.name": "addition", "data.num_test": 40}, 4), ({"task.target": "search"}, 4), ({"task.target": "lookahead"}, 4)])
def test_every_task_reports_exact_match_once(tiny, fields, length):
  config = tiny(fields)
  of_shapes = functools.partial(everything, config)
  metrics, decoded, answers = jax.eval_shape(of_shapes, jax.random.key(0), data.eval_examples(config, "test"))
  assert not metrics.keys() & decoded.keys() and "exact_match" in metrics | decoded
  assert ("exact_match" in metrics) == (config.task.separator is None)  # behind a trace only decoding can tell
  assert {f"position_{k}/generated_accuracy" for k in range(length)} | {"generated_exact_match"} <= decoded.keys()
  assert {"loss", "token_error", "snowball_prediction"} <= metrics.keys()
  assert not (CHEAT | {"branch_accuracy", "legal_mass"}) & metrics.keys()
  assert answers.shape == (40, length)


@pytest.mark.slow
@pytest.mark.parametrize("most", [9, 11])  # of 40 examples: 5 chunks of 8, 4 of 10; of 37: 5 of 8, 4 of 10, with some to spare
@pytest.mark.parametrize("number", [40, 37])
def test_the_size_of_chunks_changes_nothing(tiny, monkeypatch, number, most):
  config = tiny({"eval.num_examples": number})
  measure = lambda: jax.jit(functools.partial(everything, config))(jax.random.key(0), data.eval_examples(config, "test"))
  whole, whole_decoded, tokens = measure()
  monkeypatch.setattr(evals, "_MAX_CHUNK", most)
  parts, parts_decoded, tokens_of_parts = measure()
  for here, there in ((whole, parts), (whole_decoded, parts_decoded)):
    assert here.keys() == there.keys()
    for name in here:
      assert np.isfinite(here[name])
      assert float(here[name]) == pytest.approx(float(there[name]), rel=1e-4, abs=1e-6), name
  np.testing.assert_array_equal(tokens, tokens_of_parts)


@pytest.mark.parametrize("number, found", [
    (1, (1, 1)), (499, (1, 499)), (600, (2, 300)), (1000, (2, 500)), (997, (2, 499)), (1501, (4, 376))])
def test_chunks_hold_all_examples_and_are_bounded(number, found):
  assert evals.chunks(number) == found


@pytest.mark.parametrize("name", [pytest.param("half", marks=pytest.mark.slow), "learning"])
def test_positions_count_along_the_path_in_either_order(trained, logits_of, name):
  config, params, batch = trained(name)
  found = positions.run(config, params, batch, logits_of(name))
  logits, target = logits_of(name), batch["target"]
  if config.order == "reversed":
    logits, target = logits[:, ::-1], target[:, ::-1]
  assert (target[:, 0] == batch["prefix"][:, -3]).all()  # position 0 is the start
  for k in range(config.task.length):
    np.testing.assert_array_equal(found[f"position_{k}/accuracy"], logits[:, k].argmax(-1) == target[:, k])
    shifted = logits[:, k] - logits[:, k].max(-1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(-1)) - shifted[np.arange(len(target)), target[:, k]]
    np.testing.assert_allclose(found[f"position_{k}/loss"], loss, rtol=1e-3, atol=1e-5)
