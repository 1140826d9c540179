"""A run's numbers, written once and read by everything: metrics.jsonl and, from the same call, TensorBoard.

One JSON object a line: `step` and the TensorBoard tags; undefined values are left out, wall-clock figures stand under `perf/` alone. Lines
up to a checkpoint's step are on disk before that checkpoint is; resuming cuts back to it, so that the file of an interrupted run
equals that of one never interrupted.
"""

import hashlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from pathstar.devices import hosts
from pathstar.errors import Outage, UserError, first_line
from pathstar.storage import workdir
from pathstar.tasks import draw
from pathstar.training import data, tensorboard
from pathstar.training.progress import Progress, each, score_of


class Writer:
  """Writes one run's metrics. Values may be NumPy scalars; one that is not finite is undefined and left out."""

  def __init__(self, folder: pathlib.Path, start_step: int, amended: dict | None = None):
    """Opens the run's files and cuts them back to `start_step` (0: nothing was written yet).

    `amended`: what was evaluated at that step gives way to this, and TensorBoard's files are written anew: there a shorter run ended.
    """
    self._folder, self._local = folder, workdir.staging(folder)
    kept = [row for row in read_good(folder)[0] if row["step"] <= start_step] if start_step else []
    if amended is not None and kept and kept[-1]["step"] == start_step:
      row = {name: value for name, value in kept.pop().items() if not name.startswith("eval/")} | _defined(amended)
      kept += [row] if len(row) > 1 else []
    self._path, self._digest = self._local / workdir.METRICS, _digest(kept)
    workdir.write_text(self._path, "".join(map(_line, kept)))
    self._file = open(self._path, "a")
    for old in folder.glob("events.out.*") if amended is not None else ():
      old.unlink()
    self.events = tensorboard.Events(self._local, start_step if amended is None else 0)
    for row in kept if amended is not None else ():
      self.events.scalars(row["step"], {name: value for name, value in row.items() if name != "step"})

  def describe(self, config, trial: str) -> None:
    """What TensorBoard shows beside the curves: hyperparameters, the config as text, and charts that put positions together."""
    self.events.hparams(dict(config.fields) | config.in_words, trial)
    rows = "".join(f"| {name} | {value} |\n" for name, value in config.fields.items())
    self.events.text(0, "config", f"| field | value |\n|---|---|\n{rows}")
    self.events.layout(tensorboard.charts(config.task.answer_length))

  def write(self, step: int, values: dict) -> None:
    values = _defined(values)
    line = _line({"step": step, **values})
    self._file.write(line)
    self._digest.update(line.encode())
    self.events.scalars(step, values)

  @property
  def digest(self) -> str:
    """Of all lines so far."""
    return self._digest.hexdigest()

  def flush(self) -> None:
    """Returns once everything written is on disk, or in the remote folder. Raises Outage if the file is not there any more."""
    self._file.flush()
    os.fsync(self._file.fileno())
    if not self._path.exists() or not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
      raise Outage(f"{self._path}: was removed or replaced while the run was writing it")
    self.events.flush()
    workdir.publish(self._local, self._folder)

  def close(self) -> None:
    if not self._local.is_dir():  # removed under the run, which has been said
      return
    try:
      self.flush()
    finally:
      self._file.close()
      self.events.close()
    if self._local != self._folder:
      shutil.rmtree(self._local)


class Recorder:
  """Hands each run its own numbers, one dispatch behind the device. Every process pushes; the first writes."""

  def __init__(self, configs: Sequence, folders: Sequence[pathlib.Path], start_step: int, progress: Progress,
               amended: dict | None = None):
    """`amended`: device values of `start_step` in place of what the runs' files have as evaluated there."""
    self._configs, self._progress, self._told = configs, progress, (("loss", "train/loss"), score_of(configs[0]))
    new = None if amended is None else jax.device_get(hosts.everywhere(amended))
    own = lambda run: new if new is None else {name: value[run] for name, value in new.items()}
    self._writers = [Writer(folder, start_step, own(run)) for run, folder in enumerate(folders)] if hosts.is_first() else []
    self._pending: tuple[int, dict, object] | None = None
    self._artist, self._drawn = ThreadPoolExecutor(1), list[tuple[Writer, int, Future]]()
    self.diverged_at = np.full(len(folders), -1)
    if start_step == 0 or amended is not None:
      for writer, config, folder in zip(self._writers, configs, folders, strict=False):
        writer.describe(config, folder.name)

  def push(self, step: int, values: dict, after=None) -> None:
    """Takes device values of `step`; writes those of the push before, which are there by now, as is its `after`."""
    values = hosts.everywhere(values) if values else {}
    self.drain()
    self._pending = (step, values, after)

  def drain(self) -> None:
    if self._pending is None:
      return
    step, values, _ = jax.block_until_ready(self._pending)
    values = jax.device_get(values)
    self._pending = None
    self.diverged_at = values.pop("diverged_at", self.diverged_at)
    if not self._writers:
      return
    if values:
      rates = self._progress.rates(step) if "train/loss" in values else {}
      for run, writer in enumerate(self._writers):
        if not 0 <= self.diverged_at[run] <= step:
          writer.write(step, {name: value[run] for name, value in values.items()} | rates)
    self._progress.update(step, {name: each(values[metric]) for name, metric in self._told if metric in values})

  def flush(self) -> None:
    self.drain()
    for writer, step, png in self._drawn:
      writer.events.image(step, "examples", *png.result())
    self._drawn.clear()
    for writer in self._writers:
      writer.flush()

  def pictures(self, step: int, answer_RxNxA: np.ndarray, diverged_at: Sequence[int]) -> None:
    """Draws each run's answers to the first test examples, which are the same for all; not of one that diverged.

    In a thread, so that the device need not wait for matplotlib; the next `flush` writes them.
    """
    config = self._configs[0]  # a pack is of one method and one problem
    examples = {name: x[:answer_RxNxA.shape[1]] for name, x in data.eval_examples(config, "test").items()}
    title = f"{config.method} on {config.task}, step {step} of {config.train.num_steps}"
    for writer, answers, diverged in zip(self._writers, answer_RxNxA, diverged_at, strict=False):
      if diverged < 0:
        self._drawn.append((writer, step, self._artist.submit(_picture, config.task, examples, answers, title)))

  def digests(self) -> list[str]:
    """Of each run's lines so far, on the process that writes."""
    return [writer.digest for writer in self._writers]

  def close(self) -> None:
    self._artist.shutdown(cancel_futures=True)
    for writer in self._writers:
      writer.close()


def _picture(*args) -> tuple[bytes, int, int]:
  return tensorboard.png_of(draw.gallery(*args))


def _defined(values: dict) -> dict[str, float]:
  """As written: plain numbers, the finite ones."""
  values = {name: float(np.float64(value)) for name, value in values.items()}
  return {name: value for name, value in values.items() if math.isfinite(value)}


def read(folder: pathlib.Path) -> list[dict]:
  """The rows of a run's metrics, in order. A last line cut short by a crash is passed over.

  Raises:
    UserError: another line is damaged, or out of order.
  """
  rows, damaged = read_good(folder)
  if damaged:
    raise UserError(f"{workdir.path(folder) / workdir.METRICS}: line {damaged} is damaged or out of order; put back a copy, or train the "
                    "run again")
  return rows


def reach(folder: pathlib.Path, step: int, due: Sequence[int], digest: str | None) -> int:
  """How far a run's metrics are what was written up to `step`: to `step`, to an earlier one, or to none (-1).

  Args:
    due: the steps up to `step` at which there is a row.
    digest: of the rows up to `step`, as the checkpoint of that step has it; None: it has none, as in versions up to 0.1.
  """
  rows, _ = read_good(folder)
  reached = -1
  for number, one in enumerate(due):
    if number >= len(rows) or rows[number]["step"] != one:
      return reached
    reached = one
  return step if digest in (None, _digest(row for row in rows if row["step"] <= step).hexdigest()) else step - 1


def read_good(folder: pathlib.Path) -> tuple[list[dict], int | None]:
  """The rows up to the first damaged line, and its number, or None."""
  path = workdir.path(folder) / workdir.METRICS
  try:
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
  except OSError as error:
    raise UserError(f"{path}: can't be read ({first_line(error)})") from None
  rows, last = [], -1
  for number, line in enumerate(lines[:-1], 1):  # what follows the last line's end is cut short, or nothing
    try:
      row = workdir.parse_json(line)
      if type(row["step"]) is not int or row["step"] <= last or not all(type(x) in (int, float) and math.isfinite(x) for x in row.values()):
        return rows, number
      last = row["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
      return rows, number
    rows.append(row)
  return rows, None


def _line(row: dict) -> str:
  return json.dumps(row) + "\n"


def _digest(rows: Iterable[dict]):
  digest = hashlib.sha256()
  for row in rows:
    digest.update(_line(row).encode())
  return digest
