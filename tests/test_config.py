"""Fields, overrides, files and validation: what is wrong is named, what is right is kept as given."""

import dataclasses
import pathlib

import pytest

from pathstar import config, tasks
from pathstar.errors import UserError
from pathstar.sweeps.packs import plan

CONFIGS = sorted((pathlib.Path(__file__).parent.parent / "configs").glob("*.py"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_config_file_is_valid_with_its_sweep(file):
  base, module, arg, _ = config.load(str(file))
  config.resolve(base)
  assert module.__doc__ and f"configs/{file.name}" in module.__doc__  # it tells its command
  if hasattr(module, "sweep"):
    assert plan(base, module.sweep(arg))


def test_defaults_are_those_of_the_classes_that_declare_them():
  resolved = config.resolve(config.default())
  for section in ("data", "train", "eval", "optimizer"):
    assert getattr(resolved, section) == type(getattr(resolved, section))()
  assert resolved.task == tasks.TASKS[resolved.fields["task.name"]]()
  assert set(resolved.fields) < set(config.schema())


def test_a_config_is_its_own_fields_again(tiny):
  resolved = tiny()
  again = config.resolve(config.override(config.default(), dict(resolved.fields)))
  assert again.fields == resolved.fields and again == dataclasses.replace(resolved, fields=again.fields)


@pytest.mark.parametrize("name, text, value", [
    ("task.degree", "3", 3), ("data.num_train", "200_000", 200_000), ("data.num_train", "None", None),
    ("optimizer.learning_rate", "3e-4", 3e-4), ("optimizer.learning_rate", "1", 1.0), ("optimizer.clip_norm", "None", None),
    ("model.tied_head", "true", True), ("model.tied_head", "False", False), ("model.remat", "1", True),
    ("model.scan_layers", "None", None), ("model.scan_layers", "False", False), ("model.dtype", "bfloat16", "bfloat16"),
    ("task.degree", 3.0, 3),
])
def test_values_are_read_as_the_type_of_their_field(name, text, value):
  flat = config.flatten(config.override(config.default(), {name: text}).to_dict())
  assert flat[name] == value and type(flat[name]) is type(value)


@pytest.mark.parametrize("name, value, kind", [
    ("task.degree", "two", "int"), ("task.degree", "2.5", "int"), ("task.degree", 2.5, "int"), ("task.degree", True, "int"),
    ("task.degree", None, "int"), ("seed", "", "int"), ("optimizer.learning_rate", "fast", "float"),
    ("optimizer.learning_rate", "nan", "float"), ("optimizer.learning_rate", True, "float"),
    ("optimizer.learning_rate", "inf", "float"), ("model.tied_head", "maybe", "bool"), ("model.dtype", None, "str"),
])
def test_values_of_another_type_are_refused(name, value, kind):
  with pytest.raises(UserError) as error:
    config.override(config.default(), {name: value})
  assert str(error.value) == f"{name} = {value!r}: must be of type {kind}"


def test_an_unknown_field_is_refused_and_the_nearest_named():
  with pytest.raises(UserError, match="unknown config field 'task.degre'; did you mean 'task.degree'?"):
    config.override(config.default(), {"task.degre": 2})
  with pytest.raises(AttributeError):  # and by a config file's assignment, which `load` turns into a message
    config.default().task.degre = 2


def test_overriding_leaves_the_original_alone():
  base = config.default()
  config.override(base, {"task.degree": 7})
  assert base.task.degree == 2


@pytest.mark.parametrize("fields, said", [
    ({"data.num_train": 10**7}, "data.num_train = 10000000: must be at most"),
    ({"data.num_test": 10**6}, "data.num_test = 1000000: must be at most"),
    ({"task.length": 2, "task.num_nodes": 4, "eval.num_examples": 1, "data.num_train": 22, "data.num_test": 1},
     "data.num_train = 22: must be at most 21: G(2,2) with 24 problems"),
    ({"task.length": 2, "task.num_nodes": 4, "eval.num_examples": 1, "data.num_train": 21, "data.num_test": 4},
     "data.num_test = 4: must be at most 3: G(2,2) with 24 problems"),
    ({"eval.num_examples": 201}, "eval.num_examples = 201: must be at most data.num_test = 200"),
    ({"data.num_train": 30}, "eval.num_examples = 40: must be at most data.num_train = 30"),
    ({"train.steps_per_call": 3}, "train.steps_per_call = 3: must be a divisor of train.num_steps = 20"),
    ({"train.log_every": 8}, "train.steps_per_call = 5: must be a divisor of train.log_every = 8"),
    ({"train.batch_size": 0}, "train.batch_size = 0"),
    ({"train.keep_checkpoints": 1}, "train.keep_checkpoints = 1: must be an integer >= 2"),
    ({"eval.every": -1}, "eval.every = -1"),
    ({"seed": -1}, "seed = -1"), ({"seed": 2**31}, "seed = 2147483648"),
    ({"optimizer.learning_rate": 0.0}, "optimizer.learning_rate = 0.0"),
    ({"optimizer.weight_decay": -0.1}, "optimizer.weight_decay = -0.1"),
    ({"optimizer.beta2": 1.0}, "optimizer.beta2 = 1.0"),
    ({"optimizer.clip_norm": 0.0}, "optimizer.clip_norm = 0.0"),
    ({"optimizer.warmup_from_zero": True, "optimizer.warmup_steps": 0},
     "optimizer.warmup_from_zero = True: must be False with optimizer.warmup_steps = 0"),
    ({"model.position_std": -1.0}, "model.position_std = -1.0: must be a number >= 0, or None"),
    ({"model.position_std": 1.0, "model.positions": "rope"}, "model.position_std = 1.0: must be None with model.positions = 'rope'"),
    ({"model.init": "nromal"}, "did you mean 'normal'?"),
    ({"optimizer.schedule": "cosin"}, "did you mean 'cosine'?"),
    ({"model.num_layers": 0}, "model.num_layers = 0"), ({"model.mixer": "atention"}, "did you mean 'attention'?"),
    ({"model.positions": "sinus"}, "model.positions = 'sinus': must be one of learned, rope, both, none"),
    ({"objective.name": "teacherles"}, "did you mean 'teacherless'?"), ({"objective.order": "backward"}, "objective.order"),
    ({"task.name": "path"}, "task.name = 'path': must be one of"),
])
def test_fields_that_do_not_fit_are_refused_by_name_value_and_what_is_allowed(tiny, fields, said):
  with pytest.raises(UserError) as error:
    tiny(fields)
  assert said in str(error.value)


def test_endless_training_needs_no_number_of_examples(tiny):
  assert tiny({"data.num_train": None}).data.num_train is None


@pytest.mark.parametrize("fields, want", [
    ({}, 5), ({"train.steps_per_call": 1}, 1),
    ({"train.steps_per_call": None}, 5),
    ({"train.steps_per_call": None, "train.log_every": 4, "eval.decode_every": 2}, 2),
    ({"train.steps_per_call": None, "train.num_steps": 600, "train.log_every": 100, "train.checkpoint_every": 300,
      "eval.every": 200}, 50),
])
def test_steps_per_call_divides_every_cadence(tiny, fields, want):
  assert tiny(fields).steps_per_call == want


@pytest.mark.parametrize("fields, want", [
    ({}, ("transformer", "next_token")), ({"objective.order": "reversed"}, ("transformer", "reversed")),
    ({"objective.name": "teacherless"}, ("transformer", "teacherless")),
    ({"objective.name": "teacherless", "objective.order": "reversed"}, ("transformer", "teacherless-reversed")),
])
def test_architecture_and_method_have_the_fields_names(tiny, fields, want):
  assert (tiny(fields).architecture, tiny(fields).method) == want


def test_file_arguments_have_the_types_of_their_defaults():
  assert vars(config.arguments("degree=5,rate=0.5", degree=2, rate=1.0, name="x")) == {"degree": 5, "rate": 0.5, "name": "x"}
  assert vars(config.arguments("", degree=2)) == {"degree": 2}
  for bad, said in (("degre=5", "did you mean 'degree'?"), ("degree=x", "file argument degree = 'x'")):
    with pytest.raises(UserError) as error:
      config.arguments(bad, degree=2)
    assert said in str(error.value)


def test_config_files_come_in_every_usual_form(tmp_path):
  head = "from __future__ import annotations\nimport dataclasses\n"
  forms = {
      "no argument": "from pathstar.config import default\ndef get_config():\n  return default()\n",
      "a dict": "def get_config(arg=''):\n  return {'task': {'degree': 3}, 'train.num_steps': 200, 'seed': 4}\n",
      "a dataclass beside": head + "from pathstar.config import default\n@dataclasses.dataclass\nclass Mine:\n  degree: int = 3\n"
                            "def get_config(arg=''):\n  c = default()\n  c.task.degree = Mine().degree\n  return c\n",
      "a neighbour": "from neighbour import DEGREE\nfrom pathstar.config import default\ndef get_config(arg=''):\n"
                     "  c = default()\n  c.task.degree = DEGREE\n  return c\n",
      "another argument's name": "from pathstar.config import default\ndef get_config(what=None):\n  return default()\n",
  }
  (tmp_path / "neighbour.py").write_text("DEGREE = 3\n")
  for name, text in forms.items():
    file = tmp_path / f"{name.replace(' ', '_')}.py".replace("'", "")
    file.write_text(text)
    config.load(str(file)).resolve()
  made = config.load(str(tmp_path / "a_dict.py"), {"task.length": "4"}).resolve()
  assert (made.task.degree, made.task.length, made.train.num_steps, made.seed) == (3, 4, 200, 4)
