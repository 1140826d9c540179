"""A run's folder: what config it was started with, and files that are whole or absent.

A folder may be remote (`gs://bucket/...`), read and written through etils.epath. What grows line by line is then written to a local
folder and copied at every flush, since an object store can't append.
"""

import itertools
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping

from etils import epath

from pathstar.errors import UserError, first_line

CONFIG, ENVIRONMENT, RESULT, METRICS = "config.json", "environment.json", "result.json", "metrics.jsonl"


def is_remote(folder: str | os.PathLike) -> bool:
  return "://" in str(folder)


def free_name(wanted: pathlib.Path) -> pathlib.Path:
  """This path, or the first of `<name>.2`, `<name>.3`, ... that nothing has."""
  names = itertools.chain([wanted.name], (f"{wanted.name}.{number}" for number in itertools.count(2)))
  return next(file for file in map(wanted.with_name, names) if not file.exists())


def path(folder: str | os.PathLike) -> pathlib.Path:
  """The path of a folder, which may be remote. Raises UserError on a scheme that nothing here knows."""
  if not is_remote(folder):
    return pathlib.Path(folder).expanduser()
  try:
    return epath.Path(folder)
  except KeyError as error:
    raise UserError(f"workdir = {str(folder)!r}: must be a local folder or one of a known scheme, as gs://BUCKET/FOLDER; {error.args[0]} "
                    "is none") from None


def reach(folder: str | os.PathLike) -> pathlib.Path:
  """`path`, of a folder that can be asked for what is in it; it need not be there. Raises UserError if it can't."""
  place = path(folder)
  try:
    place.exists()
  except ImportError as error:
    raise UserError(f"workdir = {str(folder)!r}: needs a package that is not installed ({error})") from None
  except Exception as error:  # whatever the client of an object store raises, without network or credentials
    if not is_remote(folder) and not isinstance(error, OSError | ValueError):
      raise
    raise UserError(f"workdir = {str(folder)!r}: can't be reached ({first_line(error)})") from None
  return place


def absolute(folder: str | os.PathLike) -> pathlib.Path:
  """The folder wherever the process may go; a remote one is that already, and pathlib would make a local path of it."""
  return path(folder) if is_remote(folder) else path(folder).absolute()


def require_inside(root: str | os.PathLike, place: pathlib.Path) -> None:
  """Raises UserError if a link leads from a place in the folder `root` out of it: nothing is written, or taken for ours, there."""
  inside, real = os.path.realpath(root), os.path.realpath(place)
  if os.path.commonpath([inside, real]) != inside:
    raise UserError(f"{place}: is a link out of {root}, to {real}; links are not followed out of a folder")


def make(folder: str | os.PathLike, field: str = "workdir") -> pathlib.Path:
  """The folder, made if absent. Raises UserError if it can't be written to."""
  made = path(folder) if not is_remote(folder) else reach(folder)
  try:
    made.mkdir(parents=True, exist_ok=True)
  except (OSError, ValueError) as error:  # ValueError: a name that no file can have
    raise UserError(f"{field} = {str(folder)!r}: can't be made ({getattr(error, 'strerror', None) or error})") from None
  if not is_remote(folder) and not os.access(made, os.W_OK):
    raise UserError(f"{field} = {str(folder)!r}: not writable")
  return made


def staging(folder: pathlib.Path) -> pathlib.Path:
  """Where files that grow are written: the folder itself, or a local one for a remote folder."""
  return pathlib.Path(tempfile.mkdtemp(prefix="pathstar-")) if is_remote(folder) else folder


def publish(local: pathlib.Path, folder: pathlib.Path) -> None:
  """Copies what stands in `local` (see `staging`) to the folder."""
  if local != folder:
    for file in local.iterdir():
      (folder / file.name).write_bytes(file.read_bytes())


def claim(folder: pathlib.Path, fields: Mapping, about: Callable[[], Mapping], changed: Callable[[Mapping], list[str]]) -> None:
  """Records a new run's config and environment, or checks that the folder's run is this one.

  Args:
    folder: the run's folder.
    fields: what is recorded as its config.
    about: gives what is recorded as its environment.
    changed: what was recorded -> what is said of each field that matters and differs.

  Raises:
    UserError: the folder belongs to something else, or to a run whose config differs in a field that matters.
  """
  file = folder / CONFIG
  if not file.exists():
    refuse_foreign(folder, CONFIG, "a run's", (ENVIRONMENT,))
    write_json(folder / ENVIRONMENT, about())
    write_json(file, dict(fields))
    return
  if said := changed(read_json(file)):
    raise UserError(f"workdir = {str(folder)!r}: holds a run with another config ({'; '.join(said)}); choose another workdir")


def refuse_foreign(folder: pathlib.Path, ours: str, whose: str, leave_out: tuple[str, ...] = (), field: str = "workdir") -> None:
  """Raises UserError if the folder has no file `ours` and yet something in it: it is not ours, and is left as it is.

  `leave_out`: beginnings of the names of what a start that died leaves before `ours` is written.
  """
  if folder.is_dir() and not (folder / ours).exists():
    if foreign := sorted(p.name for p in folder.iterdir() if not p.name.startswith((".", *leave_out))):
      raise UserError(f"{field} = {str(folder)!r}: not empty and not {whose} folder (it holds {foreign[0]!r})")


def require_writable(file: pathlib.Path, field: str) -> None:
  """Raises UserError if no JSON file can be written there, or what is there is none: before work whose result would be lost."""
  folder = file.absolute().parent
  if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
    raise UserError(f"{field} = {str(file)!r}: must be a file in a folder that is there and can be written to")
  if file.is_file() and file.stat().st_size:
    try:
      parse_json(file.read_bytes())
    except (ValueError, RecursionError):
      raise UserError(f"{field} = {str(file)!r}: is a file that holds no JSON, and is not overwritten") from None


def read_json(file: pathlib.Path) -> dict:
  """A JSON object. Raises UserError, which says what is wrong with the file, if it holds none."""
  try:
    value = parse_json(file.read_bytes())
  except (OSError, ValueError, RecursionError) as error:
    raise UserError(f"{file}: can't be read as JSON ({first_line(error)}); it is damaged or was cut short") from None
  if not isinstance(value, dict):
    raise UserError(f"{file}: holds no JSON object; it is damaged or not ours")
  return value


def parse_json(content: bytes):
  """A JSON value. Raises ValueError, on numbers that are not finite too, or RecursionError."""
  def refuse(name: str):
    raise ValueError(f"{name} is no number")

  return json.loads(content.decode(), parse_constant=refuse)


def write_json(file: pathlib.Path, value) -> None:
  """Writes the file whole or not at all."""
  write_text(file, json.dumps(value, indent=2) + "\n")


def write_text(file: pathlib.Path, text: str) -> None:
  """Writes the file whole or not at all."""
  if is_remote(file):  # an object appears when it is complete
    file.write_text(text)
  else:
    write_bytes(file, text.encode())


def write_bytes(file: pathlib.Path, content: bytes) -> None:
  """As `write_text`, of a local file."""
  temporary = file.with_name(f".{file.name}.{os.getpid()}")
  with open(temporary, "wb") as out:
    out.write(content)
    out.flush()
    os.fsync(out.fileno())
  os.replace(temporary, file)
