"""Several processes as one job: starting them, agreeing on an error, and bringing numbers together. With one process all do nothing.

The training step never waits for another process but through its own collectives; what stands here runs before it and at log time.
"""

import contextlib
import os
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import PartitionSpec

from pathstar.errors import Held, UserError, first_line, require

AUTO = "auto"
_MESSAGE_BYTES = 2000  # of an error that one process tells the others, its kind in the first
_SHARED = (Held, UserError, RuntimeError)  # kinds of such errors, the most special first


def on_pod() -> bool:
  """Whether the environment says that this is one of several hosts of a TPU slice."""
  return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


def join(how: str | None) -> None:
  """Makes this process one of a job. Nothing of JAX may have run before.

  Args:
    how: `ADDRESS:PORT,COUNT,ID`; or AUTO: what the cluster (TPU pod, SLURM step, MPI) or JAX's own variables say; None: only
      on a TPU pod.

  Raises:
    UserError: it isn't written so, or the cluster doesn't say.
  """
  if how is None and not on_pod():
    return
  # CPUs have no stream that keeps programs in order: two at once would wait for each other across processes.
  jax.config.update("jax_cpu_enable_async_dispatch", False)
  if how is None or how == AUTO:
    try:
      jax.distributed.initialize()
    except ValueError as error:  # no cluster found
      raise UserError(f"--distributed: no cluster was found ({error}); under SLURM start the processes by srun, elsewhere give "
                      "--distributed=ADDRESS:PORT,COUNT,ID") from None
    return
  address, *numbers = how.split(",")
  require(":" in address and len(numbers) == 2 and all(n.isdigit() for n in numbers) and int(numbers[1]) < int(numbers[0]),
          "--distributed", how, "ADDRESS:PORT,COUNT,ID with ID below COUNT, as in 10.0.0.1:1234,2,0")
  jax.distributed.initialize(address, int(numbers[0]), int(numbers[1]))


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
