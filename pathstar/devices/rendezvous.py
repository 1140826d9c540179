"""Processes of a job find each other before JAX starts, which ends with an abort and a stack, or not at all, where one is missing.

The first listens on the job's port; every other one says who it is and waits. When all are there, or the time is up, or two say the same,
the first tells all: each goes on, or fails with one line that says which process it was. Then the port is free again, for JAX.
"""

import contextlib
import json
import os
import socket
import time

from pathstar.errors import UserError

_GREETING = "pathstar: wait"
_GREET_S = 5.0  # within which a first process answers


def meet(address: str, count: int, me: int, seconds: float, asked: str = "--distributed") -> None:
  """Returns once all `count` processes are there.

  Args:
    address: HOST:PORT of the first process.
    count: of processes.
    me: this one's number, from 0.
    seconds: how long to wait for the others.
    asked: what made a job of them, for errors.

  Raises:
    UserError: they don't come together; on all that came, within that time.
  """
  if count == 1:
    return
  problem = _receive(address, count, time.monotonic() + seconds) if me == 0 else _report(address, count, me, time.monotonic() + seconds)
  if problem:
    raise UserError(f"{asked}: process {me} of {count} at {address}: {problem}")


def _receive(address: str, count: int, until: float) -> str:
  """What the first process does; returns what is wrong, or nothing."""
  port, here, told, problem = int(address.rpartition(":")[2]), set(), [], ""
  with contextlib.ExitStack() as stack:
    try:
      server = stack.enter_context(_listen(port))
    except OSError as error:
      return f"can't listen on port {port} ({os.strerror(error.errno).lower()}): give another port, or end what holds it"
    while len(here) < count - 1 and not problem:
      missing = [str(number) for number in range(1, count) if number not in here]
      server.settimeout(max(0.01, until - time.monotonic()))
      try:
        connection = stack.enter_context(server.accept()[0])
        connection.settimeout(_GREET_S)
        said = json.loads(connection.makefile().readline())
        number, of = said["process"], said["of"]
        connection.sendall(f"{_GREETING}\n".encode())
      except TimeoutError:
        if time.monotonic() >= until:
          problem = f"no word of process {' and '.join(missing)}"
        continue
      except (OSError, ValueError, KeyError, TypeError):  # a stranger, or one that left
        continue
      if of != count:
        problem = f"process {number} says that there are {of} processes"
      elif number in here:
        problem = f"two processes say that they are process {number}"
      here.add(number)
      told.append(connection)
    for connection in told:
      with contextlib.suppress(OSError):  # it will see that the connection ends
        connection.sendall(f"{problem}\n".encode())
  return problem


def _listen(port: int) -> socket.socket:
  if socket.has_dualstack_ipv6():
    return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
  return socket.create_server(("", port), backlog=1024)


def _report(address: str, count: int, me: int, until: float) -> str:
  """What every other process does; returns what is wrong, or nothing."""
  host, _, port = address.rpartition(":")
  problem = "process 0 did not answer"
  while time.monotonic() < until:
    try:
      with socket.create_connection((host.strip("[]"), int(port)), timeout=_GREET_S) as connection:
        connection.sendall(json.dumps({"process": me, "of": count}).encode() + b"\n")
        lines = connection.makefile()
        if lines.readline().strip() != _GREETING:
          problem = "what answers there is no process of a job of pathstar"
        else:
          connection.settimeout(until - time.monotonic() + _GREET_S)
          if verdict := lines.readline():
            return verdict.strip()
          problem = "process 0 has ended"
    except (OSError, UnicodeDecodeError) as error:
      problem = problem if isinstance(error, ConnectionRefusedError | TimeoutError) else f"process 0 did not answer ({error})"
    time.sleep(0.2)
  return problem
