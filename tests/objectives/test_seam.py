"""The objective's seam holds: wrong objectives are caught by name, and what an objective may ask for it gets."""

import dataclasses
import functools
import types

import checks
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import config, evals, objectives
from pathstar.config import registry
from pathstar.devices.random import model_key, objective_key
from pathstar.errors import UserError
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import score
from pathstar.training import train


class Leak(NextToken):
  """Sees all of the target, the last token too, and scores each token where it stands."""

  def inputs(self, batch):
    return jnp.concatenate([batch["prefix"], batch["target"]], axis=1)


class OffByOne(NextToken):
  """Scores every token from one position too early."""

  def logits(self, model, params, batch):
    length = batch["target"].shape[1]
    return model.apply(params["model"], self.inputs(batch), length + 1)[0][:, :length]


class AnotherPrediction(NextToken):
  """Produces something else than its one pass says."""

  def predict(self, model, params, batch, key):
    shifted = batch | {"prefix": jnp.roll(batch["prefix"], 3, axis=1)}
    return super().predict(model, params, shifted, key)


class SecretlyForced(NextToken):
  """Sees the answer that is forced on it, and denies it."""

  sees_answer = False


class Pause(NextToken):
  """Two tokens of its own between the problem and the answer."""

  extra_tokens, extra_positions = 1, 2

  def prompt(self, batch):
    return jnp.pad(batch["prefix"], ((0, 0), (0, 2)), constant_values=self.task.vocab_size)


@dataclasses.dataclass(frozen=True)
class Weighted(NextToken):
  """A head on the hidden state, weighted by a value of the pack, with the arms of the task and the step in its loss."""

  values, batch_keys = ("head_weight",), ("arms",)

  head_weight: float = 0.5

  def init(self, key, model):
    return {"head": model.init_unembedding(key)}

  def loss(self, model, params, batch, key, step):
    logits, hidden = model.apply(params["model"], self.inputs(batch), batch["target"].shape[1])
    loss, aux = score(logits, batch)
    first = batch["arms"][:, :, 1].sum(axis=1) % self.task.vocab_size
    own, _ = score(hidden @ params["objective"]["head"], batch | {"target": jnp.broadcast_to(first[:, None], batch["target"].shape)})
    return loss + self.head_weight * own, aux._replace(terms={"next": loss, "own": own, "step": step})


@dataclasses.dataclass(frozen=True)
class Derived(NextToken):
  """Values that its parameters, and what it derives from its fields, depend on."""

  values = ("scale",)

  scale: float = 1.0

  @functools.cached_property
  def double(self):
    return 2 * self.scale

  def check(self, model):
    super().check(model)
    assert self.double  # what is derived here is of the first run of a pack

  def init(self, key, model):
    return {"offset": self.scale * jnp.ones((3,))}

  def loss(self, model, params, batch, key, step):
    loss, aux = super().loss(model, params, batch, key, step)
    return loss + 0 * params["objective"]["offset"].sum(), aux._replace(
        terms={"offset": params["objective"]["offset"].mean(), "double": self.double})


ADDED = {"leak": Leak, "off_by_one": OffByOne, "another_prediction": AnotherPrediction, "secretly_forced": SecretlyForced, "pause": Pause,
         "weighted": Weighted, "derived": Derived}


@pytest.fixture(autouse=True)
def added(monkeypatch):
  """The objectives of this file, registered as a line in the registry would."""
  for name, objective in ADDED.items():
    monkeypatch.setitem(objectives.OBJECTIVES, name, objective)
  registry.clear()
  yield
  monkeypatch.undo()
  registry.clear()


@pytest.fixture
def setting(tiny):
  def make(name, **fields):
    made = tiny({"objective.name": name, **fields})
    params = {"model": nn.meta.unbox(made.model.init(model_key(0))),
              "objective": nn.meta.unbox(made.objective.init(objective_key(0), made.model))}
    batch = jax.tree.map(jnp.asarray, made.task.examples(0, "train", np.arange(6)))
    return made, params, made.objective.in_order(batch)

  return make


WRONG = {
    "leak": {checks.scores_do_not_see_their_answer},
    "off_by_one": {checks.one_pass_is_what_is_generated},
    "another_prediction": {checks.one_pass_is_what_is_generated},
    "secretly_forced": {checks.sees_answer_is_what_it_says},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_objective_is_caught_by_the_check_of_what_is_wrong(setting, name):
  caught, subject = set(), checks.Subject(*setting(name))
  for check in checks.ALL:
    try:
      check(subject)
    except AssertionError:
      caught.add(check)
  assert WRONG[name] <= caught
  assert caught <= WRONG[name] | {checks.one_pass_is_what_is_generated}  # a leak is not what it generates either


@pytest.mark.parametrize("name", ["pause", "weighted"])
def test_a_right_one_passes(setting, name):
  subject = checks.Subject(*setting(name))
  for check in checks.ALL:
    check(subject)


def test_tokens_and_positions_of_its_own_have_room_in_the_model(setting):
  made, params, batch = setting("pause")
  task = made.task
  assert made.model.vocab_size == task.vocab_size + 1 and made.model.max_length == task.prefix_length + task.target_length + 2
  tokens = np.asarray(made.objective.inputs(batch))
  assert tokens.shape[1] == made.input_length == task.prefix_length + task.target_length + 1
  assert (tokens[:, task.prefix_length:task.prefix_length + 2] == task.vocab_size).all()
  assert params["model"]["embedding"].shape[0] == made.model.vocab_size


@pytest.mark.slow
def test_a_value_of_an_objective_is_a_value_of_the_pack(tiny, steps):
  pack = [tiny({"objective.name": "weighted", "objective.head_weight": weight}) for weight in (0.0, 0.5, 2.0)]
  assert pack[0].value_fields[-1] == "objective.head_weight"
  _, last, losses, logged = steps(*pack)
  for run, one in enumerate(pack):
    _, last_alone, losses_alone, logged_alone = steps(one)
    np.testing.assert_allclose(losses[:, run], losses_alone[:, 0], rtol=1e-4)
    for name in ("train/loss_next", "train/loss_own"):
      np.testing.assert_allclose(logged[name][run], logged_alone[name][0], rtol=1e-4)
  np.testing.assert_allclose(logged["train/loss"], logged["train/loss_next"] + np.array([0, 0.5, 2]) * logged["train/loss_own"], rtol=1e-5)
  assert (logged["train/loss_step"] == 17).all()  # the mean of the last five of twenty steps, from 0
  assert len(set(np.asarray(logged["train/loss_next"]).tolist())) == 3


def test_a_value_is_a_runs_own_in_its_parameters_and_in_what_is_derived(tiny, steps):
  _, _, _, logged = steps(*(tiny({"objective.name": "derived", "objective.scale": scale, "optimizer.learning_rate": 1e-9})
                            for scale in (1.0, 4.0)))
  np.testing.assert_allclose(logged["train/loss_offset"], [1, 4], rtol=1e-4)
  np.testing.assert_allclose(logged["train/loss_double"], [2, 8])


@pytest.mark.slow
def test_evaluations_know_the_config_of_each_run_of_a_pack(tiny, tmp_path, monkeypatch):
  told = types.SimpleNamespace(
      applies=lambda config: config.method == "derived" and config.architecture == "transformer" and config.fields["seed"] >= 0,
      run=lambda config, params, batch, logits: {f"told/{name}": 0 * logits[:, 0, 0] + value for name, value in (
          ("seed", config.seed), ("rate", config.optimizer.learning_rate), ("scale", config.objective.scale),
          ("field", config.fields["objective.scale"]))})
  monkeypatch.setitem(evals.EVALS, "told", told)
  registry.clear()
  configs = [tiny({"objective.name": "derived", "objective.scale": 2.0 * seed, "seed": seed, "optimizer.learning_rate": 1e-3 * seed})
             for seed in (1, 3)]
  results = train.train(configs, [tmp_path / str(c.seed) for c in configs], tmp_path / "checkpoints")
  for result, one in zip(results, configs):
    said = [result[f"eval/test/told/{name}"] for name in ("seed", "rate", "scale", "field")]
    assert said == pytest.approx([one.seed, one.optimizer.learning_rate, one.objective.scale, one.objective.scale], rel=1e-5)


@pytest.mark.parametrize("values, default", [(("absent",), 1.0), (("scale",), None), (("scale",), 3)])
def test_a_value_that_is_no_number_is_refused(monkeypatch, values, default):
  kind = {None: float | None, 3: int}[default] if default != 1.0 else float
  wrong = dataclasses.make_dataclass("Wrong", [("scale", kind, default)], bases=(NextToken,), namespace={"values": values}, frozen=True)
  monkeypatch.setitem(objectives.OBJECTIVES, "wrong", wrong)
  registry.clear()
  with pytest.raises(UserError, match="objective wrong: values = .*: must be one of its fields of type float"):
    config.schema()


def test_a_field_may_not_take_the_name_of_what_chooses(monkeypatch):
  wrong = dataclasses.make_dataclass("Wrong", [("name", str, "next_token")], bases=(NextToken,), frozen=True)
  monkeypatch.setitem(objectives.OBJECTIVES, "wrong", wrong)
  registry.clear()
  with pytest.raises(UserError, match="the name objective.name is taken: it says which objective is chosen"):
    config.schema()


@pytest.mark.slow
def test_what_is_trained_and_what_is_kept_are_counted_apart(tiny, tmp_path):
  made = tiny({"objective.name": "weighted", "train.num_steps": 10})
  [result] = train.train([made], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  assert result["parameters"] - result["parameters_used"] == made.model.width * made.model.vocab_size
  assert result["parameters_used"] == sum(x.size for x in jax.tree.leaves(jax.eval_shape(made.model.init, model_key(0))))


@pytest.mark.slow
def test_an_exact_match_that_is_not_what_is_generated_is_said(tiny, tmp_path, capsys):
  train.train([tiny({"objective.name": "leak", "train.num_steps": 300, "train.steps_per_call": 50, "train.log_every": 50,
                     "train.checkpoint_every": 50, "eval.every": 50, "model.width": 32, "optimizer.learning_rate": 1e-2})],
              [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  said = capsys.readouterr().err
  assert "objective leak says one_pass = True, which must then be wrong" in said


def test_what_the_task_does_not_give_is_refused(tiny):
  with pytest.raises(UserError, match="objective.batch_keys = 'arms': must be one of prefix, target"):
    tiny({"objective.name": "weighted", "task.name": "addition", "data.num_test": 40})


def test_a_field_that_only_another_objective_has_is_refused(tiny):
  base = config.override(config.default(), tiny.fields)
  for fields in ({"objective.k": 3}, {"objective.head_weight": 0.1}):
    [(name, value)] = fields.items()
    with pytest.raises(UserError, match=f"^{name} = {value}: is not used by objective.name = 'next_token'; it is a field of "):
      config.resolve(config.override(base, fields))
  config.resolve(config.override(base, {"objective.k": 3, "objective.name": "multi_token"}))
  # With the objective goes what was set for it.
  set_for_it = config.override(base, {"objective.k": 3, "objective.name": "multi_token"})
  assert "objective.k" not in config.resolve(config.override(set_for_it, {"objective.name": "teacherless"})).fields
