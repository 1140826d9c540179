"""Examples from files in a task's own format in place of drawn ones: example i of a split is line i of its file, for every seed.

What counts is what is in a file. Its content, told by its name and a digest, is part of what a run is, wherever the file lies.
"""

import codecs
import dataclasses
import functools
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from pathstar.errors import UserError, first_line, require, shown
from pathstar.storage import workdir

FILE_FIELDS = ("task.train_file", "task.test_file")  # that name a file; a relative one is of where the process is
_DIGITS = 16  # of a SHA-256, in hexadecimal


@dataclasses.dataclass(frozen=True)
class Files:
  """Task fields of a config that names files, for any task. Either both files are given or none."""

  train_file: str | None = None  # training examples in the task's file format, one a line; None: they are drawn
  test_file: str | None = None  # those of the test split, which shares no problem with train_file
  train_content: str | None = None  # name and digest of train_file, which are recorded; None: whatever it holds now
  test_content: str | None = None  # of test_file likewise

  def __post_init__(self):
    for one, other in (("train_file", "test_file"), ("test_file", "train_file"), ("train_content", "train_file"),
                       ("test_content", "test_file")):
      if getattr(self, one) is not None and getattr(self, other) is None:
        raise UserError(f"task.{one} = {shown(getattr(self, one))}: needs task.{other} too, which is not given")

  def checked(self, task: Any) -> "Files":
    """These files with their content. Raises UserError where one can't be read, doesn't fit the task, or isn't what it is said to be."""
    if not hasattr(task, "problems"):
      raise UserError(f"task.train_file = {shown(self.train_file)}: {task} can't be read from files: it does not say which examples are of "
                      "one problem (problems)")
    for name, value in getattr(task, "drawn_alone", {}).items():
      raise UserError(f"task.{name} = {shown(value)}: must be left out with task.train_file; examples from files have none")
    found = {}
    for split in ("train", "test"):
      file, said = getattr(self, f"{split}_file"), getattr(self, f"{split}_content")
      found[f"{split}_content"] = now = _content(file, f"task.{split}_file")
      require(said in (None, now), f"task.{split}_content", said, f"{now!r}, by what {file} holds now")
    made = dataclasses.replace(self, **found)
    _check_apart(task, made)
    return made

  def number(self, task: Any, split: str) -> int:
    """How many examples a split has."""
    return len(self._read(task, split)["target"])

  def examples(self, task: Any, split: str, index_B) -> dict[str, np.ndarray]:
    """As the task's own: the lines `index_B`, counted from 0 and without blank ones. Raises UserError where there is no such line."""
    index_B, number = np.asarray(index_B, np.int64), self.number(task, split)
    if index_B.size and index_B.max() >= number:
      raise UserError(f"task.{split}_file = {getattr(self, f'{split}_file')!r}: has {number} examples; {index_B.max() + 1} are asked for")
    return {name: x[index_B] for name, x in self._read(task, split).items()}

  def _read(self, task: Any, split: str) -> dict[str, np.ndarray]:
    return _examples(task, getattr(self, f"{split}_file"), getattr(self, f"{split}_content"), f"task.{split}_file")


def read(task: Any, file: str, field: str) -> dict[str, np.ndarray]:
  """All examples of a file. Raises UserError with the file, and the line that is wrong; `field` says what named the file."""
  return _parsed(task, file, _bytes(file, field))


def _bytes(file: str, field: str) -> bytes:
  try:
    return _path(file).read_bytes()
  except (OSError, ValueError, ImportError) as error:  # ValueError: a name that no file can have
    raise UserError(f"{field} = {shown(file)}: can't be read ({first_line(error)})") from None


def _path(file: str) -> pathlib.Path:
  return workdir.path(os.path.expanduser(file))


def _parsed(task: Any, file: str, content: bytes) -> dict[str, np.ndarray]:
  content = content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
  try:
    return task.from_text(_text(number, line) for number, line in enumerate(content.split(b"\n"), 1))
  except UserError as error:
    raise UserError(f"{file}: {error}") from None


def _text(number: int, line: bytes) -> str:
  try:
    return line.decode()
  except UnicodeDecodeError as error:
    raise UserError(f"line {number}: is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x})") from None


def _named(file: str, content: bytes) -> str:
  return f"{_path(file).name}:{hashlib.sha256(content).hexdigest()[:_DIGITS]}"


def _content(file: str, field: str) -> str:
  try:
    about = _path(file).stat()
    stamp = (about.st_mtime_ns, about.st_size) if hasattr(about, "st_mtime_ns") else about.mtime
  except (OSError, ValueError, ImportError) as error:
    raise UserError(f"{field} = {shown(file)}: can't be read ({first_line(error)})") from None
  return _content_at(file, stamp, field)


@functools.lru_cache(16)  # a sweep asks once a cell
def _content_at(file: str, stamp, field: str) -> str:
  return _named(file, _bytes(file, field))


@functools.lru_cache(8)
def _examples(task: Any, file: str, content: str, field: str) -> dict[str, np.ndarray]:
  found = _bytes(file, field)
  if (now := _named(file, found)) != content:
    raise UserError(f"{field} = {shown(file)}: holds {now}; the run is of {content}: the file was changed")
  return _parsed(task, file, found)


@functools.lru_cache(8)
def _check_apart(task: Any, files: Files) -> None:
  """Raises UserError if both splits have a problem in common, whatever the order of its edges, or siblings are not of one."""
  train, test = (task.problems(files._read(task, split)) for split in ("train", "test"))
  siblings = getattr(task, "siblings", 1)
  for file, problem_B in ((files.train_file, train), (files.test_file, test)):
    whole = problem_B[:len(problem_B) // siblings * siblings].reshape(-1, siblings)
    if (apart := (whole != whole[:, :1]).any(axis=1)).any():
      first = int(np.argmax(apart)) * siblings
      raise UserError(f"task.siblings = {siblings}: the examples {first + 1} to {first + siblings} of {file} are not of one graph")
  if (both := np.isin(test, train)).any():
    first = int(np.argmax(both))
    there = int(np.argmax(train == test[first]))
    raise UserError(f"task.test_file = {shown(files.test_file)}: {both.sum()} of its {len(test)} examples are of problems that "
                    f"{files.train_file} has too, the first of them example {first + 1}, there example {there + 1}; take them out of one "
                    "of both, so that held-out problems are held out")
