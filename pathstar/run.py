"""A run, loaded: its model, parameters, config and task, what it answers, and what is in its layers. Nothing is written into its folder."""

import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pathstar import config, evals
from pathstar.devices import random
from pathstar.devices.mesh import make_mesh
from pathstar.errors import UserError
from pathstar.evals import generated
from pathstar.storage import workdir
from pathstar.sweeps import status
from pathstar.sweeps.folder import checkpoints_of, has_saved, sweep_of
from pathstar.sweeps.records import FRESH
from pathstar.tasks import draw
from pathstar.training import metrics
from pathstar.training.checkpoint import Checkpoints
from pathstar.training.extra import check
from pathstar.training.program import compile_program


@dataclasses.dataclass(frozen=True, repr=False)
class Run:
  """What `load` returns. It can be pickled.

  A question is a line of text in the task's format, with or without its answer, several lines, or a batch as `task.examples` gives it.

  Attributes:
    model: pure functions of parameters: `apply`, `hidden`, `prefill`, `step`, ... (models/lm.py).
    params: {"model": ..., "objective": ...}, without a run axis.
    config: the resolved config, with `.task` and `.objective`.
    step: the step of the parameters.
    folder: where it came from.
    diverged_at: the step at which it was no longer finite, and froze, maybe with parameters that aren't either; None: it didn't.
  """

  model: Any
  params: dict
  config: config.Config
  step: int
  folder: pathlib.Path
  diverged_at: int | None = None

  def __repr__(self) -> str:
    return f"Run({self.config.architecture}, {self.config.method}, {self.task}, step {self.step}, {str(self.folder)!r})"

  @property
  def task(self) -> Any:
    return self.config.task

  @property
  def metrics(self) -> list[dict]:
    """The rows of metrics.jsonl: `step` and the tags of TensorBoard."""
    return metrics.read(self.folder)

  def predict(self, questions: str | Sequence[str] | dict) -> list[str] | np.ndarray:
    """The answers as the run produces them: for text its lines with the run's answer; for a batch tokens (B, A), along the path."""
    batch = self._batch(questions)
    generate = jax.jit(lambda params, batch, place: self._objective.along_path(generated.answer(
        self.task, self._objective.predict(self.model, params, batch, random.evaluation_key(random.PREDICT, place))), batch))
    number, size = evals.chunks(len(batch["target"]))
    parts = [{name: x[place * size:(place + 1) * size] for name, x in batch.items()} for place in range(number)]
    answer_BxA = np.concatenate([np.asarray(generate(self.params, part, place)) for place, part in enumerate(parts)])
    if isinstance(questions, dict):
      return answer_BxA
    answer_BxA = np.where((answer_BxA >= 0) & (answer_BxA < self.task.vocab_size), answer_BxA, self.task.dummy)
    examples = [{name: x[i] for name, x in self._turned(batch).items()} for i in range(len(answer_BxA))]
    targets = np.stack([draw.with_answer(example, answer) for example, answer in zip(examples, answer_BxA)])
    told = self.task.to_text(self._turned(batch) | {"target": targets})
    return told[0] if isinstance(questions, str) else told

  def logits(self, questions: str | Sequence[str] | dict) -> np.ndarray:
    """Scores (B, L, V) of the target in one pass, in the order of the objective."""
    return np.asarray(jax.jit(lambda params, batch: self._objective.logits(self.model, params, batch))(self.params, self._batch(questions)))

  def hidden(self, questions: str | Sequence[str] | dict, layer: int = -1) -> np.ndarray:
    """The residual stream (B, T, D) after a block, of what the model reads in training; -1: the last. Loops are blocks of their own."""
    return self._layer(questions, layer)[0]

  def attention(self, questions: str | Sequence[str] | dict, layer: int = -1) -> np.ndarray:
    """Attention weights (B, H, T, T) of a block: rows are the tokens that look."""
    weights = self._layer(questions, layer)[1]
    if weights is None:
      raise UserError(f"{self!r}: has no attention; its mixer is {self.config.fields['model.mixer']}")
    return weights

  def draw(self, question: str | dict):
    """A figure of the graph, the right path and the run's answer."""
    batch = self._batch(question)
    return draw.figure(self.task, {k: v[0] for k, v in self._turned(batch).items()}, self.predict(self._turned(batch))[0])

  @property
  def _objective(self) -> Any:
    return self.config.objective

  def _batch(self, questions) -> dict:
    """In the order of the objective."""
    if not isinstance(questions, dict):
      questions = self.task.from_text([questions] if isinstance(questions, str) else list(questions))
    return self._turned(questions)

  def _turned(self, batch: dict) -> dict:
    """From the order of the path into that of the objective, or back: it is its own inverse."""
    return {name: np.asarray(x) for name, x in self._objective.in_order(batch).items()}

  def _layer(self, questions, layer: int):
    tokens = self._objective.inputs(batch := self._batch(questions))
    blocks = jax.jit(functools.partial(self.model.layers, free_from=self._objective.free_from(batch)))(self.params["model"], tokens)
    if not -len(blocks) <= layer < len(blocks):
      raise UserError(f"layer = {layer}: must be between {-len(blocks)} and {len(blocks) - 1}: {self!r} has {len(blocks)} blocks")
    stream, weights = blocks[layer]
    return np.asarray(stream), None if weights is None else np.asarray(weights)


def load(run_dir: str | os.PathLike, step: int | None = None) -> Run:
  """Loads a checkpoint of a run, the newest or that of a step, whether it trained alone or in a pack. It may be training.

  Raises:
    UserError: not a run's folder, nothing saved yet, or not at that step.
  """
  folder = workdir.reach(run_dir)
  folder = folder if workdir.is_remote(folder) else folder.resolve()  # by its full name; resolve() of gs://b/x is a local path
  if not (folder / workdir.CONFIG).exists():
    raise UserError(f"workdir = {str(run_dir)!r}: not a run's folder (it has no {workdir.CONFIG})")
  members, checkpoints = _pack_of(folder)
  if not checkpoints.is_dir():
    raise UserError(f"workdir = {str(run_dir)!r}: has no checkpoint yet")
  configs = [config.of_run(member) for member in members]
  mine = members.index(folder)
  mesh = make_mesh("run=1", len(configs), configs[mine].train.batch_size)
  program = compile_program(configs, mesh)
  manager = Checkpoints(checkpoints, None)
  if step is not None and step not in manager.steps:
    raise UserError(f"step = {step}: {run_dir} has checkpoints of {', '.join(map(str, manager.steps)) or 'no step'}")
  restored = manager.restore(program.abstract_state, program.state_shardings, step)
  manager.close()
  if restored is None:
    raise UserError(f"workdir = {str(run_dir)!r}: has no checkpoint yet")
  found, state, extra = restored
  check(extra, configs, checkpoints)
  if step not in (None, found):
    raise UserError(f"step = {step}: the checkpoint of {run_dir} can't be read (the log says why)")
  params = jax.tree.map(lambda x: np.asarray(x[mine]), state["params"])
  diverged_at = int(state["diverged_at"][mine])
  return Run(configs[mine].model, params, configs[mine], found, folder, diverged_at if diverged_at >= 0 else None)


def load_sweep(folder: str | os.PathLike, only: Sequence[str] = ()) -> list[dict]:
  """A row a run of a sweep, ready for a DataFrame: path, state, the fields in use, and the last evaluation.

  Raises:
    UserError: not a sweep's folder.
  """
  place, rows = workdir.path(folder), []
  for entry in status.read(place, only):
    run = place / "runs" / entry.path
    try:
      fields = dict(config.of_run(run).fields) if (run / workdir.CONFIG).exists() else {}
    except UserError as error:  # of that run alone
      fields, entry = {}, dataclasses.replace(entry, state="failed", damage=str(error))
    if entry.damage:
      print(f"{entry.path}: {entry.damage}", file=sys.stderr)
    rows.append({"run": entry.path, "state": entry.state} | fields | entry.result)
  return rows


def _pack_of(folder: pathlib.Path) -> tuple[list[pathlib.Path], pathlib.Path]:
  """The folders of the runs that trained together with `folder`, in order, and their checkpoints' folder."""
  if found := sweep_of(folder):
    sweep, line = found
    for pack_id, paths in reversed(line):  # a part that has not saved yet is where its pack was
      if has_saved(sweep, pack_id) or pack_id == line[0][0] or (sweep / "packs" / pack_id / FRESH).exists():
        return [sweep / "runs" / path for path in paths], checkpoints_of(sweep, pack_id)
  place = folder / "checkpoints"
  if not workdir.is_remote(folder):
    workdir.require_inside(folder, place)
  return [folder], place
