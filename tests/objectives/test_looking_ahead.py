"""Objectives that look ahead: their losses against slow literal ones in NumPy, token by token, on answers of different lengths."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.devices.random import model_key, objective_key
from pathstar.errors import UserError
from pathstar.models.lm import LM

END = (4, 4, 3, 2, 4, 1)  # tokens of the six answers that count


@pytest.fixture(scope="module")
def setting(tiny):
  """setting(name, fields) -> (config, parameters with a head that is not tied, batch of 6 with weights and a repeated token)."""

  def make(name, **fields):
    config = tiny({"objective.name": name} | {f"objective.{field}": value for field, value in fields.items()})
    params = jax.jit(lambda: nn.meta.unbox({"model": config.model.init(model_key(0)),
                                            "objective": config.objective.init(objective_key(0), config.model)}))()
    batch = jax.tree.map(np.asarray, config.task.examples(0, "train", np.arange(6)))
    weight = np.random.default_rng(0).uniform(1, 3, (6, 4)) * (np.arange(4) < np.array(END)[:, None])
    prefix, target = batch["prefix"].copy(), batch["target"].copy()
    target[0, 3] = target[0, 1]
    prefix[1, :3] = config.task.dummy  # a problem that is shorter
    return config, params, batch | {"weight": weight.astype(np.float32), "target": target, "prefix": prefix}

  return make


def losses(config, params, batch):
  """(loss, its terms) as training computes them."""
  loss, aux = jax.jit(lambda params, batch: config.objective.loss(config.model, params, batch, jax.random.key(0), jnp.int32(0)))(
      params, batch)
  np.testing.assert_array_equal(aux.weight_BxL, batch["weight"])
  return float(loss), {name: float(term) for name, term in aux.terms.items()}


def states(config, params, batch):
  """What the model makes of the tokens that it sees, at all of them: tokens (B, T), hidden states and embeddings (B, T, D)."""
  tokens = np.asarray(config.objective.inputs(batch))
  hidden, embedded = jax.jit(lambda params: (config.model.hidden(params["model"], tokens, tokens.shape[1]),
                                             config.model.embed(params["model"], tokens)))(params)
  return tokens, *(np.asarray(x, np.float64) for x in (hidden, embedded))


def log_softmax(z):
  z = z - z.max(axis=-1, keepdims=True)
  return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def normed(x, own):
  """LayerNorm, which the model's norm is."""
  return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * np.asarray(own["norm"]["scale"])


def mean(pairs):
  """Of (value, weight)."""
  values, weights = np.array(list(pairs)).T
  return (values * weights).sum() / weights.sum()


def next_token(config, params, batch):
  log_p = log_softmax(states(config, params, batch)[1] @ np.asarray(params["model"]["head"], np.float64))
  first = config.task.prefix_length - 1
  return mean((-log_p[b, first + j, batch["target"][b, j]], batch["weight"][b, j]) for b in range(6) for j in range(4))


def test_token_order_is_cross_entropy_between_softmaxes_of_how_soon_tokens_come(setting):
  config, params, batch = setting("token_order", order_weight=0.5)
  hidden, rows, window = states(config, params, batch)[1], [], 9
  for b in range(6):
    for j in range(END[b]):
      y = np.full(config.model.vocab_size, -np.inf)
      for d in range(END[b] - j, 0, -1):  # the nearest last
        y[batch["target"][b, j + d - 1]] = window - d
      label = np.exp(y - y.max()) / np.exp(y - y.max()).sum()
      log_q = log_softmax(hidden[b, config.task.prefix_length - 1 + j] @ np.asarray(params["objective"]["head"]))
      rows.append((-(label * log_q).sum(), batch["weight"][b, j]))
  want = {"next": next_token(config, params, batch), "order": mean(rows)}
  loss, terms = losses(config, params, batch)
  assert terms == pytest.approx(want, rel=1e-4) and loss == pytest.approx(want["next"] + 0.5 * want["order"], rel=1e-4)


@pytest.mark.parametrize("tau", [None, 2])
def test_future_summary_is_binary_cross_entropy_against_what_comes_after_the_next_token(setting, tau):
  config, params, batch = setting("future_summary", tau=tau, summary_weight=0.5)
  hidden, rows = states(config, params, batch)[1], []
  for b in range(6):
    for j in range(END[b]):
      bag = set(batch["target"][b, j + 1:END[b]][:None if tau is None else tau - 1].tolist())
      p = 1 / (1 + np.exp(-hidden[b, config.task.prefix_length - 1 + j] @ np.asarray(params["objective"]["head"])))
      rows.append((-sum(np.log(p[v]) if v in bag else np.log(1 - p[v]) for v in range(len(p))), batch["weight"][b, j]))
  want = {"next": next_token(config, params, batch), "summary": mean(rows)}
  loss, terms = losses(config, params, batch)
  assert terms == pytest.approx(want, rel=1e-4) and loss == pytest.approx(want["next"] + 0.5 * want["summary"], rel=1e-4)


@pytest.mark.parametrize("horizon", [1, None])
def test_next_latent_follows_the_dynamics_from_every_token(setting, horizon):
  config, params, batch = setting("next_latent", horizon=horizon, latent_weight=0.5, kl_weight=0.25)
  tokens, hidden, embedded = states(config, params, batch)
  steps, first, time = horizon or 2, config.task.prefix_length - 1, hidden.shape[1]
  own, head = params["objective"], np.asarray(params["model"]["head"], np.float64)
  latent, kl = [[] for _ in range(steps)], [[] for _ in range(steps)]
  for b in range(6):
    for t in range(time):
      h = hidden[b, t]
      for i in range(1, steps + 1):
        if t + i < time:
          x = normed(np.concatenate([embedded[b, t + i], h]), own)
          for name in ("first", "second"):
            x = x @ np.asarray(own[name]["kernel"])
            x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
          h, true, j = h + x @ np.asarray(own["third"]["kernel"]), hidden[b, t + i], t + i - first
          gap = np.abs(h - true)
          real = tokens[b, t + i] != config.task.dummy if j <= 0 else j - 1 < END[b]
          latent[i - 1].append((np.where(gap < 1, gap**2 / 2, gap - 0.5).mean(), real))
          if j >= 0:
            p, q = log_softmax(true @ head), log_softmax(h @ head)
            kl[i - 1].append(((np.exp(p) * (p - q)).sum(), batch["weight"][b, j]))
  want = {"next": next_token(config, params, batch), "latent": np.mean([*map(mean, latent)]), "kl": np.mean([*map(mean, kl)])}
  loss, terms = losses(config, params, batch)
  assert terms == pytest.approx(want, rel=1e-4)
  assert loss == pytest.approx(want["next"] + 0.5 * want["latent"] + 0.25 * want["kl"], rel=1e-4)


def test_next_latent_moves_neither_what_it_aims_at_nor_the_unembedding(setting):
  config, params, batch = setting("next_latent", horizon=1)

  class Open(LM):
    """Hidden states that can be moved one by one."""

    def hidden(self, params, tokens, num_last, free_from=None):
      return super().hidden(params, tokens, num_last, free_from) + params["moved"]

  model = Open(**{name: getattr(config.model, name) for name in ("fields", "mixer", "vocab_size", "max_length")})
  params = params | {"model": params["model"] | {"moved": jnp.zeros((6, config.input_length, model.width))}}
  term = lambda name: lambda params: config.objective.loss(model, params, batch, jax.random.key(0), 0)[1].terms[name]
  for name in ("latent", "kl"):
    grads = jax.jit(jax.grad(term(name)))(params)
    size_T = np.abs(grads["model"]["moved"]).sum(axis=(0, 2))
    assert size_T[-1] == 0 and size_T[-2] > 0  # the last state is aimed at alone, the one before is started from
    assert (np.abs(grads["model"]["head"]).sum() == 0) and np.abs(grads["model"]["embedding"]).sum() > 0


def test_belief_state_scores_both_ends_of_every_gap(setting):
  config, params, batch = setting("belief_state", previous_weight=0.5)
  own, head, target = params["objective"], np.asarray(params["model"]["head"], np.float64), batch["target"]
  forward = states(config, params, batch)[1][:, config.task.prefix_length - 1:]
  read = [[config.task.dummy, *target[b, :END[b]][::-1], *[0] * (4 - END[b])] for b in range(6)]  # from the end on; then anything
  stack = own["backward"] | {"embedding": params["model"]["embedding"]}
  backward = np.asarray(jax.jit(lambda stack: config.model.hidden(stack, jnp.array(read)[:, :4], 4))(stack), np.float64)
  kernel = lambda name: np.asarray(own[name]["kernel"], np.float64)
  following, previous = [], []
  for b in range(6):
    for f in range(END[b]):  # tokens of the answer before the gap
      for rest in range(END[b] - f):  # and after it
        x = np.concatenate([forward[b, f], backward[b, rest]])
        gate = x @ kernel("gate")
        x = normed(x + (gate / (1 + np.exp(-gate)) * (x @ kernel("up"))) @ kernel("down"), own)
        one, other = (log_softmax(half @ head) for half in np.split(x, 2))
        last = END[b] - 1 - rest
        following.append((-one[target[b, f]], batch["weight"][b, f]))
        previous.append((-other[target[b, last]], batch["weight"][b, last]))
  assert len(following) == sum(n * (n + 1) // 2 for n in END)
  want = {"next": mean(following), "previous": mean(previous)}
  loss, terms = losses(config, params, batch)
  assert terms == pytest.approx(want, rel=1e-4) and loss == pytest.approx((want["next"] + 0.5 * want["previous"]) / 2, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("k, sequential", [(6, False), (3, True)])  # further than the answer is long, too
def test_head_i_of_multi_token_predicts_the_ith_next_token_wherever_it_is_of_the_answer(setting, k, sequential):
  config, params, batch = setting("multi_token", k=k, sequential=sequential, heads_weight=0.5)
  model, own, (tokens, _, embedded) = config.model, params["objective"]["heads"], states(config, params, batch)
  block = jax.jit(lambda block, x: model.last_block(block, x, x.shape[1]))
  trunk = jax.jit(model.before_last)(params["model"], tokens)
  x, want = block(params["model"]["last"], trunk), {}
  for i in range(1, k + 1):
    head = None if i == 1 else jax.tree.map(lambda x: x[i - 2], own)
    if i > 1 and sequential:
      joined = [[np.concatenate([normed(np.asarray(x)[b, t], head["state"]), normed(embedded[b, t + i - 1], head["token"])])
                 for t in range(tokens.shape[1] - i + 1)] for b in range(6)]
      x = block(head["block"], np.asarray(joined @ np.asarray(head["join"]["kernel"]), np.float32))
    elif i > 1:
      x = block(head, trunk)
    log_p = log_softmax(normed(np.asarray(x, np.float64), params["model"]) @ np.asarray(params["model"]["head"], np.float64))
    want[f"head_{i}"] = mean((-log_p[b, config.task.prefix_length + j - i, batch["target"][b, j]], batch["weight"][b, j])
                             for b in range(6) for j in range(4))
  loss, terms = losses(config, params, batch)
  assert terms == pytest.approx(want, rel=1e-4) and want["head_1"] == pytest.approx(next_token(config, params, batch), rel=1e-5)
  assert loss == pytest.approx(want["head_1"] + 0.5 * sum(list(want.values())[1:]), rel=1e-4)


@pytest.mark.parametrize("name", ["joint_multi_token", "registers"])
def test_a_batch_without_a_token_further_ahead_has_a_loss(setting, name):
  config, params, batch = setting(name)
  loss, terms = losses(config, params, batch | {"weight": batch["weight"] * (np.arange(4) == 0)})
  assert np.isfinite(loss) and terms["joint" if name == "joint_multi_token" else "register"] == 0


@pytest.mark.parametrize("fields", [{"task.min_length": 3}, {"task.target": "search"}])
def test_masked_diffusion_does_not_fill_in_first_what_stands_behind_an_answer(tiny, fields):
  made = {order: tiny({"objective.name": "masked_diffusion", "objective.decoding": order} | fields)
          for order in ("confident", "left_to_right")}
  config = made["confident"]
  params = jax.jit(lambda: nn.meta.unbox({"model": config.model.init(model_key(0)), "objective": {}}))()
  batch = config.task.examples(0, "test", np.arange(8))
  answers = [jax.jit(lambda: one.objective.predict(config.model, params, batch, jax.random.key(0)))() for one in made.values()]
  np.testing.assert_array_equal(*answers)


def test_next_latent_steps_no_further_than_its_problem_is_long(tiny):
  assert tiny({"task.name": "in_weights", "task.degree": 40, "task.length": 5, "objective.name": "next_latent", "data.num_test": 10,
               "data.num_train": 300, "eval.num_examples": 10}).objective.steps == 2


@pytest.mark.parametrize("name, fields, said", [
    ("multi_token", {"k": 22}, "objective.k = 22: must be between 1 and 21"),
    ("multi_token", {"k": 1, "sequential": True}, "objective.sequential = True: must be False with objective.k = 1"),
    ("multi_token", {"heads_weight": -1.0}, "objective.heads_weight = -1.0: must be a number >= 0"),
    ("token_order", {"order_weight": -1.0}, "objective.order_weight = -1.0: must be a number >= 0"),
    ("future_summary", {"summary_weight": -1.0}, "objective.summary_weight = -1.0: must be a number >= 0"),
    ("future_summary", {"tau": 1}, "objective.tau = 1: must be an integer >= 2"),
    ("next_latent", {"horizon": 0}, "objective.horizon = 0: must be between 1 and 20"),
    ("next_latent", {"proj_factor": 0.0}, "objective.proj_factor = 0.0: must be a number > 0"),
    ("next_latent", {"kl_weight": -1.0}, "objective.kl_weight = -1.0: must be a number >= 0"),
    ("belief_state", {"previous_weight": -1.0}, "objective.previous_weight = -1.0: must be a number >= 0"),
])
def test_what_can_not_be_is_refused(tiny, name, fields, said):
  with pytest.raises(UserError) as error:
    tiny({"objective.name": name} | {f"objective.{field}": value for field, value in fields.items()})
  assert said in str(error.value)
