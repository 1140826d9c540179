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

from pathstar.errors import UserError, require

AUTO = "auto"
_MESSAGE_BYTES = 2000  # of an error that one process tells the others


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


def several() -> bool:
  return jax.process_count() > 1


def is_first() -> bool:
  """Whether this is the process that writes."""
  return jax.process_index() == 0


@contextlib.contextmanager
def together() -> Iterator[None]:
  """What is a user's error for one process in the body is one for all after it, in the same words."""
  if not several():
    yield
    return
  said = ""
  try:
    yield
  except UserError as error:
    said = str(error)
  text = np.zeros(_MESSAGE_BYTES, np.uint8)
  text[:len(said.encode())] = np.frombuffer(said.encode()[:_MESSAGE_BYTES], np.uint8)
  for other in multihost_utils.process_allgather(text):
    if other.any():
      raise UserError(bytes(other).rstrip(b"\0").decode(errors="replace"))


def everywhere(tree):
  """Arrays on the current mesh, each whole on every process. Starts the exchange and does not wait for it."""
  if not several():
    return tree
  return jax.jit(_same, out_shardings=PartitionSpec())(tree)


def _same(tree):
  return tree
