"""A run's folder: who holds it, what config it was started with, and files that are whole or absent.

A folder may be remote (`gs://bucket/...`), read and written through etils.epath. What grows line by line is then written to a local
folder and copied at every flush, since an object store can't append.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata

import jax
from etils import epath

from pathstar.config import FREE_FIELDS
from pathstar.errors import UserError

CONFIG, ENVIRONMENT, RESULT, METRICS = "config.json", "environment.json", "result.json", "metrics.jsonl"
_LOCK = ".lock"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "ml-collections", "tensorboard", "numpy")


def is_remote(folder: str | os.PathLike) -> bool:
  return "://" in str(folder)


def path(folder: str | os.PathLike) -> pathlib.Path:
  """The path of a folder, which may be remote."""
  return epath.Path(folder) if is_remote(folder) else pathlib.Path(folder)


def absolute(folder: str | os.PathLike) -> pathlib.Path:
  """The folder wherever the process may go; a remote one is that already, and pathlib would make a local path of it."""
  return path(folder) if is_remote(folder) else pathlib.Path(folder).absolute()


def make(folder: str | os.PathLike) -> pathlib.Path:
  """The folder, made if absent. Raises UserError if it can't be written to."""
  made = path(folder)
  try:
    made.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f"workdir = {str(folder)!r}: can't be made ({error.strerror})") from None
  except ImportError as error:
    raise UserError(f"workdir = {str(folder)!r}: needs a package that is not installed ({error})") from None
  if not is_remote(folder) and not os.access(made, os.W_OK):
    raise UserError(f"workdir = {str(folder)!r}: not writable")
  return made


def staging(folder: pathlib.Path) -> pathlib.Path:
  """Where files that grow are written: the folder itself, or a local one for a remote folder."""
  return pathlib.Path(tempfile.mkdtemp(prefix="pathstar-")) if is_remote(folder) else folder


def publish(local: pathlib.Path, folder: pathlib.Path) -> None:
  """Copies what stands in `local` (see `staging`) to the folder."""
  if local != folder:
    for file in local.iterdir():
      (folder / file.name).write_bytes(file.read_bytes())


class Held(UserError):
  """Another process holds the folder."""


@contextlib.contextmanager
def lock(folder: pathlib.Path, wait: bool = False) -> Iterator[None]:
  """Holds the folder for the life of the process: the kernel frees it however the holder ends. `wait`: until it is free.

  Where the file system has no locks, as in a remote folder, it says so once and holds nothing.

  Raises:
    Held: another process holds it; the message says which.
  """
  if is_remote(folder):
    _no_locks("a remote folder")
    yield
    return
  with open(folder / _LOCK, "a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
      file.seek(0)
      raise Held(f"workdir = {str(folder)!r}: in use by {file.read().strip() or 'another process'}") from None
    except OSError as error:
      if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
        raise
      _no_locks(error.strerror)
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    yield


def holder(folder: pathlib.Path) -> str | None:
  """Who holds the folder's lock, or None."""
  try:
    with open(folder / _LOCK) as file:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except BlockingIOError:
    return (folder / _LOCK).read_text().strip() or "another process"
  except OSError:  # never held, or no locks here
    return None
  return None


@functools.cache
def _no_locks(reason: str) -> None:
  print(f"no locks on this file system ({reason}): run several processes on one folder with --shard=i/n alone", file=sys.stderr)


def claim(folder: pathlib.Path, fields: dict) -> None:
  """Records a new run's config and environment, or checks that the folder's run is this one.

  Raises:
    UserError: the folder belongs to something else, or to a run whose config differs in a field that matters.
  """
  file = folder / CONFIG
  if not file.exists():
    # A start that died right here left its environment.
    foreign = [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != ENVIRONMENT]
    if foreign:
      raise UserError(f"workdir = {str(folder)!r}: not empty and not a run's folder (it holds {sorted(foreign)[0]!r})")
    write_json(folder / ENVIRONMENT, environment())
    write_json(file, dict(fields))
    return
  old = json.loads(file.read_text())
  changed = [f"{name}: {old.get(name)!r} there, {fields.get(name)!r} now"
             for name in sorted(old.keys() | fields.keys()) if name not in FREE_FIELDS and old.get(name) != fields.get(name)]
  if changed:
    raise UserError(f"workdir = {str(folder)!r}: holds a run with another config ({'; '.join(changed)}); choose another workdir")


def write_json(file: pathlib.Path, value) -> None:
  """Writes the file whole or not at all."""
  write_text(file, json.dumps(value, indent=2) + "\n")


def write_text(file: pathlib.Path, text: str) -> None:
  """Writes the file whole or not at all."""
  if is_remote(file):  # an object appears when it is complete
    file.write_text(text)
    return
  temporary = file.with_name(f".{file.name}.{os.getpid()}")
  with open(temporary, "w") as out:
    out.write(text)
    out.flush()
    os.fsync(out.fileno())
  os.replace(temporary, file)


def environment() -> dict:
  """What a result depends on besides its config: versions, devices and the commit of the code."""
  return {
      "python": platform.python_version(),
      **{name: metadata.version(name) for name in _PACKAGES},
      "cpu": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
      "devices": [f"{d.platform}:{d.device_kind}" for d in jax.devices()],
      "processes": jax.process_count(),
      "commit": commit(),
      "command": " ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]),
  }


def commit() -> str:
  """The git commit of this source tree, `+` if changed since, or "unknown" outside a checkout."""
  git = ["git", "-C", str(pathlib.Path(__file__).parent)]
  try:
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "-uno", "--", "."], capture_output=True, text=True, check=True).stdout
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return head + ("+" if changed else "")
