"""Checkpoints of a pack through Orbax: saved in the background, committed atomically, restored onto any mesh.

The position in the data is the step, and all randomness is folded from seed and step, so the state and a few numbers are all there
is to save.
"""

import contextlib
import hashlib
import json
import logging
import pathlib
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from pathstar.devices import hosts
from pathstar.errors import Outage, UserError, first_line, outage
from pathstar.storage import workdir

_log = logging.getLogger(__name__)
_DIGEST, _STEP, _SUM = _OWN = ("digest", "step", "sum")  # in a checkpoint's extra: of its leaves, and of all else that stands there


def digest(state) -> dict[str, list[int]]:
  """A number for each run of each leaf, by the leaf's path: other bits in one element always give another number.

  The elements as 32-bit words times odd weights, added up modulo 2^32, on the devices that hold them.
  """
  leaves = jax.tree_util.tree_leaves_with_path(state)
  numbers = jax.device_get(hosts.everywhere(_digests([leaf for _, leaf in leaves])))
  return {jax.tree_util.keystr(path): np.asarray(number).tolist() for (path, _), number in zip(leaves, numbers, strict=True)}


def _sum(extra: dict) -> str:
  return hashlib.sha256(json.dumps({k: v for k, v in extra.items() if k != _SUM}, sort_keys=True).encode()).hexdigest()


@jax.jit  # one program for all: of several, each with its collectives, processes may wait for different ones
def _digests(leaves):
  def one(x_RxN):
    same_size = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[x_RxN.dtype.itemsize]
    word = jax.lax.bitcast_convert_type(x_RxN, same_size).astype(jnp.uint32) if x_RxN.dtype != bool else x_RxN.astype(jnp.uint32)
    weight, stride = jnp.uint32(1), 1
    for axis in reversed(range(1, word.ndim)):  # 2 (place in the row) + 1, without a table as long as the row's
      place = jax.lax.broadcasted_iota(jnp.uint32, word.shape, axis)
      weight, stride = weight + 2 * jnp.uint32(stride) * place, stride * word.shape[axis]
    return jnp.sum(word * weight, axis=tuple(range(1, word.ndim)), dtype=jnp.uint32)

  return [one(x) for x in leaves]


class Checkpoints:
  """The newest `keep` checkpoints in a folder; to read alone (None), nothing there is changed, not even set aside."""

  def __init__(self, folder: pathlib.Path, keep: int | None):
    self.folder = workdir.absolute(folder)
    self._read_only, self._failed = keep is None, False
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(max(level, logging.ERROR) if self._read_only else level)  # it warns that nothing will be saved, which is what is wanted
    # Folders made in the background would let what can't be written hang for minutes, and end in a traceback.
    now = ocp.AsyncOptions(create_directories_asynchronously=False)
    self._options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=keep is not None, read_only=keep is None, async_options=now)
    self._manager = ocp.CheckpointManager(self.folder, options=self._options)
    absl.setLevel(level)

  def save(self, step: int, state, extra: dict) -> None:
    """Starts saving; returns once `state` may change. Metrics up to `step` must be on disk already.

    Raises:
      Outage: it can't be written, or the one before could not.
    """
    if not workdir.is_remote(self.folder) and not self.folder.is_dir():
      raise Outage(f"{self.folder}: was removed while the run was writing there")
    extra = extra | {_DIGEST: digest(state), _STEP: step}
    extra[_SUM] = _sum(extra)
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), extra=ocp.args.JsonSave(extra))
    with self._saving():
      self._manager.save(step, args=args, force=True)

  def restore(self, abstract_state, shardings, at_most: int | None = None) -> tuple[int, object, dict] | None:
    """(step, state, extra) of the newest checkpoint, of a step of `at_most` or less, that can be read, or None if there is none.

    Where one can't be read and an older one can, it is set aside as `<step>.corrupt`, with a warning; where it is of a later step, as
    `<step>.ahead`.

    Raises:
      UserError: there are checkpoints and none can be read, be it that the disk or the network is to blame; all stay in place.
    """
    target = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract_state, shardings)
    steps = self.steps[::-1]
    ahead = [step for step in steps if at_most is not None and step > at_most]
    steps, torn = [step for step in steps if step not in ahead], []
    for step in steps:
      args = ocp.args.Composite(state=ocp.args.StandardRestore(target), extra=ocp.args.JsonRestore())
      restored = None
      try:
        restored = self._manager.restore(step, args=args)
        self._compare(step, restored)
      except Exception as error:  # whatever a torn file makes the readers raise
        _log.warning("checkpoint %d can't be read (%s)", step, first_line(error))
        restored = None
      if hosts.all_of(restored is not None):
        self._set_aside(torn, "corrupt")
        self._set_aside(ahead, "ahead")
        return step, restored.state, {name: value for name, value in restored.extra.items() if name not in _OWN}
      torn.append(step)
    if steps:
      raise UserError(f"{self.folder}: none of its checkpoints can be read (the log says why); to start from step 0, move them away")
    return None

  def _compare(self, step: int, restored) -> None:
    """Raises ValueError if the checkpoint is not what was saved. Version 0.1 saved no digest."""
    if not isinstance(restored.extra, dict):
      raise ValueError("its extra is no JSON object")
    if _SUM in restored.extra and _sum(restored.extra) != restored.extra[_SUM]:
      raise ValueError("its extra is not what was saved")
    if restored.extra.get(_STEP, step) != step:
      raise ValueError(f"it is of step {restored.extra[_STEP]}")
    if _DIGEST in restored.extra and (found := digest(restored.state)) != restored.extra[_DIGEST]:
      wrong = [name for name in found if found[name] != restored.extra[_DIGEST].get(name)]
      raise ValueError(f"the numbers of {wrong[0] if wrong else 'a leaf'} are not those that were saved")

  def restore_rows(self, abstract_state, shardings, rows: Sequence[int], number: int, at_most: int | None) -> tuple | None:
    """As `restore`, of some runs (`rows`, places on the leading axis) of a pack of `number` whose checkpoints these are."""
    whole = jax.tree.map(lambda x: jax.ShapeDtypeStruct((number, *x.shape[1:]), x.dtype), abstract_state)
    one_device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    restored = self.restore(whole, jax.tree.map(lambda _: one_device, shardings), at_most)
    if restored is None:
      return None
    step, state, extra = restored
    return step, jax.tree.map(lambda x, s: jax.device_put(x[np.array(rows)], s), state, shardings), extra

  def _set_aside(self, steps: list[int], why: str) -> None:
    if not steps or self._read_only:
      return
    self._manager.close()
    for step in steps if hosts.is_first() else ():
      aside = workdir.free_name(self.folder / f"{step}.{why}")
      _log.warning("checkpoint %d is set aside as %s", step, aside.name)
      (self.folder / str(step)).rename(aside)
    self._manager = ocp.CheckpointManager(self.folder, options=self._options)

  @property
  def steps(self) -> list[int]:
    """Of the checkpoints that are there, in order."""
    return sorted(self._manager.all_steps())

  def wait(self) -> None:
    """Returns once the last save is committed."""
    with self._saving():
      self._manager.wait_until_finished()

  @contextlib.contextmanager
  def _saving(self) -> Iterator[None]:
    """What goes wrong with a save, be it the one before, ends the run at once."""
    try:
      yield
    except Exception as error:  # whatever the writers raise
      self._failed = True
      raise Outage(f"{self.folder}: a checkpoint can't be written ({outage(error) or first_line(error)}); the same command goes on "
                   "from the one before") from error

  def close(self) -> None:
    if not self._failed:  # it would say the same again
      with self._saving():
        self._manager.close()
