"""Checkpoints of a pack through Orbax: saved in the background, committed atomically, restored onto any mesh.

The position in the data is the step, and all randomness is folded from seed and step, so the state and a few numbers are all there
is to save.
"""

import logging
import pathlib

import jax
import orbax.checkpoint as ocp

from pathstar.errors import UserError

_log = logging.getLogger(__name__)


class Checkpoints:
  """The newest `keep` checkpoints in a folder."""

  def __init__(self, folder: pathlib.Path, keep: int):
    self._folder = folder.absolute()
    self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    self._manager = ocp.CheckpointManager(self._folder, options=self._options)

  def save(self, step: int, state, extra: dict) -> None:
    """Starts saving; returns once `state` may change. Metrics up to `step` must be on disk already."""
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), extra=ocp.args.JsonSave(extra))
    self._manager.save(step, args=args, force=True)

  def restore(self, abstract_state, shardings) -> tuple[int, object, dict] | None:
    """(step, state, extra) of the newest checkpoint that can be read, or None if there is none.

    One that can't be read is set aside as `<step>.corrupt`, with a warning, and the one before it is used.

    Raises:
      UserError: there are checkpoints and none can be read.
    """
    target = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract_state, shardings)
    steps = sorted(self._manager.all_steps(), reverse=True)
    for step in steps:
      args = ocp.args.Composite(state=ocp.args.StandardRestore(target), extra=ocp.args.JsonRestore())
      try:
        restored = self._manager.restore(step, args=args)
        return step, restored.state, restored.extra
      except Exception as error:  # whatever a torn file makes the readers raise
        _log.warning("checkpoint %d can't be read and is set aside (%s: %s)", step, type(error).__name__,
                     str(error).splitlines()[0][:200] if str(error) else "")
        self._set_aside(step)
    if steps:
      raise UserError(f"{self._folder}: none of its checkpoints can be read; they are kept as *.corrupt")
    return None

  def _set_aside(self, step: int) -> None:
    self._manager.close()
    if jax.process_index() == 0:
      (self._folder / str(step)).rename(self._folder / f"{step}.corrupt")
    self._manager = ocp.CheckpointManager(self._folder, options=self._options)

  def preempted(self, steps: range) -> bool:
    """Whether one of several processes got SIGTERM; true on all of them after the same dispatch.

    To be asked after every dispatch, about its steps: the processes agree on the first step that none has reached yet.
    """
    return any(self._manager.reached_preemption(step) for step in steps)

  def wait(self) -> None:
    """Returns once the last save is committed."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    self._manager.close()
