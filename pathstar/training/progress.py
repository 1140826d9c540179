"""What a terminal shows while a command trains: one bar over all its packs with the time left, and the pack that trains now.

A terminal has it in place, a file as a plain line now and then. Compilation is said, and counts in no speed.
"""

import datetime
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pathstar.devices import hosts
from pathstar.errors import say

_PLAIN_EVERY_S = 10.0
_MAX_SCORES = 8  # that are told one by one


def clock(seconds: float | None) -> str:
  """`1:02:03`, or `2 days, 1:02:03`; empty if unknown."""
  return "" if seconds is None else str(datetime.timedelta(seconds=round(seconds)))


def in_words(configs: Sequence, more: str = "") -> str:
  """What a pack is: `reversed on G(2,4), transformer, 2 seeds`. `more` tells it from others that are the same in these words."""
  first, number = configs[0], len(configs)
  several = "seeds" if len({config.seed for config in configs}) == number else "runs"
  return ", ".join(filter(None, (f"{first.method} on {first.task}", first.architecture, more,
                                 f"{number} {several}" if number > 1 else f"seed {first.seed}")))


def score_of(config) -> tuple[str, str]:
  """What a run is told by while it trains: the name in words, and the metric."""
  return ("exact match", "eval/test/exact_match") if config.objective.scores_all else ("first move", "eval/test/branch_accuracy")


def each(values: Sequence[float]) -> str:
  """The value of each run of a pack, or of many from where to where. What is not finite is that of a run that diverged."""
  finite = [value for value in values if np.isfinite(value)]
  if len(values) <= _MAX_SCORES or not finite:
    return " ".join(f"{value:.3f}" if np.isfinite(value) else "diverged" for value in values[:_MAX_SCORES])
  return f"{min(finite):.3f} to {max(finite):.3f}" + (f", {len(values) - len(finite)} diverged" if len(finite) < len(values) else "")


class Progress:
  """Of one command, of which the first process alone shows it. Work is in any unit.

  Args:
    work: of all packs.
    console: where to show it; None: the terminal, or standard error.
  """

  def __init__(self, work: float = 1.0, console: Console | None = None):
    self._all = work
    self._console = console or Console(stderr=True, highlight=False)
    self._worked = self._seconds = 0.0  # of packs that have ended here, compilation left out
    self._setups: list[float] = []  # seconds until a pack's first steps were done
    self._moved: tuple[float, int] | None = None  # when and where the present pack was first seen to move
    self._live: Live | None = None
    self.next(1, 1, work, 0.0)
    if hosts.is_first() and self._console.is_terminal:
      self._live = Live(get_renderable=self._render, console=self._console, transient=True, redirect_stdout=sys.stdout.isatty())
      self._live.start()

  def next(self, number: int, of: int, work: float, after: float, more: str = "") -> None:
    """The pack that comes now: the how manieth of how many, its work, that of all that come after it, and what `in_words` adds."""
    self._settle()
    self._number, self._of, self._work, self._after, self._more = number, of, work, after, more
    self._title, self._state, self._steps = "", "starting", (0, 1)
    self._foreseen = (time.monotonic(), self.seconds_left())

  def begin(self, configs: Sequence, start_step: int) -> None:
    """The pack's programs are compiled now, and then it trains from `start_step` on."""
    self._settle()
    train = configs[0].train
    self._start, self._steps, self._examples = start_step, (start_step, train.num_steps), train.batch_size * len(configs)
    self._title, self._state, self._said = in_words(configs, self._more), "compiling", {}
    self._begun = self._printed = time.monotonic()
    self._print(f"{self._where()}{self._title}: compiling")

  def end(self, configs: Sequence, results: Sequence[Mapping]) -> None:
    """Says what came out of the pack: each run's score."""
    if results:
      name, metric = score_of(configs[0])
      seconds = sum(result["train_seconds"] for result in results)
      say(f"{self._where()}{in_words(configs, self._more)}: {name} {each([result.get(metric, np.nan) for result in results])}"
          f" (chance {configs[0].task.chance:.2g}), {clock(seconds)}", sys.stdout)

  def rates(self, step: int) -> dict[str, float]:
    """Steps and examples per second since the first of this start were done; empty before that."""
    if (per_second := self._rate(step)) is None:
      return {}
    return {"perf/steps_per_sec": per_second, "perf/examples_per_sec": per_second * self._examples}

  def update(self, step: int, values: Mapping[str, str]) -> None:
    """Moves to `step`; a value (loss, exact match) stays shown until it is replaced."""
    now = time.monotonic()
    self._said |= values
    self._steps = (step, self._steps[1])
    if step == self._start:
      return
    if self._moved is None:
      self._moved = (now, step)
      self._setups.append(now - self._begun)
    rate, self._foreseen = self._rate(step), (now, self.seconds_left())
    speed = [f"{rate:.3g} steps/s"] if rate else []
    told = [f"{name} {value}" for name, value in sorted(self._said.items(), reverse=True)]  # the loss before the score
    self._state = ", ".join([f"step {step} of {self._steps[1]}", *speed, *told])
    if now - self._printed > _PLAIN_EVERY_S or step >= self._steps[1]:
      self._printed = now
      self._print(f"  {self._percent():3.0f} %" + (f", ETA {clock(left)}" if (left := self.seconds_left()) else "") + f"  {self._state}")

  def seconds_left(self) -> float | None:
    """Until all packs are done, at the speed seen so far; None before there is any."""
    step, num_steps = self._steps
    rate = self._rate(step)
    if rate is None and not self._seconds:
      return None
    worked, seconds = self._present()
    worked, seconds = worked + self._worked, seconds + self._seconds
    here = (num_steps - step) / rate if rate else self._work * (1 - step / num_steps) * seconds / worked
    return here + self._after * seconds / worked + (self._of - self._number) * float(np.mean(self._setups or [0.0]))

  def close(self) -> None:
    if self._live is not None:
      self._live.stop()

  def _rate(self, step: int) -> float | None:
    """Steps per second; None before the second dispatch is done."""
    if self._moved is None or step <= self._moved[1]:
      return None
    return (step - self._moved[1]) / max(1e-9, time.monotonic() - self._moved[0])

  def _present(self) -> tuple[float, float]:
    """Work and seconds of the present pack since it was first seen to move."""
    if self._moved is None:
      return 0.0, 0.0
    return self._work * (self._steps[0] - self._moved[1]) / self._steps[1], time.monotonic() - self._moved[0]

  def _settle(self) -> None:
    """Counts in what the present pack has done."""
    worked, seconds = self._present()
    if worked:
      self._worked, self._seconds = self._worked + worked, self._seconds + seconds
    self._moved = None

  def _percent(self) -> float:
    done = self._all - self._after - self._work * (1 - self._steps[0] / self._steps[1])
    return 100 * min(1.0, max(0.0, done / self._all)) if self._all else 100.0

  def _where(self) -> str:
    return f"pack {self._number} of {self._of}: " if self._of > 1 else ""

  def _print(self, line: str) -> None:
    if hosts.is_first() and self._live is None:
      say(line, self._console.file)

  def _render(self) -> Group:
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(width=5)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    at, left = self._foreseen  # from then on the time runs down
    left = None if left is None else max(0.0, left - (time.monotonic() - at))
    bar.add_row(f"{self._percent():3.0f} %", ProgressBar(total=100, completed=self._percent()),
                self._where().replace(":", "") + (f"ETA {clock(left)}" if left is not None else "ETA -:--:--"))
    return Group(bar, Text(f"{self._title}: {self._state}" if self._title else self._state, overflow="fold"))
