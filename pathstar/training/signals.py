"""SIGTERM and Ctrl-C end training at the next dispatch, with a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from pathstar.devices import hosts

_stop: threading.Event | None = None  # of the outermost `stop_on_signals`


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
  """An event that SIGTERM or SIGINT sets; a second signal acts at once. Inside another one, it is that one's event.

  With several processes it is never set: SIGTERM to any of them is then caught by JAX, so that all stop after the same
  dispatch (see `Checkpoints.preempted`).
  """
  global _stop
  if _stop is not None or hosts.several() or threading.current_thread() is not threading.main_thread():
    yield _stop or threading.Event()
    return
  event = _stop = threading.Event()

  def handle(number, frame):
    event.set()
    signal.signal(number, before[number])

  before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield event
  finally:
    _stop = None
    for number, handler in before.items():
      signal.signal(number, handler)
