"""Every config field and its default, put together from where they are declared; and which of them a choice of parts uses."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ml_collections import ConfigDict

from pathstar import evals, models, objectives, tasks
from pathstar.config import sections
from pathstar.config.declare import Field, Kind, cast, declared
from pathstar.errors import UserError, choose, nearest, shown
from pathstar.models.fields import ModelFields
from pathstar.tasks.files import FILE_FIELDS, Files

# Fields that runs of one pack may differ in: values in the compiled program, not its shape. Objectives add their own.
VALUE_FIELDS = ("seed", "optimizer.learning_rate", "optimizer.weight_decay")
# Fields that may change between two starts of one workdir: they do not change what is computed.
FREE_FIELDS = ("mesh", "train.checkpoint_every", "train.keep_checkpoints", *FILE_FIELDS)  # not: what the files hold

T = TypeVar("T")
SELECTORS = {"task": "task.name", "model": "model.mixer", "objective": "objective.name"}
# Every field of version 0.1, which recorded them all, in use or not.
VERSION_0_1 = tuple(f"{section}{name}" for section, names in {
    "": "seed mesh",
    "data.": "num_test num_train",
    "eval.": "decode_every every num_examples num_samples",
    "model.": "conv_width dt_max dt_min dtype init inject loop_embedding mamba_expand mamba_state mixer mlp_ratio norm num_heads "
              "num_layers num_loops positions qk_norm remat rope_base s5_blocks s5_clip s5_discretization s5_state scan_layers tied_head "
              "token_shift width",
    "objective.": "branch_weight name order",
    "optimizer.": "beta1 beta2 clip_norm learning_rate name schedule ssm_rate_factor warmup_steps weight_decay",
    "task.": "degree digits length name num_nodes target",
    "train.": "batch_size checkpoint_every keep_checkpoints log_every num_steps steps_per_call",
}.items() for name in names.split())
_ALONE = {"seed": (int, 0), "mesh": (str, "auto"), "task.name": (str, "path_star"), "objective.name": (str, "next_token")}


@functools.cache
def _parts() -> dict[tuple[str, str], dict[str, Field]]:
  """(section, what declares it) -> its fields by dotted name. "" declares those that every config has, "files" those of one with files."""
  every = [(s, dataclass) for s, dataclass in (("data", sections.Data), ("model", ModelFields), ("optimizer", sections.Optimizer),
                                               ("train", sections.Train), ("eval", sections.Eval))]
  dotted = lambda section, fields: {f"{section}.{name}": field for name, field in fields.items()}
  found = {("", ""): {name: Field(Kind(kind), default, "pathstar.config") for name, (kind, default) in _ALONE.items()}}
  for section, owner in every:
    found["", ""] |= dotted(section, declared(owner))
  found["files", ""] = dotted("task", declared(Files))
  for name, task in tasks.TASKS.items():
    found["task", name] = dotted("task", declared(task))
  for name, mixer in models.MIXERS.items():
    found["model", name] = dotted("model", declared(mixer, ("trunk", "parent", "name")))
  for name, objective in objectives.OBJECTIVES.items():
    fields = declared(objective, ("task",))
    found["objective", name] = dotted("objective", fields)
    for value in objective.values:
      if value not in fields or fields[value].kind != Kind(float):
        raise UserError(f"objective {name}: values = {value!r}: must be one of its fields of type float")
  for name, module in evals.EVALS.items():
    found["eval", name] = dotted("eval", declared(module.Fields)) if hasattr(module, "Fields") else {}
  for (section, _), fields in found.items():
    if section not in ("", "files") and (reserved := fields.keys() & _ALONE.keys()):
      raise UserError(f"{fields[min(reserved)].place}: the name {min(reserved)} is taken: it says which {section} is chosen")
  return found


@functools.cache
def schema() -> dict[str, Field]:
  """Every field by dotted name. Raises UserError, naming both places, on one that is declared in two ways."""
  found: dict[str, Field] = {}
  for fields in _parts().values():
    for name, field in fields.items():
      other = found.setdefault(name, field)
      if (other.kind, other.default) != (field.kind, field.default):
        said = " and ".join(f"{f.kind} = {f.default!r} by {f.place}" for f in (other, field))
        raise UserError(f"config field {name!r} is declared twice, as {said}")
  return found


def clear() -> None:
  """Forgets what was put together: after something was registered at run time."""
  _parts.cache_clear()
  schema.cache_clear()


def used(flat: Mapping[str, Any], applied: tuple[str, ...]) -> list[str]:
  """Names of the fields in use by the chosen task, mixer, objective and the evaluations `applied`, in the order of `schema`."""
  files = [("files", "")] if any(flat[name] is not None for name in _parts()["files", ""]) else []
  chosen = [("", ""), *files, *((section, flat[name]) for section, name in SELECTORS.items()), *(("eval", name) for name in applied)]
  names = set().union(*(_parts()[part] for part in chosen))
  return [name for name in schema() if name in names]


def own(section: str, name: str) -> dict[str, str]:
  """Last names of the fields that a task, mixer, objective or evaluation declares -> dotted names."""
  return {dotted.partition(".")[2]: dotted for dotted in _parts()[section, name]}


def unused(name: str, value: Any, flat: Mapping[str, Any]) -> UserError:
  """The error that a field is set and nothing uses it."""
  section = name.partition(".")[0]
  owners = [part for (of, part), fields in _parts().items() if of == section and name in fields]
  chosen = f"{SELECTORS[section]} = {flat[SELECTORS[section]]!r}" if section in SELECTORS else "the evaluations of this config"
  return UserError(f"{name} = {shown(value)}: is not used by {chosen}; it is a field of {', '.join(owners)}")


def default() -> ConfigDict:
  """All fields at their defaults, as a ConfigDict that refuses unknown names."""
  nested = {}
  for name, field in schema().items():
    section, _, last = name.rpartition(".")
    (nested.setdefault(section, {}) if section else nested)[last] = field.default
  return ConfigDict(nested, type_safe=False).lock()  # types are checked by `resolve`, which names the field


def flatten(config: Mapping) -> dict[str, Any]:
  """Nested mapping -> {"task.degree": 2, ...}."""
  flat = {}
  for key, value in config.items():
    flat.update({f"{key}.{k}": v for k, v in flatten(value).items()} if isinstance(value, Mapping | ConfigDict) else {key: value})
  return flat


def varied(fields: Sequence[Mapping[str, Any]]) -> list[str]:
  """The names, but for the seed, in whose values (or in having any) some of these differ."""
  names = {name for one in fields for name in one if name != "seed" and name not in FREE_FIELDS}
  return sorted(name for name in names if any(one.get(name) != fields[0].get(name) for one in fields))


def factored(runs: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
  """The fields that all runs have alike, and by name of the run what else it has."""
  first, *others = runs.values()
  shared = {name: value for name, value in first.items() if all(name in one and one[name] == value for one in others)}
  return shared, {run: {name: value for name, value in one.items() if name not in shared} for run, one in runs.items()}


def override(config: ConfigDict, changes: Mapping[str, Any]) -> ConfigDict:
  """A copy of `config` with dotted fields set; strings are read as the field's type. Raises UserError.

  With a part (a mixer, say) that is swapped for another goes what was set for it alone.
  """
  config = ConfigDict(config.to_dict(), type_safe=False)
  for name in flatten(config):
    known(name)  # a section that was overwritten by a value is none any more
  changes = {name: cast_field(name, value) for name, value in changes.items()}
  for name, value in (_left_behind(flatten(config.to_dict()), changes) | changes).items():
    section, _, last = name.rpartition(".")
    (config[section] if section else config)[last] = value
  return config.lock()


def _left_behind(flat: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
  """The defaults of the fields of parts that are swapped out, but for those that the new parts have too."""
  found = {}
  for section, name in SELECTORS.items():
    old, new = (_parts().get((section, chosen[name]), {}) for chosen in (flat, flat | changes))
    found |= {dotted: field.default for dotted, field in old.items() if dotted not in new}
  return found


def cast_field(name: str, value: Any) -> Any:
  """The value as the type of its field. Raises UserError."""
  return cast(name, value, known(name).kind)


def known(name: str) -> Field:
  """The field of a name. Raises UserError, with the nearest name, if there is none."""
  if name not in schema():
    raise UserError(f"unknown config field {shown(name)}{nearest(name, schema())}")
  return schema()[name]


def set_on_purpose(flat: Mapping[str, Any]) -> list[str]:
  """The fields that are not at their defaults."""
  return [name for name, field in schema().items() if flat[name] != field.default]


def selected(items: Sequence[T], words: Sequence[str], fields: Callable[[T], Mapping[str, Any]]) -> list[T]:
  """Those of the items whose fields are among `FIELD=VALUE[,VALUE...]`, several of which must all hold.

  Between values of a field that is a tuple stands a semicolon, since there are commas in it.

  Raises UserError, also on a value that no item has: it would do nothing.
  """
  wanted = {}
  for word in words:
    name, equals, text = word.partition("=")
    known(name)
    if not equals:
      raise UserError(f"--only = {shown(word)}: must be written FIELD=VALUE or FIELD=VALUE,VALUE, as in task.degree=2,5")
    if name in wanted:
      raise UserError(f"--only {name}: is given twice; several values of one field are written {name}=VALUE,VALUE")
    wanted[name] = [cast_field(name, part) for part in text.split("," if known(name).kind.length is None else ";")]
  if not items or not wanted:
    return list(items)
  plain = lambda value: tuple(value) if isinstance(value, list) else value  # as which a tuple is read from JSON
  known_of = [{name: plain(of[name]) for name in wanted if name in of} for of in map(fields, items)]
  for name, values in wanted.items():
    there = dict.fromkeys(str(of[name]) for of in known_of if name in of)
    if not there:
      raise UserError(f"--only {name}: none of the {len(items)} runs uses it")
    for value in values:
      choose(f"--only {name}", str(value), there)
  found = [item for item, of in zip(items, known_of) if all(name in of and of[name] in values for name, values in wanted.items())]
  if not found:
    raise UserError(f"--only {' '.join(words)}: none of the {len(items)} runs is all of this")
  return found


def complete(config: Mapping) -> dict[str, Any]:
  """Every field of a config by dotted name, of its type; defaults where the config has none. Raises UserError."""
  flat = flatten(config)
  for name in flat:
    known(name)
  return {name: cast_field(name, flat.get(name, field.default)) for name, field in schema().items()}
