"""A finished run, loaded: its model, parameters, config and task."""

import dataclasses
import os
import pathlib
from typing import Any

import jax

from pathstar import config
from pathstar.devices.mesh import make_mesh
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.sweeps.folder import PLAN, checkpoints_of, lineage
from pathstar.training.checkpoint import Checkpoints
from pathstar.training.program import compile_program


@dataclasses.dataclass(frozen=True)
class Run:
  """What `load` returns.

  Attributes:
    model: pure functions of parameters: `apply`, `hidden`, `prefill`, `step`, ... (models/lm.py).
    params: {"model": ..., "objective": ...}, without a run axis.
    config: the resolved config, with `.task` and `.objective`.
    step: the step of the parameters.
    folder: where it came from.
  """

  model: Any
  params: dict
  config: config.Config
  step: int
  folder: pathlib.Path

  @property
  def task(self) -> Any:
    return self.config.task


def load(run_dir: str | os.PathLike) -> Run:
  """Loads the newest checkpoint of a run, whether it trained alone or in a pack.

  Raises:
    UserError: not a run's folder, or nothing saved yet.
  """
  folder = workdir.path(run_dir)
  if not (folder / workdir.CONFIG).exists():
    raise UserError(f"workdir = {str(run_dir)!r}: not a run's folder (it has no {workdir.CONFIG})")
  resolve = lambda path: config.recorded(workdir.read_json(path / workdir.CONFIG))
  mine = resolve(folder)
  members, checkpoints = _pack_of(folder)
  if not checkpoints.is_dir():
    raise UserError(f"workdir = {str(run_dir)!r}: has no checkpoint yet")
  configs = [resolve(member) for member in members]
  mesh = make_mesh("run=1", len(configs), mine.train.batch_size)
  program = compile_program(configs, mesh)
  manager = Checkpoints(checkpoints, mine.train.keep_checkpoints)
  restored = manager.restore(program.abstract_state, program.state_shardings)
  manager.close()
  if restored is None:
    raise UserError(f"workdir = {str(run_dir)!r}: has no checkpoint yet")
  step, state, _ = restored
  index = [member.name for member in members].index(folder.name)
  params = jax.tree.map(lambda x: x[index], state["params"])
  return Run(mine.model, params, mine, step, folder)


def _pack_of(folder: pathlib.Path) -> tuple[list[pathlib.Path], pathlib.Path]:
  """The folders of the runs that trained together with `folder`, in order, and their checkpoints' folder."""
  folder = folder if workdir.is_remote(folder) else folder.resolve()  # resolve() of gs://b/x is a local path
  for parent in folder.parents:
    if (parent / PLAN).exists() and folder.is_relative_to(parent / "runs"):
      packs = workdir.read_json(parent / PLAN)["packs"]
      line = lineage(parent, packs, folder.relative_to(parent / "runs").as_posix())
      for pack_id, paths in reversed(line):  # a part that has not saved yet is where its pack was
        if (place := checkpoints_of(parent, pack_id)).is_dir() or pack_id == line[0][0]:
          return [parent / "runs" / path for path in paths], place
  return [folder], folder / "checkpoints"
