"""A run's numbers, written once and read by everything: metrics.jsonl and, from the same call, TensorBoard.

One JSON object a line: `step` and the TensorBoard tags; undefined values are left out, wall-clock figures stand under `perf/` alone. Lines
up to a checkpoint's step are on disk before that checkpoint is; resuming cuts back to it, so that the file of an interrupted run
equals that of one never interrupted.
"""

import json
import math
import os
import pathlib

import numpy as np

from pathstar import tensorboard, workdir


class Writer:
  """Writes one run's metrics. Values may be NumPy scalars; one that is not finite is undefined and left out."""

  def __init__(self, folder: pathlib.Path, start_step: int):
    """Opens the run's files and cuts them back to `start_step` (0: nothing was written yet)."""
    self._path = folder / workdir.METRICS
    kept = [row for row in read(folder) if row["step"] <= start_step] if start_step else []
    workdir.write_text(self._path, "".join(json.dumps(row) + "\n" for row in kept))
    self._file = open(self._path, "a")
    self.events = tensorboard.Events(folder, start_step)

  def describe(self, config, trial: str) -> None:
    """What TensorBoard shows beside the curves: hyperparameters, the config as text, and charts that put positions together."""
    self.events.hparams(config.fields, trial)
    rows = "".join(f"| {name} | {value} |\n" for name, value in config.fields.items())
    self.events.text(0, "config", f"| field | value |\n|---|---|\n{rows}")
    self.events.layout({"positions": {
        f"{name} on {split}": [rf"eval/{split}/position_\d+/{name}$"]
        for name in ("accuracy", "loss", "generated_accuracy") for split in ("test", "train")
    }, "exact match": {"exact match": [r"eval/(test|train)/exact_match$"]}})

  def write(self, step: int, values: dict) -> None:
    values = {name: float(np.float64(value)) for name, value in values.items()}
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    self._file.write(json.dumps({"step": step, **values}) + "\n")
    self.events.scalars(step, values)

  def flush(self) -> None:
    """Returns once everything written is on disk."""
    self._file.flush()
    os.fsync(self._file.fileno())
    self.events.flush()

  def close(self) -> None:
    self.flush()
    self._file.close()
    self.events.close()


def read(folder: pathlib.Path) -> list[dict]:
  """The rows of a run's metrics, in order. A last line cut short by a crash is passed over."""
  path = pathlib.Path(folder) / workdir.METRICS
  rows = []
  for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
    if line.endswith("\n"):
      rows.append(json.loads(line))
  return rows
