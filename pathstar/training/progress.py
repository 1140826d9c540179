"""One progress line: percent, steps/s, examples/s, ETA, loss, exact match. tqdm on a terminal, plain lines otherwise."""

import datetime
import sys
import time

import tqdm

_PLAIN_EVERY_S = 10.0


def clock(seconds: float | None) -> str:
  """`1:02:03`, or `2 days, 1:02:03`; empty if unknown."""
  return "" if seconds is None else str(datetime.timedelta(seconds=round(seconds)))


class Progress:
  """Shows how far a pack is. Rates are those of this start, compilation included."""

  def __init__(self, title: str, start_step: int, num_steps: int, examples_per_step: int):
    self._title, self._start, self._total, self._examples = title, start_step, num_steps, examples_per_step
    self._begin = self._printed = time.monotonic()
    self._shown: dict[str, str] = {}
    self._bar = None
    if sys.stderr.isatty():
      self._bar = tqdm.tqdm(total=num_steps, initial=start_step, desc=title, unit="step", dynamic_ncols=True)

  def rates(self, step: int) -> dict[str, float]:
    """Steps and examples per second since the start."""
    per_second = (step - self._start) / max(1e-9, time.monotonic() - self._begin)
    return {"perf/steps_per_sec": per_second, "perf/examples_per_sec": per_second * self._examples}

  def update(self, step: int, **values: float) -> None:
    """Moves to `step`; `values` (loss, exact_match) stay shown until replaced."""
    self._shown |= {name: f"{value:.3f}" for name, value in values.items()}
    rates = self.rates(step)
    if self._bar is not None:
      self._bar.set_postfix({"ex/s": f"{rates['perf/examples_per_sec']:.0f}", **self._shown}, refresh=False)
      self._bar.update(step - self._bar.n)
    elif step > self._start and (time.monotonic() - self._printed > _PLAIN_EVERY_S or step >= self._total):
      self._printed = time.monotonic()
      left = (self._total - step) / max(1e-9, rates["perf/steps_per_sec"])
      tail = "".join(f"  {name} {value}" for name, value in self._shown.items())
      print(f"{self._title}: {100 * step // self._total:3d}%  step {step}/{self._total}  {rates['perf/steps_per_sec']:.1f} steps/s"
            f"  {rates['perf/examples_per_sec']:.0f} examples/s  ETA {clock(left)}{tail}", file=sys.stderr, flush=True)

  def close(self) -> None:
    if self._bar is not None:
      self._bar.close()
