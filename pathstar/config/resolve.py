"""A config, validated: one frozen `Config` that the rest of the code works with, and what makes two runs the same run.

A run is what it uses. `Config.fields`, and with it config.json, run ids and "is this the same run?", hold the fields of the chosen task,
mixer, objective and evaluations, and none that only others have: a file added to the suite changes no existing folder.
"""

import dataclasses
import math
import pathlib
import types
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from pathstar import evals, models, objectives, tasks
from pathstar.config import registry
from pathstar.config.sections import Data, Eval, Optimizer, Train
from pathstar.devices.mesh import check_mesh
from pathstar.errors import UserError, choose, require, shown
from pathstar.models.fields import ModelFields
from pathstar.models.lm import LM
from pathstar.storage import workdir
from pathstar.tasks.counter import TEST_SHARE
from pathstar.tasks.files import Files

_MAX_STEPS_PER_CALL = 50
_SECTIONS = {"data": Data, "optimizer": Optimizer, "train": Train, "eval": Eval}


@dataclasses.dataclass(frozen=True)
class Config:
  """A validated config.

  Attributes:
    files: where examples come from, if they are not drawn.
    evals: fields that evaluations declare, by the evaluation's name.
    measured: the evaluations that apply, each with what it reads: logits | tokens.
    fields: the fields in use, by dotted name, as given.
  """

  seed: int
  task: Any
  data: Data
  model: LM
  objective: Any
  optimizer: Optimizer
  train: Train
  eval: Eval
  mesh: str
  evals: Mapping[str, Any]
  files: Files | None = None
  measured: tuple[tuple[str, str], ...] = ()
  fields: Mapping[str, Any] | None = None

  def __getstate__(self) -> dict:
    """For pickle, which knows no read-only mappings."""
    return {f.name: dict(v) if isinstance(v := getattr(self, f.name), types.MappingProxyType) else v for f in dataclasses.fields(self)}

  @property
  def order(self) -> str:
    return self.objective.order

  @property
  def architecture(self) -> str:
    """What the model is called in names of runs and in tables: the mixer's name, or what it says of itself."""
    name = self.fields["model.mixer"]
    return getattr(models.MIXERS[name], "architecture", name)

  @property
  def method(self) -> str:
    """Objective and order in a word: next_token, reversed (next_token in reversed order), teacherless, ..."""
    return objectives.method(self.fields["objective.name"], self.order)

  @property
  def identity(self) -> dict[str, Any]:
    """The fields that say what is computed: runs are the same if these are."""
    return {name: value for name, value in self.fields.items() if name not in registry.FREE_FIELDS}

  @property
  def in_words(self) -> dict[str, str]:
    """What tables of runs show beside the fields."""
    return {"method": self.method, "topology": str(self.task), "architecture": self.architecture}

  @property
  def siblings(self) -> int:
    """Examples that belong together, in a batch and through shuffled epochs."""
    return getattr(self.task, "siblings", 1)

  @property
  def input_length(self) -> int:
    """Tokens of one example that the model reads in training."""
    return self.objective.input_length

  @property
  def steps_per_call(self) -> int:
    return self.train.steps_per_call or _largest_divisor(*_cadences(self.train, self.eval).values())

  def steps_per_call_of_version_0_1(self, checkpoint_every: int) -> int:
    """There they had to divide the cadence of checkpoints too."""
    return self.train.steps_per_call or _largest_divisor(*_cadences(self.train, self.eval).values(), checkpoint_every)

  @property
  def value_fields(self) -> tuple[str, ...]:
    """Fields that runs of one pack may differ in."""
    return *registry.VALUE_FIELDS, *(f"objective.{name}" for name in self.objective.values)

  def with_values(self, values: Mapping[str, Any]) -> "Config":
    """The config of one run of a pack, by the values (of `value_fields`) that it doesn't share, which may be traced numbers."""
    of = lambda section: {name.partition(".")[2]: value for name, value in values.items() if name.startswith(f"{section}.")}
    changed = {section: objectives.with_values(getattr(self, section), of(section)) for section in ("objective", "optimizer")}
    seed = values["seed"] if "seed" in values else self.seed
    return dataclasses.replace(self, seed=seed, fields=types.MappingProxyType({**self.fields, **values}), **changed)


def resolve(config: ConfigDict | Mapping, given: Iterable[str] | None = None, read_files: bool = True) -> Config:
  """Validates every field and builds what they describe.

  Args:
    config: a ConfigDict; or a mapping of dotted names, where what it lacks is at its default.
    given: the fields that were set on purpose, which something must use, and which must change something where they are not at their
      defaults; None: all that are not, and that they are used is enough: a config file may set what its cells make use of.
    read_files: whether files with examples are read and checked; False: what is recorded of them stands.

  Raises:
    UserError: names the field at fault.
  """
  flat = registry.complete(config.to_dict() if isinstance(config, ConfigDict) else config)
  section = lambda name, part: {field: flat[dotted] for field, dotted in registry.own(name, part).items()}
  plain = lambda name, owner: owner(**{f.name: flat[f"{name}.{f.name}"] for f in dataclasses.fields(owner)})
  choose("task.name", flat["task.name"], tasks.TASKS)
  choose("objective.name", flat["objective.name"], objectives.OBJECTIVES)
  choose("model.mixer", flat["model.mixer"], models.MIXERS)
  task = tasks.TASKS[flat["task.name"]](**section("task", flat["task.name"]))
  files = _files(flat, task, read_files)
  objective = objectives.OBJECTIVES[flat["objective.name"]](task, **section("objective", flat["objective.name"]))
  model = models.build(plain("model", ModelFields), section("model", flat["model.mixer"]), objective.vocab_size, objective.max_length)
  resolved = Config(
      seed=flat["seed"], task=task, model=model, objective=objective, mesh=flat["mesh"], files=files,
      **{name: plain(name, owner) for name, owner in _SECTIONS.items()},
      evals={name: module.Fields(**section("eval", name)) for name, module in evals.EVALS.items() if hasattr(module, "Fields")})
  fields_of = lambda applied: types.MappingProxyType({name: flat[name] for name in registry.used(flat, applied)})
  resolved = dataclasses.replace(resolved, fields=fields_of(()))
  measured = tuple((name, evals.reads(module, resolved)) for name, module in evals.EVALS.items() if module.applies(resolved))
  resolved = dataclasses.replace(resolved, measured=measured, fields=fields_of(tuple(name for name, _ in measured)))
  for name in registry.set_on_purpose(flat) if given is None else given:
    if name not in resolved.fields:
      raise registry.unused(name, flat[name], flat)
    if given is not None and (reason := _in_vain(resolved, name, flat[name])):
      raise UserError(reason)
  _check_fit(resolved)
  return resolved


def check_used(base: ConfigDict, given: Iterable[str], configs: Iterable[Config]) -> None:
  """Raises UserError on a field that is set in vain.

  Args:
    base: what the configs were made from. What its file set must be used by one of them or by the base itself.
    given: fields that were overridden, each of which one of the configs must use.
    configs: all that come of it.
  """
  configs = list(configs)
  flat, made = registry.complete(base.to_dict()), set().union(*(one.fields for one in configs))
  own = made.union(registry.used(flat, tuple(evals.EVALS)))
  for name in sorted({*given, *registry.set_on_purpose(flat)}):
    if name not in (made if name in given else own):
      raise registry.unused(name, flat[name], flat)
    reasons = [_in_vain(one, name, flat[name]) for one in configs if name in given]
    if reasons and all(reasons):
      raise UserError(reasons[0])


def _in_vain(config: Config, name: str, value: Any) -> str:
  """What is said of a field that is set and changes nothing as another stands; "": it may."""
  found = config.model.idle
  why = "" if value == registry.schema()[name].default else found.get(name) or found.get(f"{name}={value}")
  return f"{name} = {shown(value)}: changes nothing with {why}" if why else ""


def recorded(fields: Mapping[str, Any]) -> Config:
  """The config of a run's config.json, which may be of an older version (a field that it lacks is at its default).

  Raises:
    UserError: a field that this version doesn't know and that the run may use; or it doesn't say what the run is.
  """
  for name in registry.SELECTORS.values():
    if name not in fields:
      raise UserError(f"config.json: has no {name}; it is damaged or not a run's")
  unknown = [name for name in fields if name not in registry.schema()]
  config = resolve({name: value for name, value in fields.items() if name not in unknown}, given=(), read_files=False)
  # A file of version 0.1 lists everything: what is unknown there may be of a part that is not used either.
  lists_everything = set(registry.VERSION_0_1) <= fields.keys()
  for name in unknown:
    if not (lists_everything and name.partition(".")[0] in ("task", "model", "objective", "eval")):
      raise UserError(f"config.json: {name} = {shown(fields[name])} is a field that this version of pathstar doesn't know; use the "
                      "version that made the run")
  return config


def of_run(folder: pathlib.Path) -> Config:
  """`recorded`, of the run in `folder`. Raises UserError, which names the file."""
  file = folder / workdir.CONFIG
  return recorded_in(str(file), workdir.read_json(file))


def recorded_in(place: str, fields: Mapping[str, Any]) -> Config:
  """`recorded`, of fields that were read from there. Raises UserError, which names the place."""
  try:
    return recorded(fields)
  except UserError as error:
    raise UserError(f"{place}: {str(error).removeprefix('config.json: ')}; it is damaged, or of another version") from None


def differences(config: Config, old: Mapping[str, Any]) -> list[str]:
  """What is said of each field in use in which a run differs from the recorded fields of another."""
  try:
    then = recorded(old).identity
  except UserError as error:
    return [f"its config.json can't be read: {str(error).removeprefix('config.json: ')}"]
  now = config.identity
  names = (name for name in registry.schema() if name in then.keys() | now.keys())
  shown = lambda fields, name: repr(fields[name]) if name in fields else "not in use"
  return [f"{name}: {shown(then, name)} there, {shown(now, name)} now" for name in names if then.get(name) != now.get(name)]


def _files(flat: dict[str, Any], task: Any, read: bool) -> Files | None:
  """The files that examples come from; None: they are drawn. What they hold, and how many examples, is written into `flat`."""
  files = Files(**{field.name: flat[f"task.{field.name}"] for field in dataclasses.fields(Files)})
  if files.train_file is None or not read:
    return None if files.train_file is None else files
  files = files.checked(task)
  flat |= {"task.train_content": files.train_content, "task.test_content": files.test_content}
  for split in ("train", "test"):
    name, number = f"data.num_{split}", files.number(task, split)
    flat[name] = number if flat[name] is None else min(flat[name], number)
  return files


def _check_fit(config: Config) -> None:
  """Errors that two fields make together."""
  require(0 <= config.seed < 2**31, "seed", config.seed, "in [0, 2^31)")
  check_mesh(config.mesh, config.train.batch_size)
  config.objective.check(config.model)
  problems = config.task.num_problems()
  in_test = getattr(config.task, "num_test_problems", int(problems * TEST_SHARE))
  for name, wanted, most in (("data.num_train", config.data.num_train or 1, problems - in_test),
                             ("data.num_test", config.data.num_test, in_test)):
    if config.files is None and wanted > most:
      raise UserError(f"{name} = {wanted!r}: must be at most {most}: {config.task} with {problems} problems "
                      "in all has no more in this split")
  for name, number in (("train.batch_size", config.train.batch_size), ("data.num_train", config.data.num_train or 0)):
    require(number % config.siblings == 0, name, number, f"a multiple of task.siblings = {config.siblings}")
  require(config.eval.num_examples <= config.data.num_test, "eval.num_examples", config.eval.num_examples,
          f"at most data.num_test = {config.data.num_test}")
  if config.data.num_train is not None:
    require(config.eval.num_examples <= config.data.num_train, "eval.num_examples", config.eval.num_examples,
            f"at most data.num_train = {config.data.num_train}")
  for name, cadence in _cadences(config.train, config.eval).items():
    require(cadence % config.steps_per_call == 0, "train.steps_per_call", config.steps_per_call,
            f"a divisor of {name} = {cadence}")


def _largest_divisor(*numbers: int) -> int:
  common = math.gcd(*numbers)
  return max(k for k in range(1, _MAX_STEPS_PER_CALL + 1) if common % k == 0)


def _cadences(train: Train, evals: Eval) -> dict[str, int]:
  """What dispatches must end at. Not checkpoints: when these are made is free to change, and what a dispatch logs is not."""
  cadences = {"train.num_steps": train.num_steps, "train.log_every": train.log_every, "eval.every": evals.every}
  return cadences | ({"eval.decode_every": evals.decode_every} if evals.decode_every else {})
