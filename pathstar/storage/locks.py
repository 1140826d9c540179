"""Who holds a folder: a lock that the kernel frees however its holder ends, or on a bucket a lease that then expires (leases.py)."""

import contextlib
import errno
import fcntl
import functools
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from pathstar.errors import Held, UserError, say
from pathstar.storage import leases, workdir

_LOCK, _MOMENT_S, _MOMENTS = ".lock", 0.03, 4


@contextlib.contextmanager
def lock(folder: pathlib.Path, wait: bool = False) -> Iterator[None]:
  """Holds the folder for the life of the process. `wait`: until it is free.

  Where a local file system has no locks it says so once and holds nothing.

  Raises:
    Held: another process holds it; the message says which.
  """
  if workdir.is_remote(folder):
    with leases.hold(folder, _me(), wait):
      yield
    return
  with open(folder / _LOCK, "a+", opener=_no_link) as file:
    try:
      taken = _take(file, wait)
    except OSError as error:
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        raise
      _no_locks(error.strerror)
      taken = True
    if not taken:
      file.seek(0)
      raise Held(f"workdir = {str(folder)!r}: in use by {file.read().strip() or 'another process'}")
    file.truncate(0)
    file.write(f"{_me()}\n")
    file.flush()
    yield


def _take(file, wait: bool) -> bool:
  for _ in range(_MOMENTS):  # who asks for the holder has it for a moment
    try:
      fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
      return True
    except BlockingIOError:
      time.sleep(_MOMENT_S)
  return False


def _no_link(path: str, flags: int) -> int:
  """Opens a file, but none that a link leads to: what is there would be overwritten."""
  try:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
  except OSError as error:
    if error.errno == errno.ELOOP:
      raise UserError(f"{path}: is a link; links are not followed out of a folder") from None
    raise


def holder(folder: pathlib.Path) -> str | None:
  """Who holds the folder's lock, or None."""
  if workdir.is_remote(folder):
    return leases.holder(folder)
  try:
    with open(folder / _LOCK) as file:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except BlockingIOError:
    return (folder / _LOCK).read_text().strip() or "another process"
  except OSError:  # never held, or no locks here
    return None
  return None


def lease(folder: pathlib.Path) -> float:
  """Seconds after which a dead holder's folder is free."""
  return leases.LEASE_S if workdir.is_remote(folder) else 0.0


def _me() -> str:
  return f"process {os.getpid()} on {socket.gethostname()}"


@functools.cache
def _no_locks(reason: str) -> None:
  say(f"no locks on this file system ({reason}): run several processes on one folder with --shard=i/n alone")
