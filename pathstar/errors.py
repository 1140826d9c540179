"""Errors that a user can cause: one line that names the field, the value, what is allowed, and the nearest right thing."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
  """Bad input. Commands print its message as one line, without a traceback, and exit with status 2."""


class Held(UserError):
  """Another process holds the folder."""


class Stopped(Exception):
  """SIGTERM or SIGINT came: a checkpoint is saved and the same command resumes. Commands exit with status 75."""


def require(ok: bool, field: str, value: object, allowed: str) -> None:
  """Raises UserError `field = value: must be allowed` unless `ok`."""
  if not ok:
    raise UserError(f"{field} = {value!r}: must be {allowed}")


def choose(field: str, value: str, options: Iterable[str]) -> None:
  """Raises UserError, with the nearest option named, unless `value` is one of `options`."""
  options = list(options)
  if value not in options:
    raise UserError(f"{field} = {value!r}: must be one of {', '.join(options)}{nearest(value, options)}")


def nearest(word: str, options: Iterable[str]) -> str:
  """`"; did you mean X?"` for the option closest in spelling to `word`, or an empty string."""
  close = difflib.get_close_matches(str(word), list(options), n=1, cutoff=0.5)
  return f"; did you mean {close[0]!r}?" if close else ""
