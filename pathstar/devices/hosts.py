"""Several processes as one job: starting them, agreeing on an error, and bringing numbers together. With one process all do nothing.

The training step never waits for another process but through its own collectives; what stands here runs before it and at log time.
"""

import contextlib
import functools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax._src import clusters  # neither this nor the key-value store has a public name
from jax._src.distributed import global_state as _global_state
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pathstar.devices import rendezvous
from pathstar.errors import Held, Outage, UserError, first_line, require, shown

AUTO = "auto"
_FORM_S = 45  # until all processes of a job have to be there
_LEAVING, _POLL_S = "pathstar/leaving", 0.3
_MESSAGE_BYTES = 2000  # of an error that one process tells the others, its kind in the first
_SHARED = (Held, Outage, UserError, RuntimeError)  # kinds of such errors, the most special first


def on_pod() -> bool:
  """Whether the environment says that this is one of several hosts of a TPU slice."""
  return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def join(how: str | None) -> None:
  """Makes this process one of a job. Nothing of JAX may have run before.

  Args:
    how: `ADDRESS:PORT,COUNT,ID`; or AUTO: what the cluster (TPU pod, SLURM step, MPI) or JAX's own variables say; None: only
      on a TPU pod.

  Raises:
    UserError: it isn't written so, the cluster doesn't say, or not all processes come.
  """
  if how is None and not on_pod():
    return
  asked = "--distributed" if how is not None else f"TPU_WORKER_HOSTNAMES = {shown(os.environ['TPU_WORKER_HOSTNAMES'])}"
  # CPUs have no stream that keeps programs in order: two at once would wait for each other across processes.
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  jax.config.update("jax_enable_preemption_service", False)  # it takes SIGTERM for itself; ours is training/signals.py
  if how is None or how == AUTO:
    named = os.environ.get("JAX_COORDINATOR_ADDRESS")
    require(named is None or _has_port(named), "JAX_COORDINATOR_ADDRESS", named, "ADDRESS:PORT, as in 10.0.0.1:1234")
    found = clusters.ClusterEnv.auto_detect_unset_distributed_params(named, *[None] * 4, _FORM_S)
    if None in found[:3]:
      raise UserError(f"{asked}: no cluster was found; under SLURM start the processes by srun, elsewhere give "
                      "--distributed=ADDRESS:PORT,COUNT,ID" + ", or unset TPU_WORKER_HOSTNAMES" * (how is None))
    rendezvous.meet(*found[:3], _FORM_S, asked)
    jax.distributed.initialize(initialization_timeout=_FORM_S)  # which finds the same, and shares out a machine's devices
    return
  address, *numbers = how.split(",")
  require(_has_port(address) and len(numbers) == 2 and all(re.fullmatch("[0-9]{1,9}", n) for n in numbers)
          and int(numbers[1]) < int(numbers[0]),
          "--distributed", how, "ADDRESS:PORT,COUNT,ID with PORT below 65536 and ID below COUNT, as in 10.0.0.1:1234,2,0")
  count, me = map(int, numbers)
  rendezvous.meet(address, count, me, _FORM_S, asked)
  jax.distributed.initialize(address, count, me, initialization_timeout=_FORM_S)


def _has_port(address: str) -> bool:
  found = re.fullmatch(r".+:([0-9]{1,5})", address)
  return found is not None and 0 < int(found[1]) < 2**16


def leave_together(leave: Callable[[], None]) -> Callable[[], None]:
  """A function to call before this process ends on its own, upon which `leave` is called in the other processes of its job.

  All of them stay until each is there: one that is gone before is an error to the others, and ends them.
  """
  client, me = _global_state.client, _global_state.process_id
  if client is None:
    return lambda: None

  def farewell():
    client.key_value_set(f"{_LEAVING}/{me}", "1", allow_overwrite=True)
    jax.distributed.shutdown()

  def listen():
    with contextlib.suppress(RuntimeError):  # the job is over
      while not client.key_value_dir_get(_LEAVING):
        time.sleep(_POLL_S)
      leave()

  threading.Thread(target=listen, daemon=True).start()
  return farewell


def devices() -> list:
  """This job's devices. Raises UserError if those that JAX is told to use aren't here."""
  try:
    return jax.devices()
  except (RuntimeError, AssertionError) as error:  # which of them depends on the platform
    asked = os.environ.get("JAX_PLATFORMS")
    raise UserError(f"JAX_PLATFORMS = {asked!r}: no such device can be used here ({first_line(error)})"
                    + "; without it JAX takes what it finds" * bool(asked)) from None


def several() -> bool:
  devices()
  return jax.process_count() > 1


def is_first() -> bool:
  """Whether this is the process that writes."""
  return jax.process_index() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
  """An exception of one process in the body is one of all after it, in the same words: none is left waiting for another."""
  if not several():
    yield
    return
  mine, text = None, np.zeros(_MESSAGE_BYTES, np.uint8)
  try:
    yield
  except Exception as error:
    mine = error
    kind = next((number for number, of in enumerate(_SHARED, 1) if isinstance(error, of)), len(_SHARED))
    said = (str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}").encode()[:_MESSAGE_BYTES - 1]
    text[0], text[1:1 + len(said)] = kind, np.frombuffer(said, np.uint8)
  gathered = multihost_utils.process_allgather(text)
  if mine is not None:
    raise mine
  for other in gathered:
    if other[0]:
      raise _SHARED[other[0] - 1](bytes(other[1:]).rstrip(b"\0").decode(errors="replace"))


def all_of(holds: bool) -> bool:
  """Whether it holds for all processes."""
  return holds if not several() else bool(multihost_utils.process_allgather(np.array(holds)).all())


def poll(holds: bool, before: jax.Array | None) -> tuple[bool | None, jax.Array | None]:
  """Whether it holds for any process, the same on all, and what to give as `before` to the next call.

  With several processes the answer is that of the call before, so that none waits for it; None the first time.
  """
  if not several():
    return holds, None
  everyone = Mesh(np.array(jax.devices()), "all")
  votes = jax.make_array_from_callback((everyone.size,), NamedSharding(everyone, PartitionSpec("all")), lambda _: np.array([holds]))
  return None if before is None else bool(before), _any_of(everyone)(votes)


@functools.cache
def _any_of(everyone: Mesh):
  return jax.jit(jnp.any, out_shardings=NamedSharding(everyone, PartitionSpec()))


def of_first(number: int) -> int:
  """The first process's number, on all: what it alone can read on disk."""
  return number if not several() else int(multihost_utils.broadcast_one_to_all(np.array(number)))


def everywhere(tree):
  """Arrays on the current mesh, each whole on every process. Starts the exchange and does not wait for it."""
  if not several():
    return tree
  return jax.jit(_same, out_shardings=PartitionSpec())(tree)


def _same(tree):
  return tree
