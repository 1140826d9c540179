"""Configuration: every field and its default, config files, overrides, and validation into one frozen `Config`.

Fields that belong to a task, a mixer or an objective are declared beside its code and merged here under `task.`, `model.` and
`objective.`. A config file is Python with `get_config(arg="")` returning a ConfigDict that starts from `default()`; a sweep is
a function `sweep(arg="")` beside it. `arg` is what follows the colon in `--config=FILE:degree=5,length=7`.
"""

import dataclasses
import functools
import importlib.util
import math
import pathlib
import re
import types
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from pathstar import models, objectives, tasks
from pathstar.errors import UserError, choose, nearest, require
from pathstar.models.lm import LM, ModelFields
from pathstar.optimizer import Optimizer
from pathstar.tasks.counter import TEST_SHARE

# Fields that runs of one pack may differ in: values in the compiled program, not its shape.
VALUE_FIELDS = ("seed", "optimizer.learning_rate", "optimizer.weight_decay")
# Fields that may change between two starts of one workdir: they do not change what is computed.
FREE_FIELDS = ("mesh", "train.checkpoint_every", "train.keep_checkpoints")
_MAX_STEPS_PER_CALL = 50


@dataclasses.dataclass(frozen=True)
class Data:
  """Config fields under `data.`."""

  num_train: int | None = None  # distinct training examples, reshuffled every epoch; None: endless
  num_test: int = 10_000  # examples of the test split, the same for every seed

  def __post_init__(self):
    require(self.num_train is None or self.num_train >= 1, "data.num_train", self.num_train, "an integer >= 1, or None")
    require(self.num_test >= 1, "data.num_test", self.num_test, "an integer >= 1")


@dataclasses.dataclass(frozen=True)
class Train:
  """Config fields under `train.`."""

  batch_size: int = 64  # examples per step, over all devices
  num_steps: int = 1000  # optimiser steps
  steps_per_call: int | None = None  # steps per dispatch; divides every cadence; None: the largest that does, up to 50
  log_every: int = 100  # steps between training metrics, which are means over the last call
  checkpoint_every: int = 1000  # steps between checkpoints
  keep_checkpoints: int = 2  # newest checkpoints kept

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      require(value is None or value >= 1, f"train.{field.name}", value, "an integer >= 1")
    require(self.keep_checkpoints >= 2, "train.keep_checkpoints", self.keep_checkpoints,
            "an integer >= 2, so that a torn newest one has another before it")


@dataclasses.dataclass(frozen=True)
class Eval:
  """Config fields under `eval.`. Evaluations also run at step 0 and at the end."""

  every: int = 500  # steps between evaluations that cost one or two forward passes
  decode_every: int | None = None  # steps between those that decode token by token; None: only at step 0 and at the end
  num_examples: int = 1000  # examples of the test split, and of a fixed slice of the training set
  num_samples: int = 0  # samples an example for best-of-k, where evaluations decode; 0: none

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value, least = getattr(self, field.name), 0 if field.name == "num_samples" else 1
      require(value is None or value >= least, f"eval.{field.name}", value, f"an integer >= {least}")


@dataclasses.dataclass(frozen=True)
class Config:
  """A validated config: what the rest of the code works with."""

  seed: int
  task: Any
  data: Data
  model: LM
  objective: Any
  optimizer: Optimizer
  train: Train
  eval: Eval
  mesh: str
  fields: Mapping[str, Any]  # every field by dotted name, as given

  @property
  def order(self) -> str:
    return self.objective.order

  @property
  def architecture(self) -> str:
    """The mixer's name, but `transformer` for attention."""
    name = self.fields["model.mixer"]
    return "transformer" if name == "attention" else name

  @property
  def method(self) -> str:
    """Objective and order in a word: next_token, reversed (next_token in reversed order), teacherless, ..."""
    name = self.fields["objective.name"]
    if self.order == "forward":
      return name
    return "reversed" if name == "next_token" else f"{name}-reversed"

  @property
  def input_length(self) -> int:
    """Tokens of one example that the model reads: the last one of the target is only predicted."""
    return self.task.prefix_length + self.task.target_length - 1

  @property
  def steps_per_call(self) -> int:
    if self.train.steps_per_call is not None:
      return self.train.steps_per_call
    common = math.gcd(*_cadences(self.train, self.eval).values())
    return max(k for k in range(1, _MAX_STEPS_PER_CALL + 1) if common % k == 0)


@functools.cache
def schema() -> dict[str, tuple[Any, Any]]:
  """Every field: dotted name -> (type, default)."""
  single = {"seed": (int, 0), "mesh": (str, "auto"), "task.name": (str, "path_star"), "objective.name": (str, "next_token")}
  sources = [("data", dataclasses.fields(Data)), ("model", dataclasses.fields(ModelFields)),
             ("optimizer", dataclasses.fields(Optimizer)), ("train", dataclasses.fields(Train)),
             ("eval", dataclasses.fields(Eval))]
  sources += [("task", dataclasses.fields(task)) for task in tasks.TASKS.values()]
  sources += [("model", models.mixer_fields(name)) for name in models.MIXERS]
  sources += [("objective", _objective_fields(name)) for name in objectives.OBJECTIVES]
  found = dict(single)
  for section, fields in sources:
    for field in fields:
      name, entry = f"{section}.{field.name}", (field.type, field.default)
      if found.setdefault(name, entry) != entry:
        raise TypeError(f"{name} is declared twice, as {found[name]} and as {entry}")
  return found


def default() -> ConfigDict:
  """All fields at their defaults, as a ConfigDict that refuses unknown names."""
  nested = {}
  for name, (_, value) in schema().items():
    section, _, field = name.rpartition(".")
    (nested.setdefault(section, {}) if section else nested)[field] = value
  return ConfigDict(nested, type_safe=False).lock()  # types are checked by `resolve`, which names the field


def flatten(config: Mapping) -> dict[str, Any]:
  """Nested mapping -> {"task.degree": 2, ...}."""
  flat = {}
  for key, value in config.items():
    flat.update({f"{key}.{k}": v for k, v in flatten(value).items()} if isinstance(value, Mapping | ConfigDict) else {key: value})
  return flat


def override(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
  """A copy of `config` with dotted fields set; strings are read as the field's type. Raises UserError."""
  config = ConfigDict(config.to_dict(), type_safe=False)
  for name, value in values.items():
    _known(name)
    section, _, field = name.rpartition(".")
    (config[section] if section else config)[field] = _cast(name, value)
  return config.lock()


def load(spec: str, overrides: Mapping[str, Any] | None = None) -> tuple[ConfigDict, types.ModuleType, str]:
  """`FILE[:arg]` -> (its config with overrides applied, its module, arg). Raises UserError."""
  path, _, arg = spec.partition(":")
  file = pathlib.Path(path)
  if not file.is_file():
    siblings = [str(p) for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
    raise UserError(f"--config = {path!r}: no such file{nearest(path, siblings)}")
  module_spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
  if module_spec is None:
    raise UserError(f"--config = {path!r}: must be a Python file")
  module = importlib.util.module_from_spec(module_spec)
  module_spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise UserError(f"--config = {path!r}: must define get_config(arg='')")
  try:
    config = module.get_config(arg)
  except (AttributeError, KeyError) as error:  # what ConfigDict raises when a file sets or reads an unknown field
    unknown = re.search(r'Key "(\w+)" does not exist|(\w+)\W+nDid you mean', str(error))
    if unknown is None:
      raise
    name, names = unknown[1] or unknown[2], {part for field in schema() for part in field.split(".")}
    raise UserError(f"--config = {path!r}: unknown config field {name!r}{nearest(name, sorted(names))}") from error
  return override(config, overrides or {}), module, arg


def arguments(arg: str, **defaults) -> types.SimpleNamespace:
  """Reads a config file's `degree=5,length=7` into a namespace; each default gives its name and type. Raises UserError."""
  values = dict(defaults)
  for part in filter(None, arg.split(",")):
    name, _, text = part.partition("=")
    choose("file argument", name, defaults)
    values[name] = _read(f"file argument {name}", text, type(defaults[name]))
  return types.SimpleNamespace(**values)


def resolve(config: ConfigDict) -> Config:
  """Validates every field and builds what they describe. Raises UserError naming the field at fault."""
  flat = flatten(config.to_dict())
  for name in flat:
    _known(name)
  flat = {name: _cast(name, flat.get(name, value)) for name, (_, value) in schema().items()}
  section = lambda name, fields: {f.name: flat[f"{name}.{f.name}"] for f in fields}
  choose("task.name", flat["task.name"], tasks.TASKS)
  choose("objective.name", flat["objective.name"], objectives.OBJECTIVES)
  task_class = tasks.TASKS[flat["task.name"]]
  task = task_class(**section("task", dataclasses.fields(task_class)))
  model_fields = ModelFields(**section("model", dataclasses.fields(ModelFields)))
  choose("model.mixer", model_fields.mixer, models.MIXERS)
  objective = objectives.OBJECTIVES[flat["objective.name"]](
      task, **section("objective", _objective_fields(flat["objective.name"])))
  resolved = Config(
      seed=flat["seed"],
      task=task,
      data=Data(**section("data", dataclasses.fields(Data))),
      model=models.build(model_fields, section("model", models.mixer_fields(model_fields.mixer)), task),
      objective=objective,
      optimizer=Optimizer(**section("optimizer", dataclasses.fields(Optimizer))),
      train=Train(**section("train", dataclasses.fields(Train))),
      eval=Eval(**section("eval", dataclasses.fields(Eval))),
      mesh=flat["mesh"],
      fields=types.MappingProxyType(flat),
  )
  _check_fit(resolved)
  return resolved


def _check_fit(config: Config) -> None:
  """Errors that two fields make together."""
  require(0 <= config.seed < 2**31, "seed", config.seed, "in [0, 2^31)")
  problems = config.task.num_problems()  # of a large graph beyond any float
  for name, wanted, share in (("data.num_train", config.data.num_train or 1, 1 - TEST_SHARE),
                              ("data.num_test", config.data.num_test, TEST_SHARE)):
    if wanted / share > problems:
      raise UserError(f"{name} = {wanted!r}: must be at most {int(problems * share)}: {config.task} with {problems} problems "
                      "in all has no more in this split")
  require(config.eval.num_examples <= config.data.num_test, "eval.num_examples", config.eval.num_examples,
          f"at most data.num_test = {config.data.num_test}")
  if config.data.num_train is not None:
    require(config.eval.num_examples <= config.data.num_train, "eval.num_examples", config.eval.num_examples,
            f"at most data.num_train = {config.data.num_train}")
  for name, cadence in _cadences(config.train, config.eval).items():
    require(cadence % config.steps_per_call == 0, "train.steps_per_call", config.steps_per_call,
            f"a divisor of {name} = {cadence}")


def _cadences(train: Train, evals: Eval) -> dict[str, int]:
  cadences = {"train.num_steps": train.num_steps, "train.log_every": train.log_every,
              "train.checkpoint_every": train.checkpoint_every, "eval.every": evals.every}
  return cadences | ({"eval.decode_every": evals.decode_every} if evals.decode_every else {})


def _objective_fields(name: str) -> list[dataclasses.Field]:
  return [f for f in dataclasses.fields(objectives.OBJECTIVES[name]) if f.name != "task"]


def _known(name: str) -> None:
  if name not in schema():
    raise UserError(f"unknown config field {name!r}{nearest(name, schema())}")


def _cast(name: str, value: Any) -> Any:
  """The value as its field's type; text from a command line is parsed, a number never changes value."""
  kind, _ = schema()[name]
  options = typing.get_args(kind) or (kind,)
  if value is None or (isinstance(value, str) and value == "None"):
    require(type(None) in options, name, value, f"of type {options[0].__name__}")
    return None
  return _read(name, value, options[0])


def _read(name: str, value: Any, kind: type) -> Any:
  try:
    if kind is bool:
      result = {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
    elif kind is int and isinstance(value, str):
      result = int(value.replace("_", ""))
    elif kind is str or (kind is float and not isinstance(value, bool)):
      result = kind(value)
    else:  # a number that is already one: 3.0 is an int, 3.5 and True are not
      result = kind(value) if not isinstance(value, bool) and kind(value) == value else None
  except (KeyError, ValueError, TypeError):
    result = None
  if result is None or (kind is float and not math.isfinite(result)):
    raise UserError(f"{name} = {value!r}: must be of type {kind.__name__}")
  return result
