"""Errors that a user can cause: one line that names the field, the value, what is allowed, and the nearest right thing."""

import difflib
import errno
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

EXIT_STOPPED = 75  # EX_TEMPFAIL: the status of a process that a signal stopped, and that the same command takes up again
_OUTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_MAX_SHOWN = 100  # characters of a value in an error
_MAX_LISTED = 20  # errors that are listed below each other


class UserError(ValueError):
  """Bad input. Commands print its message as one line, without a traceback, and exit with status 2."""


class Held(UserError):
  """Another process holds the folder."""


class Outage(UserError):
  """The machine can't go on, as with a full disk or a folder that was removed: no run is to blame; later the same command goes on."""


class Stopped(Exception):
  """SIGTERM or SIGINT came: a checkpoint is saved and the same command resumes. Commands exit with status 75."""


def say(line: str, file: TextIO | None = None) -> None:
  """Prints a line, on stderr if `file` does not say another. A reader that is gone, as of `| head`, is no reason to stop training."""
  try:
    print(line, file=file or sys.stderr, flush=True)
  except BrokenPipeError:
    return


def shown(value: object) -> str:
  """A value in an error: its `repr`, on one line and of bounded length."""
  try:
    text = " ".join(repr(value).split())
  except ValueError:  # an integer of thousands of digits
    text = f"a very large {type(value).__name__}"
  return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN - 20]}...{text[-10:]}"


def first_line(error: BaseException) -> str:
  """What kind of error it is and the first line of what it says, in bounded length."""
  line = next(iter(str(error).splitlines()), "")
  return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__


def outage(error: BaseException | None) -> str | None:
  """What an error, or what it came from, says of a machine that can't go on: a full or read-only disk. None: it is of another kind."""
  while error is not None:
    for number in _OUTAGES:
      if (isinstance(error, OSError) and error.errno == number) or os.strerror(number) in str(error):
        return os.strerror(number).lower()
    error = error.__cause__ or error.__context__
  return None


def out_of_memory(error: BaseException) -> bool:
  """Whether a device or the host has no room for what was asked of it."""
  return isinstance(error, MemoryError) or (type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" in str(error))


def require(ok: bool, field: str, value: object, allowed: str) -> None:
  """Raises UserError `field = value: must be allowed` unless `ok`."""
  if not ok:
    raise UserError(f"{field} = {shown(value)}: must be {allowed}")


def choose(field: str, value: str, options: Iterable[str]) -> None:
  """Raises UserError, with the nearest option named, unless `value` is one of `options`."""
  options = list(options)
  if value not in options:
    raise UserError(f"{field} = {shown(value)}: must be one of {', '.join(options)}{nearest(value, options)}")


def nearest(word: str, options: Iterable[str]) -> str:
  """`"; did you mean X?"` for the option that `word` abbreviates (as `lr`) or is closest to in spelling, or an empty string."""
  options, last = list(options), lambda name: name.rpartition(".")[2]
  short = [option for option in options if "_" in last(option) and last(str(word)) == "".join(part[0] for part in last(option).split("_"))]
  close = short[:1] or difflib.get_close_matches(str(word)[:_MAX_SHOWN], options, n=1, cutoff=0.5)
  return f"; did you mean {close[0]!r}?" if close else ""


def listed(lines: Sequence[str]) -> str:
  """Several errors below each other, on no more than a screen."""
  more = len(lines) - _MAX_LISTED
  return "\n  ".join([*lines[:_MAX_LISTED], *([f"... and {more} more"] if more > 0 else [])])
