"""Losses of objectives against slow, literal versions of their formulas in NumPy, on a model that is a table where that is enough."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import objectives
from pathstar.errors import UserError
from pathstar.tasks import PathStar

TASK = PathStar(2, 4, 9)
RNG = np.random.default_rng(0)
VOCAB = TASK.vocab_size + 1


class Table:
  """A model that scores what comes after a token by that token alone. Its parameters are the scores (V, V)."""

  @staticmethod
  def hidden(table_VxV, tokens_BxT, num_last, free_from=None):
    return table_VxV[tokens_BxT[:, tokens_BxT.shape[1] - num_last:]]

  @staticmethod
  def unembed(table_VxV, hidden):
    return hidden


@pytest.fixture(scope="module")
def batch():
  found = {name: jnp.asarray(x) for name, x in TASK.examples(0, "train", np.arange(5)).items()}
  return found | {"weight": jnp.asarray(RNG.uniform(0.5, 2, (5, 4)).astype(np.float32))}


@pytest.fixture(scope="module")
def table():
  return jnp.asarray(RNG.normal(size=(VOCAB, VOCAB)).astype(np.float32))


def make(name, **fields):
  return objectives.OBJECTIVES[name](TASK, **fields)


def loss_of(objective, table, batch, key=0):
  return objective.loss(Table, {"model": table, "objective": {}}, batch, jax.random.key(key), jnp.int32(0))


def cross_entropy(scores_V, token):
  return float(np.log(np.exp(np.asarray(scores_V, np.float64)).sum()) - scores_V[token])


def mean_loss(table, seen_BxT, batch, weight_BxL=None):
  """Weighted mean cross-entropy of the target, each token from the one seen before it."""
  weight, target, table = np.asarray(batch["weight"] if weight_BxL is None else weight_BxL), np.asarray(batch["target"]), np.asarray(table)
  total = 0.0
  for b, k in itertools.product(*map(range, target.shape)):
    total += weight[b, k] * cross_entropy(table[seen_BxT[b, k]], target[b, k])
  return total / weight.sum()


def before(batch, target_BxL):
  """What is seen before each target token."""
  return np.concatenate([np.asarray(batch["prefix"])[:, -1:], np.asarray(target_BxL)[:, :-1]], axis=1)


@pytest.mark.parametrize("fields", [{"hidden_rate": 0.5}, {"hidden_rate": 0.4, "hidden_span": 3}, {"hidden_by": "random"}])
def test_token_masking_is_the_loss_of_all_tokens_after_inputs_of_which_some_are_hidden(batch, table, fields):
  objective = make("token_masking", **fields)
  corrupted = np.asarray(objective.corrupt(batch["target"], jax.random.key(3)))
  loss, aux = loss_of(objective, table, batch, key=3)
  assert float(loss) == pytest.approx(mean_loss(table, before(batch, corrupted), batch), rel=1e-5)
  np.testing.assert_array_equal(aux.weight_BxL, batch["weight"])
  if "hidden_by" in fields:  # which an example alone has no tokens for
    with pytest.raises(UserError, match="train.batch_size = 1: must be at least 2"):
      objective.corrupt(batch["target"][:1], jax.random.key(3))
  none = make("token_masking", hidden_rate=0.0)
  assert float(loss_of(none, table, batch)[0]) == float(loss_of(make("next_token"), table, batch)[0])


@pytest.mark.parametrize("rate, span", [(0.0, 1), (0.3, 1), (0.3, 3), (0.7, 4), (1.0, 2)])
def test_token_masking_hides_every_place_at_its_rate_in_spans_of_its_length(rate, span):
  target = jnp.zeros((4000, 4), jnp.int32)
  hidden = np.asarray(make("token_masking", hidden_rate=rate, hidden_span=span).corrupt(target, jax.random.key(0))) == TASK.dummy
  np.testing.assert_allclose(hidden.mean(axis=0), rate, atol=0.03)
  begins = 1 - (1 - rate) ** (1 / span)
  # The first two are hidden if a span begins in one place of span - 1, or in one of either side of them.
  both = 1 - (1 - begins) ** (span - 1) + (1 - begins) ** (span - 1) * begins**2
  assert (hidden[:, 0] & hidden[:, 1]).mean() == pytest.approx(both, abs=0.03)


def test_token_masking_by_random_nodes_takes_them_from_other_answers():
  target = jnp.asarray(RNG.permutation(4000).reshape(1000, 4).astype(np.int32))
  found = np.asarray(make("token_masking", hidden_rate=0.5, hidden_by="random").corrupt(target, jax.random.key(0)))
  changed = found != np.asarray(target)
  np.testing.assert_allclose(changed.mean(axis=0), 0.5, atol=0.06)
  for place in range(4):
    assert set(found[:, place]) <= set(np.asarray(target)[:, place].tolist())
  shifts = np.abs(np.argmax(found[:, :, None] == np.asarray(target).T[None], axis=2) - np.arange(1000)[:, None])[changed]
  assert len(set(shifts.tolist())) > 300  # each another's


def test_hybrid_adds_the_loss_with_the_answer_unseen(batch, table):
  loss, aux = loss_of(make("hybrid", teacherless_weight=0.3), table, batch)
  plain = mean_loss(table, before(batch, batch["target"]), batch)
  unseen = mean_loss(table, before(batch, np.full((5, 4), TASK.dummy)), batch)
  assert float(loss) == pytest.approx(plain + 0.3 * unseen, rel=1e-5)
  assert [float(aux.terms[name]) for name in ("next", "teacherless")] == pytest.approx([plain, unseen], rel=1e-5)


def literal_hinge(scores_BxLxV, batch, margin, wrong_arms):
  """The hinge of ranking's docstring, pair by pair."""
  target, weight, total = np.asarray(batch["target"]), np.asarray(batch["weight"]), 0.0
  for b, i in itertools.product(*map(range, target.shape)):
    coming, costs = [], []
    for k in range(i, target.shape[1]):
      if weight[b, k] > 0 and target[b, k] not in target[b, i:k]:
        coming.append(target[b, k])
    lower = set(np.asarray(batch["arms"])[b].ravel().tolist()) - set(target[b].tolist()) - {TASK.dummy} if wrong_arms else ()
    for j, upper in enumerate(coming):
      costs += [max(0.0, margin - (scores_BxLxV[b, i, upper] - scores_BxLxV[b, i, v])) for v in (*coming[j + 1:], *lower)]
    total += weight[b, i] * (np.mean(costs) if costs else 0.0)
  return total / weight.sum()


@pytest.mark.parametrize("wrong_arms", [False, True])
@pytest.mark.parametrize("change", ["", "repeated", "unweighted", "padded"])
def test_ranking_is_the_hinge_on_every_pair_of_the_future(batch, table, wrong_arms, change):
  batch = dict(batch)
  if change == "repeated":
    batch["target"] = batch["target"].at[:, 2].set(batch["target"][:, 0])
  if change == "unweighted":
    batch["weight"] = batch["weight"].at[:, 1].set(0)
  if change == "padded":
    batch["arms"] = batch["arms"].at[:, :, 3].set(TASK.dummy)
  objective = make("ranking", wrong_arms=wrong_arms, ranking_weight=0.7, ranking_margin=1.5)
  loss, aux = loss_of(objective, table, batch)
  scores = np.asarray(table)[before(batch, batch["target"])]
  want = literal_hinge(scores, batch, 1.5, wrong_arms)
  assert want > 0.1 and float(aux.terms["ranking"]) == pytest.approx(want, rel=1e-5)
  assert float(loss) == pytest.approx(mean_loss(table, before(batch, batch["target"]), batch) + 0.7 * want, rel=1e-5)
  assert objective.batch_keys == (("arms",) if wrong_arms else ())


def literal_diffusion(table, batch, masked, weighting, gamma):
  """Each hidden token is scored at its own place, where it is seen as the hidden one."""
  total = weight = 0.0
  for b, k in zip(*np.nonzero(masked)):
    cost = cross_entropy(np.asarray(table)[VOCAB - 1, :-1], int(batch["target"][b, k]))
    w = float(batch["weight"][b, k]) * (4 / masked[b].sum() if weighting == "1/t" else 1)
    total += w * cost * ((1 - np.exp(-cost)) ** gamma if weighting == "focal" else 1)
    weight += w
  return total / weight


@pytest.mark.parametrize("fields", [
    {}, {"weighting": "none"}, {"weighting": "focal", "focal_gamma": 2.0}, {"min_rate": 0.4, "max_rate": 0.6}])
def test_masked_diffusion_weighs_hidden_tokens_as_it_says(batch, table, fields):
  objective = make("masked_diffusion", **fields)
  for key in range(5):
    loss, aux = loss_of(objective, table, batch, key)
    masked = np.asarray(aux.weight_BxL) > 0
    want = literal_diffusion(table, batch, masked, fields.get("weighting", "1/t"), fields.get("focal_gamma"))
    assert float(loss) == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("rates, numbers", [
    ((0.0, 1.0), [1, 2, 3, 4]), ((0.5, 0.5), [2]), ((0.0, 0.0), [1]), ((1.0, 1.0), [4]), ((0.3, 0.7), [2, 3])])
def test_masked_diffusion_hides_between_its_rates_evenly(table, rates, numbers):
  many = {"prefix": jnp.zeros((4000, 3), jnp.int32), "target": jnp.zeros((4000, 4), jnp.int32), "weight": jnp.ones((4000, 4))}
  masked = np.asarray(loss_of(make("masked_diffusion", min_rate=rates[0], max_rate=rates[1]), table, many)[1].weight_BxL) > 0
  share = np.bincount(masked.sum(axis=1), minlength=5)[numbers] / 4000
  np.testing.assert_allclose(share, 1 / len(numbers), atol=0.03)
  np.testing.assert_allclose(masked.mean(axis=0), np.mean(masked), atol=0.03)


def test_left_to_right_fills_in_what_comes_first_and_confident_what_is_surest():
  fill_in = objectives.masked_diffusion.decode.iterative
  sure = jnp.array([[1.0, 3.0, 2.0, 0.5]])[..., None] * jax.nn.one_hot(jnp.arange(4), 5)[None]
  seen = []

  def fill(token_BxL):
    jax.debug.callback(lambda token: seen.append(np.asarray(token)[0] == 9), token_BxL, ordered=True)
    return sure

  for left_to_right, passes, last_open in ((True, 4, 3), (False, 4, 3), (True, 2, [2, 3]), (False, 2, [0, 3])):
    seen.clear()
    assert fill_in(fill, jnp.full((1, 4), 9), passes, left_to_right).tolist() == [[0, 1, 2, 3]]
    jax.effects_barrier()
    assert np.flatnonzero(seen[-1]).tolist() == np.atleast_1d(last_open).tolist()


def test_pauses_stand_between_problem_and_answer(batch):
  objective = make("pause", num_pauses=3)
  tokens = np.asarray(objective.inputs(batch))
  np.testing.assert_array_equal(tokens[:, TASK.prefix_length:TASK.prefix_length + 3], TASK.vocab_size)
  np.testing.assert_array_equal(tokens[:, TASK.prefix_length + 3:], batch["target"][:, :-1])
  assert objective.max_length == tokens.shape[1] + 1 and objective.vocab_size == TASK.vocab_size + 1


def real(tiny, batch, **fields):
  """A model in place of the table, its parameters moved off their initial values, and the target with weights."""
  made = tiny({"task.num_nodes": 9} | {f"objective.{name}": value for name, value in fields.items()})
  init = lambda key: {"model": made.model.init(key), "objective": made.objective.init(key, made.model)}
  params = jax.jit(lambda key: nn.meta.unbox(init(key)))(jax.random.key(0))
  params = jax.tree.map(lambda x: np.asarray(x) + RNG.normal(0, 0.1, x.shape).astype(np.float32), params)
  return made.objective, made.model, params, np.asarray(batch["target"]), np.asarray(batch["weight"])


def layernorm(x_D, scale_D):
  return (x_D - x_D.mean()) / np.sqrt(x_D.var() + 1e-5) * scale_D


@pytest.mark.parametrize("horizon", [1, 3])
def test_joint_multi_token_writes_the_next_tokens_after_each_hidden_state(tiny, batch, horizon):
  objective, model, params, target, weight = real(tiny, batch, name="joint_multi_token", horizon=horizon, joint_weight=0.6)
  loss, aux = jax.jit(lambda params: objective.loss(model, params, batch, jax.random.key(0), 0))(params)
  tokens = np.asarray(objective.inputs(batch))
  hidden = np.asarray(jax.jit(lambda params, tokens: model.hidden(params, tokens, 4))(params["model"], tokens), np.float64)
  own, table, head = params["objective"], np.asarray(params["model"]["embedding"]), np.asarray(params["model"]["head"])
  kernel = {name: np.asarray(own[name]["kernel"], np.float64) for name in ("query", "key", "value", "out")}
  costs, weights = np.zeros(horizon + 1), np.zeros(horizon + 1)
  for b, t in itertools.product(range(5), range(4)):
    seen = [tokens[b, TASK.prefix_length - 1 + t], *target[b, t:]]  # x_t and what comes after it
    for i in range(min(horizon, 3 - t) + 1):
      u = [layernorm(table[seen[j]] + own["gate"]["scale"][0] * hidden[b, t], own["norm_in"]["scale"]) for j in range(i + 1)]
      mixed = np.zeros(16)
      for h in range(4):
        part = slice(4 * h, 4 * h + 4)
        scores = [u[i] @ kernel["query"][:, part] @ (u[j] @ kernel["key"][:, part]) / 2 + own["bias"][h, i - j] for j in range(i + 1)]
        p = np.exp(scores) / np.exp(scores).sum()
        mixed[part] = sum(p[j] * (u[j] @ kernel["value"][:, part]) for j in range(i + 1))
      y = mixed @ kernel["out"] + (hidden[b, t] if i else 0)
      costs[i] += weight[b, t + i] * cross_entropy(layernorm(y, own["norm_out"]["scale"]) @ head, target[b, t + i])
      weights[i] += weight[b, t + i]
  costs /= weights
  assert [float(aux.terms[name]) for name in ("next", "joint")] == pytest.approx([costs[0], costs[1:].mean()], rel=1e-4)
  assert float(loss) == pytest.approx(costs[0] + 0.6 * costs[1:].mean(), rel=1e-4)
  assert not {"query", "key", "bias"} & objective.kept(params)["objective"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("key", range(3))
def test_registers_predict_further_ahead_from_what_came_before_them(tiny, batch, key):
  objective, model, params, target, weight = real(tiny, batch, name="registers", max_offset=3, register_weight=0.4)
  key, start, own = jax.random.key(key), TASK.prefix_length, dict(params["model"])
  loss, aux = jax.jit(lambda params: objective.loss(model, params, batch, key, 0))(params)
  offset = int(jax.random.randint(key, (), 0, 3)) + 1
  tokens, total = np.asarray(objective.inputs(batch)), 0.0
  scores = jax.jit(lambda params, tokens: model.apply(params, tokens, 1)[0][:, 0])
  for i in range(4 - offset + 1):  # after the token that predicts number i of the target
    place = start - 1 + i + offset - 1  # that of the token before the one that it predicts
    at_place = own | {"positions": jnp.asarray(own["positions"]).at[start + i].set(own["positions"][place])}
    alone = scores(at_place, np.pad(tokens[:, :start + i], ((0, 0), (0, 1)), constant_values=TASK.vocab_size))
    total += sum(weight[b, i + offset - 1] * cross_entropy(alone[b], target[b, i + offset - 1]) for b in range(5))
  register = total / weight[:, offset - 1:].sum()
  assert float(aux.terms["register"]) == pytest.approx(register, rel=1e-4)
  plain, _ = make("next_token").loss(model, params, batch, key, 0)
  assert float(loss) == pytest.approx(0.6 * float(plain) + 0.4 * register, rel=1e-4)


@pytest.mark.parametrize("name, fields", [
    ("token_masking", {"hidden_rate": 0.6, "hidden_span": 2}), ("hybrid", {"teacherless_weight": 0.2}),
    ("ranking", {"ranking_margin": 2.0}), ("masked_diffusion", {"min_rate": 0.5, "max_rate": 0.8}),
    ("masked_diffusion", {"weighting": "focal", "focal_gamma": 2.5})])
def test_values_are_those_of_each_run_of_a_pack(batch, table, name, fields):
  objective = make(name, **fields)
  values = {value: getattr(objective, value) for value in objective.values}
  other = make(name, **{field: value for field, value in fields.items() if field not in values})
  traced = jax.jit(lambda values: loss_of(objectives.with_values(other, values), table, batch)[0])
  assert float(traced(values)) == pytest.approx(float(loss_of(objective, table, batch)[0]), rel=1e-5)


@pytest.mark.parametrize("name, fields, said", [
    ("token_masking", {"hidden_rate": 1.5}, "objective.hidden_rate = 1.5: must be between 0 and 1"),
    ("token_masking", {"hidden_span": 5}, "objective.hidden_span = 5: must be between 1 and 4"),
    ("token_masking", {"hidden_by": "dumy"}, "objective.hidden_by = 'dumy': must be one of dummy, random; did you mean 'dummy'?"),
    ("hybrid", {"teacherless_weight": -1.0}, "objective.teacherless_weight = -1.0: must be a number >= 0"),
    ("ranking", {"ranking_margin": 0.0}, "objective.ranking_margin = 0.0: must be a number > 0"),
    ("ranking", {"ranking_weight": -0.1}, "objective.ranking_weight = -0.1: must be a number >= 0"),
    ("branch_only", {"branch_weight": 2.0}, "objective.branch_weight = 2.0: must be 1 with objective.name = 'branch_only'"),
    ("pause", {"num_pauses": 0}, "objective.num_pauses = 0: must be an integer >= 1"),
    ("registers", {"max_offset": 5}, "objective.max_offset = 5: must be between 1 and 4"),
    ("registers", {"register_weight": 1.1}, "objective.register_weight = 1.1: must be between 0 and 1"),
    ("joint_multi_token", {"horizon": 4}, "objective.horizon = 4: must be between 1 and 3, or None"),
    ("joint_multi_token", {"joint_weight": -1.0}, "objective.joint_weight = -1.0: must be a number >= 0"),
    ("masked_diffusion", {"min_rate": 0.5, "max_rate": 0.2}, "objective.max_rate = 0.2: must be between objective.min_rate = 0.5 and 1"),
    ("masked_diffusion", {"weighting": "t"}, "objective.weighting = 't': must be one of 1/t, none, focal"),
    ("masked_diffusion", {"decoding": "confidence"}, "did you mean 'confident'?"),
    ("masked_diffusion", {"focal_gamma": 2.0}, "objective.focal_gamma = 2.0: must be 1 with objective.weighting = '1/t'"),
])
def test_what_makes_no_sense_is_refused(name, fields, said):
  with pytest.raises(UserError) as error:
    make(name, **fields)
  assert said in str(error.value)


@pytest.mark.parametrize("name", ["future_summary", "token_order", "ranking"])
def test_a_branch_token_of_no_weight_is_still_a_token_to_come(batch, name):
  """What is ahead is a matter of the answer, not of how much its tokens weigh: the loss has no jump at 0."""
  class Headed(Table):
    apply = staticmethod(lambda table, tokens, num_last: (Table.hidden(table, tokens, num_last),) * 2)
    unembed = staticmethod(lambda params, hidden: hidden if params is None else hidden @ params["head"])

  def loss(weight):
    table, head = (jnp.asarray(np.random.default_rng(i).normal(size=(VOCAB, VOCAB)).astype(np.float32)) for i in (1, 2))
    objective = make(name, branch_weight=weight)
    if name == "ranking":
      return float(loss_of(objective, table, batch)[0])
    return float(objective.loss(Headed, {"model": table, "objective": {"head": head}}, batch, jax.random.key(0), jnp.int32(0))[0])

  assert loss(0.0) == pytest.approx(loss(1e-6), rel=1e-4)
