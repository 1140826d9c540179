"""SIGTERM and Ctrl-C end training at the next dispatch, with a checkpoint; where there is nothing to save they end the process at once.

A command that trains listens from its first moment on (`listen`), in a thread of its own: the main one may be deep in a compiler, or wait
for another process of its job. Ending at once is what any run survives, a kill, but with status 75, and of all processes of a job.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from pathstar.errors import EXIT_STOPPED, say

COMPILER = "compiles ahead"  # name of a thread
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SAME_S = 2.0  # a terminal and a launch script both signal: what comes within this time is one signal
_FAREWELL_S = 20.0  # for which a job's other processes are waited for

_stop: threading.Event | None = None  # of `listen`, or of the outermost `stop_on_signals`
_phase, _ending = threading.Lock(), threading.Lock()
_listening = _joining = _saving = False
_farewell: Callable[[], None] = lambda: None


def listen(job: bool) -> None:
  """Takes this process's signals for good. `job`: it will be one of several processes, and a signal before `joined` waits for that."""
  global _stop, _listening, _joining
  _stop, _listening, _joining = threading.Event(), True, job
  heard, written = os.pipe()
  os.set_blocking(written, False)
  for number in _SIGNALS:
    signal.signal(number, lambda number, frame: None)
  signal.set_wakeup_fd(written, warn_on_full_buffer=False)
  threading.Thread(target=_heed, args=(heard,), daemon=True).start()


def _heed(heard: int) -> None:
  first = None
  while True:
    number, now = os.read(heard, 1)[0], time.monotonic()
    if first is None:
      first = now
      with _phase:
        _stop.set()
        if not (_joining or _saving):
          threading.Thread(target=leave, daemon=True).start()  # a second signal is heeded meanwhile
    elif now - first > _SAME_S:
      os._exit(128 + number)


def leave() -> None:
  """Ends this process now, and with it its job: nothing is lost but what came after the last checkpoint."""
  _alone()
  threading.Timer(_FAREWELL_S, os._exit, [EXIT_STOPPED]).start()
  try:
    say("stopped by a signal; the same command goes on")
    _farewell()
  finally:
    os._exit(EXIT_STOPPED)


def end(status: int) -> None:
  """Ends this process once all is saved and said, without taking the interpreter down: a thread of a library that then wants the
  interpreter aborts it ("exception not rethrown", status -6), and one that compiles ahead would be waited for."""
  _alone()
  if not compiling():
    atexit._run_exitfuncs()  # a job's processes take leave of each other there
  for stream in (sys.stdout, sys.stderr):
    stream.flush()
  os._exit(status)


def _alone() -> None:
  """Returns in the first thread that is about to end this process, and in no other."""
  if not _ending.acquire(blocking=False):
    threading.Event().wait()


def joined(farewell: Callable[[], None]) -> None:
  """This process is one of a job by now. `farewell`: makes the others leave too."""
  global _joining, _farewell
  with _phase:
    _joining, _farewell = False, farewell
    if _listening and _stop.is_set():
      leave()


def save_first(needed: bool) -> None:
  """Whether a signal is from now on left to who asks the event of `stop_on_signals`: there is something to save."""
  global _saving
  with _phase:
    _saving = needed


def compiling() -> bool:
  """Whether a thread compiles what may never be needed: an interpreter waits for it before it ends, since it can't be stopped."""
  return any(thread.name == COMPILER for thread in threading.enumerate())


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
  """An event that SIGTERM or SIGINT sets; a second signal acts at once. Inside another one, or of a command that listens, it is that
  one's event."""
  global _stop
  if _stop is not None or threading.current_thread() is not threading.main_thread():
    try:
      yield _stop or threading.Event()
    finally:
      save_first(False)
    return
  event = _stop = threading.Event()

  def handle(number, frame):
    event.set()
    signal.signal(number, before[number])

  before = {number: signal.signal(number, handle) for number in _SIGNALS}
  try:
    yield event
  finally:
    _stop = None
    for number, handler in before.items():
      signal.signal(number, handler)
