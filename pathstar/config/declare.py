"""What a config field may be: int, float, bool or str, each also None-able, or a tuple of one of them; always with a default.

A field is declared once, beside the code that uses it, as a field of a dataclass or of a Linen module.
"""

import dataclasses
import inspect
import math
import sys
import types
import typing
from collections.abc import Iterable
from typing import Any

import numpy as np

from pathstar.errors import UserError, require, shown

_INT_END = 2**31  # the devices count in int32, and compute in float32
_TINY, _HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_SCALARS = (int, float, bool, str)


@dataclasses.dataclass(frozen=True)
class Kind:
  """Type of a field: a scalar, or (`length` is not None; -1 for any) a tuple of it; `optional`: or None."""

  scalar: type
  optional: bool = False
  length: int | None = None

  def __str__(self) -> str:
    if self.length is None:
      return self.scalar.__name__
    size = "" if self.length < 0 else f"{self.length} "
    return f"tuple of {size}{self.scalar.__name__}, written with commas between"


@dataclasses.dataclass(frozen=True)
class Field:
  """A declared field. `place` says where, for errors."""

  kind: Kind
  default: Any
  place: str


def declared(owner: type, leave_out: Iterable[str] = ()) -> dict[str, Field]:
  """The fields that a class declares, by name. Raises UserError on one that can't be a config field."""
  if not dataclasses.is_dataclass(owner) or "__dataclass_fields__" not in vars(owner) and inspect.get_annotations(owner):
    raise UserError(f"{owner.__name__} ({owner.__module__}): must have @dataclasses.dataclass(frozen=True) above it")
  found = {}
  for field in dataclasses.fields(owner):
    if field.name not in leave_out:
      place = f"{owner.__name__}.{field.name} ({owner.__module__})"
      if field.default is dataclasses.MISSING:
        raise UserError(f"{place}: a config field needs a default, which is no list and no other mutable value")
      kind = _kind(_annotation(owner, field), place)
      found[field.name] = Field(kind, cast(place, field.default, kind), place)
  return found


def _annotation(owner: type, field: dataclasses.Field):
  """The field's type; under postponed annotations it is text, which means what it does in the module that declares it."""
  if not isinstance(field.type, str):
    return field.type
  by = next(c for c in owner.__mro__ if field.name in c.__dict__.get("__annotations__", {}))
  return eval(field.type, dict(vars(sys.modules[by.__module__])), {})


def _kind(annotation, place: str) -> Kind:
  wrong = UserError(f"{place}: a config field of type {annotation} can't be; it may be int, float, bool or str, each also None-able, "
                    "or a tuple of one of them")
  options = [annotation]
  if typing.get_origin(annotation) in (typing.Union, types.UnionType):
    options = [option for option in typing.get_args(annotation) if option is not type(None)]
  optional = type(None) in typing.get_args(annotation)
  if len(options) != 1:
    raise wrong
  [one], length = options, None
  if typing.get_origin(one) is tuple:
    parts = typing.get_args(one)
    length = -1 if ... in parts else len(parts)
    kinds = set(parts) - {...}
    if len(kinds) != 1:
      raise wrong
    [one] = kinds
  if one not in _SCALARS:
    raise wrong
  return Kind(one, optional, length)


def cast(name: str, value: Any, kind: Kind) -> Any:
  """The value as its field's type; text from a command line is parsed, a number never changes value. Raises UserError."""
  if value is None or (isinstance(value, str) and value == "None"):
    if not kind.optional:
      raise _wrong(name, value, kind)
    return None
  if kind.length is None:
    return read(name, value, kind.scalar)
  parts = value
  if isinstance(value, str):
    parts = [part.strip(" '\"") for part in value.strip("()[] ").split(",") if part.strip()]
  if not isinstance(parts, (list, tuple)) or kind.length not in (-1, len(parts)):
    raise _wrong(name, value, kind)
  return tuple(read(name, part, kind.scalar) for part in parts)


def read(name: str, value: Any, scalar: type) -> Any:
  """`cast` to a scalar. A number must be one that the devices can hold: integers as int32, others as float32, neither infinite nor 0."""
  try:
    if scalar is bool:
      result = {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
    elif scalar is int and isinstance(value, str):
      result = int(value.replace("_", ""))
    elif scalar is str or (scalar is float and not isinstance(value, bool)):
      result = scalar(value)
    else:  # a number that is already one: 3.0 is an int, 3.5 and True are not
      result = scalar(value) if not isinstance(value, bool) and scalar(value) == value else None
  except (KeyError, ValueError, TypeError, OverflowError):
    result = None
  if result is None or (scalar is float and not math.isfinite(result)):
    raise _wrong(name, value, scalar.__name__)
  if scalar is int:
    require(-_INT_END <= result < _INT_END, name, result, "an integer that int32 can hold: from -2^31 to 2^31 - 1")
  if scalar is float:
    require(result == 0 or _TINY <= abs(result) <= _HUGE, name, value,
            f"a number that float32 can hold: 0, or between {_TINY:.2g} and {_HUGE:.2g} in size")
  return result


def _wrong(name: str, value: Any, kind) -> UserError:
  return UserError(f"{name} = {shown(value)}: must be of type {kind}")
