"""Who holds a folder on a bucket, where there are no locks: an object that is created only if absent (on Google Cloud by the precondition
generation 0), and renewed for as long as its holder lives. A lease that is not renewed expires, and the folder is free.

Leases are numbered: the highest one counts, and when it has expired or was given back, the next number is free for the one process that
creates it. So none has to delete what may be another's by now. Clocks of the machines may differ by much less than LEASE_S.
"""

import contextlib
import json
import os
import pathlib
import threading
import time
from collections.abc import Iterator

import fsspec

from pathstar.errors import EXIT_STOPPED, Held, UserError, first_line, say

LEASE_S = 90.0  # after a holder's death its leases expire within this time
_MOMENT_S, _MOMENTS = 0.03, 10
_FOLDER = ".claims"  # as the first version called them

_mine: dict[str, "_Lease"] = {}  # by place: what this process holds
_renewing = threading.Lock()
_idle = threading.Event()  # ends the thread that renews; each has its own


class _Lease:
  """A lease of this process."""

  def __init__(self, fs: fsspec.AbstractFileSystem, place: str, number: int, by: str):
    self.fs, self.place, self.number, self._by, self.until = fs, place, number, by, 0.0

  def write(self, seconds: float, create: bool = False) -> None:
    """Writes that it lasts so many seconds from now. Raises FileExistsError if it is there and `create`."""
    until, file = time.time() + seconds, f"{self.place}/{self.number}"
    content = json.dumps({"by": self._by, "until": until}).encode()
    if create and "file" in self.fs.protocol:  # on a disk pipe_file looks first and then writes, and so may two
      with self.fs.open(file, "xb") as new:
        new.write(content)
    else:
      self.fs.pipe_file(file, content, mode="create" if create else "overwrite")
    self.until = until


@contextlib.contextmanager
def hold(folder: pathlib.Path, by: str, wait: bool) -> Iterator[None]:
  """Holds the folder. `wait`: until it is free.

  Raises:
    Held: another process holds it; the message says which.
  """
  fs, place = _on_bucket(folder)
  while not (taken := _take(fs, place, by)):
    _, held_by = _newest(fs, place)
    if held_by and not wait:
      raise Held(f"workdir = {str(folder)!r}: in use by {held_by}")
    time.sleep(min(1.0, LEASE_S / 10))
  global _idle
  with _renewing:
    if not _mine:
      _idle = threading.Event()
      threading.Thread(target=_renew, args=(LEASE_S / 3, _idle), daemon=True).start()
    _mine[place] = taken
  try:
    yield
  finally:
    with _renewing:
      del _mine[place]
      if not _mine:
        _idle.set()
      taken.write(-1.0)  # given back


def holder(folder: pathlib.Path) -> str | None:
  """Who holds the folder, or None."""
  return _newest(*_on_bucket(folder))[1]


def _on_bucket(folder: pathlib.Path) -> tuple[fsspec.AbstractFileSystem, str]:
  fs, path = fsspec.url_to_fs(str(folder), use_listings_cache=False)
  return fs, f"{path}/{_FOLDER}"


def _newest(fs: fsspec.AbstractFileSystem, place: str) -> tuple[int, str | None]:
  """The lease that counts: its number (-1: there is none), and its holder (None: nobody any more). Raises UserError if it is damaged."""
  numbers = _numbers(fs, place)
  if not numbers:
    return -1, None
  newest, wrong = f"{place}/{numbers[-1]}", ""
  for _ in range(_MOMENTS):
    try:
      found = json.loads(fs.cat_file(newest))
      return numbers[-1], str(found["by"]) if found["until"] > time.time() else None
    except FileNotFoundError:  # followed by another meanwhile, whose maker has tidied up
      return numbers[-1], "another process"
    except (ValueError, KeyError, TypeError) as error:  # what is no bucket may show it before it is whole
      wrong = first_line(error)
      time.sleep(_MOMENT_S)
  raise UserError(f"{newest}: says not who holds the folder, nor until when ({wrong}); it is damaged: remove it when no process is at work "
                  "there")


def _numbers(fs: fsspec.AbstractFileSystem, place: str) -> list[int]:
  try:
    names = [name.rpartition("/")[2] for name in fs.ls(place, detail=False)]
  except FileNotFoundError:
    return []
  return sorted(int(name) for name in names if name.isdecimal())  # others are not ours


def _take(fs: fsspec.AbstractFileSystem, place: str, by: str) -> _Lease | None:
  """The next lease if the folder is free and no other process is faster; else None."""
  number, held_by = _newest(fs, place)
  if held_by:
    return None
  mine = _Lease(fs, place, number + 1, by)
  if number < 0:
    fs.makedirs(place, exist_ok=True)  # on a bucket nothing
  try:
    mine.write(LEASE_S, create=True)
  except FileExistsError:
    return None
  numbers = _numbers(fs, place)
  for older in numbers:
    if older < mine.number:
      with contextlib.suppress(FileNotFoundError):
        fs.rm_file(f"{place}/{older}")
  return mine if numbers[-1] == mine.number else None  # else others were here and gone since it was looked at


def _renew(every: float, idle: threading.Event) -> None:
  """In a thread, until this process holds none: keeps its leases, or ends it where it could not and another may hold them."""
  while not idle.wait(every):
    with _renewing:
      if idle.is_set():
        return
      for one in _mine.values():
        try:
          lost = _numbers(one.fs, one.place)[-1:] != [one.number]
          if not lost:
            one.write(LEASE_S)
        except Exception as error:  # of the network, of any kind; tried again until the lease has run out
          say(f"the lease of {one.place} can't be renewed ({first_line(error)})")
          lost = time.time() > one.until
        if lost:
          say(f"stopped: the lease of {one.place} may be another's by now; the same command goes on")
          os._exit(EXIT_STOPPED)
