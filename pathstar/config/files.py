"""Config files: Python with `get_config(arg="")`, which returns a ConfigDict that starts from `default()`, and perhaps `sweep(arg="")`.

`--config=FILE:degree=5,length=7` hands the file what follows the colon. A NAME that is no file is one of the packaged configs:
`quickstart`, `claims/failure`, or `failure` alone.
"""

import contextlib
import importlib.util
import inspect
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from pathstar.config.declare import read
from pathstar.config.registry import default, flatten, override, schema
from pathstar.config.resolve import Config, check_used, resolve
from pathstar.errors import UserError, choose, first_line, nearest, require

_PACKAGE = pathlib.Path(__file__).parent.parent


class Loaded(NamedTuple):
  """What `load` returns: a config, its file as a module, the file's argument, and the names of the fields that were overridden."""

  config: ConfigDict
  module: types.ModuleType
  arg: str
  given: frozenset[str]

  def resolve(self) -> Config:
    """The config by itself, validated. Raises UserError."""
    resolved = resolve(self.config)
    check_used(self.config, self.given, [resolved])
    return resolved

  def sweep(self) -> Any:
    """What should be the cells of its file's grid. Raises UserError if it has none."""
    file = self.module.__file__
    if not callable(getattr(self.module, "sweep", None)):
      raise UserError(f"--config = {file!r}: has no function sweep(arg='')")
    with _blamed(file, pathlib.Path(file)):
      cells = _called(self.module.sweep, self.arg)
      return list(cells) if isinstance(cells, Iterator) else cells


def packaged() -> dict[str, pathlib.Path]:
  """The configs that come with pathstar, by name: those beside the package in a checkout, those inside it elsewhere."""
  inside, beside = _PACKAGE / "configs", _PACKAGE.parent / "configs"
  root = inside if inside.is_dir() else beside if (_PACKAGE.parent / "setup.py").is_file() else inside
  files = sorted(file for file in root.rglob("*.py") if file.stem != "__init__")
  short = {file.stem: file for file in files}
  return short | {file.relative_to(root).with_suffix("").as_posix(): file for file in files}


def find(path: str) -> pathlib.Path:
  """The config file of a path or a name. Raises UserError."""
  file = pathlib.Path(path)
  if file.is_file():
    return file
  names = packaged()
  if path in names:
    return names[path]
  siblings = [str(p) for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
  raise UserError(f"--config = {path!r}: no such file, and no packaged config{nearest(path, [*siblings, *names])}")


def load(spec: str, overrides: Mapping[str, Any] | None = None) -> Loaded:
  """Reads `FILE[:arg]` or `NAME[:arg]` and applies overrides. Raises UserError."""
  path, _, arg = spec.partition(":")
  file = find(path)
  with _blamed(path, file):
    module = _import(path, file)
    if not callable(getattr(module, "get_config", None)):
      raise UserError(f"--config = {path!r}: must define get_config(arg='')")
    if arg and not inspect.signature(module.get_config).parameters:
      raise UserError(f"--config = {spec!r}: {path} takes no argument: its get_config has no parameter")
    config = _called(module.get_config, arg)
    config = config.to_dict() if isinstance(config, ConfigDict) else config  # placeholders that nobody filled in are None
  if not isinstance(config, Mapping):
    raise UserError(f"--config = {path!r}: get_config returned {type(config).__name__}: must be a config, as default() gives it")
  overrides = overrides or {}
  return Loaded(override(override(default(), flatten(config)), overrides), module, arg, frozenset(overrides))


def _called(function, arg: str):
  """A function of a config file, which may leave out the parameter or its default, with the file's argument."""
  return function(arg) if inspect.signature(function).parameters else function()


@contextlib.contextmanager
def _blamed(path: str, file: pathlib.Path) -> Iterator[None]:
  """What goes wrong in a config file becomes a UserError that names its line."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    # What ConfigDict raises when a file sets or reads an unknown field.
    unknown = re.search(r'Key "(\w+)" does not exist|(\w+)\W+nDid you mean', str(error))
    if unknown and isinstance(error, AttributeError | KeyError):
      name, names = unknown[1] or unknown[2], {part for field in schema() for part in field.split(".")}
      raise UserError(f"--config = {path!r}: unknown config field {name!r}{nearest(name, sorted(names))}") from error
    frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if pathlib.Path(frame.filename) == file.absolute()]
    line = error.lineno if isinstance(error, SyntaxError) and not frames else frames[-1] if frames else None
    raise UserError(f"--config = {path!r}: {f'line {line}: ' if line else ''}{first_line(error)}") from error


def _import(path: str, file: pathlib.Path) -> types.ModuleType:
  """The file as a module, which may import its neighbours."""
  module_spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file.absolute())
  if module_spec is None:
    raise UserError(f"--config = {path!r}: must be a Python file")
  module = sys.modules[module_spec.name] = importlib.util.module_from_spec(module_spec)  # where dataclasses look for it
  sys.path.insert(0, str(file.parent.absolute()))
  try:
    module_spec.loader.exec_module(module)
  finally:
    sys.path.remove(str(file.parent.absolute()))
  return module


def arguments(arg: str, **defaults) -> types.SimpleNamespace:
  """Reads a config file's `degree=5,length=7` into a namespace; each default gives its name and type. Raises UserError."""
  values, given = dict(defaults), set()
  for part in filter(None, arg.split(",")):
    name, _, text = part.partition("=")
    choose("file argument", name, defaults)
    require(text != "", "file argument", part, f"written {name}=VALUE")
    if name in given:
      raise UserError(f"file argument {name}: is given twice")
    given.add(name)
    values[name] = read(f"file argument {name}", text, type(defaults[name]))
  return types.SimpleNamespace(**values)
