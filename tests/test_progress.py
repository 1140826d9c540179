"""What a terminal, and a file, show of a command that trains."""

import io
import re
import types

import pytest
from rich.console import Console

from pathstar import config
from pathstar.sweeps.execute import _told_by
from pathstar.sweeps.packs import plan
from pathstar.training import progress
from pathstar.training.progress import Progress, each, in_words


@pytest.fixture
def now(monkeypatch):
  """The time, in `now.seconds`, that passes when a test says so."""
  clock = types.SimpleNamespace(seconds=100.0)
  monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock.seconds))
  return clock


def shown(made: Progress, width: int = 80) -> list[str]:
  """The lines that a terminal of this width shows of it now."""
  console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
  console.print(made._render())
  return [re.sub(r"\x1b\[[\d;?]*\w", "", line).rstrip() for line in console.file.getvalue().splitlines()]


def test_a_bar_is_of_the_whole_sweep_and_compilation_is_no_part_of_its_speed(tiny, now):
  made = Progress(work=300.0, console=Console(file=io.StringIO(), width=80))
  configs = [tiny({"seed": seed, "train.num_steps": 100}) for seed in (0, 1)]
  made.next(2, 3, work=100.0, after=100.0)
  made.begin(configs, 0)
  bar, pack = shown(made)
  assert bar.split()[:2] == ["33", "%"] and "pack 2 of 3 ETA -:--:--" in bar and pack.endswith("2 seeds: compiling")
  now.seconds += 50  # compilation
  made.update(10, {})
  now.seconds += 5
  made.update(20, {"loss": "0.213", "exact match": each([0.5, 0.51])})
  assert made.rates(20) == {"perf/steps_per_sec": 2.0, "perf/examples_per_sec": 2.0 * 2 * configs[0].train.batch_size}
  bar, *pack = shown(made)
  # 80 steps here and 100 there at 2 a second, and compilation once more.
  assert made.seconds_left() == pytest.approx(40 + 50 + 50) and bar.split()[:2] == ["40", "%"] and "ETA 0:02:20" in bar
  assert " ".join(pack) == ("next_token on G(2,4), transformer, 2 seeds: step 20 of 100, 2 steps/s, loss "
                            "0.213, exact match 0.500 0.510")
  now.seconds += 10  # nothing new: the time runs down
  assert "ETA 0:02:10" in shown(made)[0]
  now.seconds += 30
  made.update(100, {})
  made.next(3, 3, work=100.0, after=0.0)
  made.begin(configs, 0)
  assert made.seconds_left() == pytest.approx(50)  # the speed of the packs before
  made.close()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("runs", [1, 8, 40])
def test_nothing_is_cut_at_any_width(tiny, now, width, runs):
  made = Progress(console=Console(file=io.StringIO(), width=width))
  made.next(17, 225, 1.0, 0.0, more="width 128, a_long_field_name 0.001")
  made.begin([tiny({"seed": seed}) for seed in range(runs)], 0)
  made.update(20, {"loss": each([1.25] * runs), "exact match": each([k / 100 for k in range(runs)])})
  lines = shown(made, width)
  assert all(len(line) <= width for line in lines)
  whole = "".join("".join(lines[1:]).split())
  wanted = f"exact match {'0.000 to 0.390' if runs == 40 else each([k / 100 for k in range(runs)])}"
  assert whole.endswith("".join(wanted.split())) and "width128" in whole and "pack17of225" in lines[0].replace(" ", "")


def test_a_file_has_whole_lines_now_and_then(tiny, now):
  file = io.StringIO()
  made = Progress(console=Console(file=file, width=80))
  made.begin([tiny()], 0)
  for step in (5, 10, 15, 20):
    now.seconds += 6
    made.update(step, {"loss": "1.000"})
  first, *lines = file.getvalue().splitlines()
  assert first == "next_token on G(2,4), transformer, seed 0: compiling"
  assert [re.search(r"step (\d+) of 20", line)[1] for line in lines] == ["10", "20"]
  assert lines[-1] == "  100 %  step 20 of 20, 0.833 steps/s, loss 1.000"


def test_scores_are_told_one_by_one_or_from_where_to_where():
  assert each([0.5, float("nan")]) == "0.500 diverged" and each([float("nan")] * 9) == " ".join(["diverged"] * 8)
  assert each([*[0.25 * k for k in range(5)] * 2, float("nan")]) == "0.000 to 1.000, 1 diverged"


def test_packs_that_are_the_same_in_words_are_told_apart(tiny):
  cells = [{"model.width": width, "objective.order": order, "seed": seed}
           for width in (16, 32) for order in ("forward", "reversed") for seed in (0, 1)]
  packs = plan(config.override(config.default(), tiny.fields), cells)
  told = {in_words([run.config for run in one.runs], _told_by(packs)[one.pack_id]) for one in packs}
  assert told == {f"{method} on G(2,4), transformer, width {width}, 2 seeds" for method in ("next_token", "reversed") for width in (16, 32)}
