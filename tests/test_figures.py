"""Figures: nothing is cut off or drawn over, what means one thing looks alike in all panels, and large reports stay small."""

import re
import time

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from pathstar.commands import cli
from pathstar.commands import report as report_command
from pathstar.reports import figures
from pathstar.reports.claim_figures import ALL as CLAIM_FIGURES
from pathstar.reports.collect import collect
from pathstar.reports.csv_files import as_read

LONG_NAMES = [f"a_way_of_training_with_quite_a_long_name_{k}" for k in range(8)]


def test_a_position_has_one_style_in_all_panels(made):
  runs, curves, _ = collect([made([{"task.length": length, "task.num_nodes": 14} for length in (3, 5)])])
  figure = figures.positions(as_read(runs), curves)
  style = lambda line: (line.get_linestyle(), line.get_color(), line.get_marker())
  short, long = ({line.get_label(): style(line) for line in axes.lines if not line.get_label().startswith("_")} for axes in figure.axes)
  assert short.keys() < long.keys() and all(long[name] == look for name, look in short.items()) and len(set(long.values())) == 4
  [legend] = figure.legends
  assert [text.get_text() for text in legend.get_texts()] == ["1 (branch)", "2", "3", "4"]  # each is the goal of none or of one panel


def test_of_a_long_answer_some_positions_are_drawn(made):
  runs, curves, _ = collect([made([{"task.length": 20, "task.num_nodes": 50}])])
  [legend] = figures.positions(as_read(runs), curves).legends
  assert [text.get_text() for text in legend.get_texts()] == ["1 (branch)", "4", "6", "9", "11", "14", "16", "19 (goal)"]


def everything_lies_inside(figure):
  """No artist of a figure is cut off at its edge, and no title or label of one panel lies on that of another."""
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  box, extent = figure.bbox, figure.get_tightbbox(canvas.get_renderer())  # of all that is visible; in inches
  inches = [edge / figure.dpi for edge in (box.x0 - 1, box.y0 - 1, box.x1 + 1, box.y1 + 1)]
  assert inches[0] <= extent.x0 and inches[1] <= extent.y0 and extent.x1 <= inches[2] and extent.y1 <= inches[3], (extent, inches)
  shown = [axes for axes in figure.axes if axes.get_visible()]
  texts = [text for axes in shown for text in (axes.title, axes.xaxis.label, axes.yaxis.label) if text.get_text()]
  boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
  for number, one in enumerate(boxes):
    assert not any(one.overlaps(other) for other in boxes[:number]), texts[number].get_text()


@pytest.mark.parametrize("methods", [["next_token"], ["next_token", "reversed", "teacherless"],
                                     pytest.param(["next_token", *LONG_NAMES], marks=pytest.mark.slow)], ids=["one", "three", "many"])
@pytest.mark.parametrize("problems", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_nothing_of_a_figure_is_cut_off(made, methods, problems):
  cells = [{"task.length": n, "task.num_nodes": 14, "seed": s} for n in range(3, 3 + problems) for s in (0, 1)]
  base, curves, _ = collect([made(cells, score=lambda cell: 0.5 + 0.01 * cell["seed"])])
  runs, lines = [], []
  for k, name in enumerate(methods):
    objective, order = ("next_token", "reversed") if name == "reversed" else (name, "forward")
    runs += [row | {"objective": objective, "order": order, "run_id": f"{k}{row['run_id']}"} for row in base]
    lines += [row | {"run_id": f"{k}{row['run_id']}"} for row in curves]
  runs = as_read(runs)
  sizes = [row | {"num_train": 100 * 4**k} for row in runs for k in range(3)]  # for the figure of training set sizes
  for make in (figures.ALL | CLAIM_FIGURES).values():
    for rows in (runs, sizes):
      if (figure := make(rows, lines)) is not None:
        everything_lies_inside(figure)
  styles = figures._bar_style(methods)
  assert len({tuple(style.values()) for style in styles.values()}) == len(methods)


@pytest.mark.slow
def test_the_report_of_a_thousand_runs_is_quick_small_and_short(made, tmp_path):
  cells = [{"task.degree": d, "task.length": n, "task.num_nodes": 100, "model.mixer": mixer, "seed": s, "objective.name": name}
           for d in (2, 3, 5) for n in (3, 4, 5, 7, 10) for mixer in ("attention", "mamba", "s5_gated")
           for name in ("next_token", "teacherless", "branch_only", "multi_token", "masked_diffusion") for s in range(5)
           if not (name == "masked_diffusion" and mixer != "attention")]
  folder = made(cells, steps=500)
  begin = time.process_time()
  assert cli.run(report_command.main, [f"--workdir={folder}", f"--out={tmp_path / 'out'}", "--quiet"]) == 0
  seconds = time.process_time() - begin
  sizes = {file.name: file.stat().st_size for file in (tmp_path / "out").iterdir()}
  assert len(cells) > 900 and seconds < 120  # 20 on a core of its own; a busy one counts for more
  assert all(size < 2 * 2**20 for size in sizes.values()), sizes
  text = (tmp_path / "out" / "README.md").read_text()
  assert len(text.splitlines()) < 300 and "the first 24 of" in text
  pictures = re.findall(r"\((\w+)\.png\)", text)
  assert pictures[0] == "heat_map" and len(pictures) > 4


def test_a_heat_map_has_a_bound_too(made):
  runs = collect([made([{"task.degree": d, "task.length": n, "task.num_nodes": 20} for d in (2, 3) for n in (3, 4)])])[0]
  rows = [row | {"objective": name, "run_id": f"{name}{row['run_id']}"} for row in as_read(runs) for name in LONG_NAMES]
  visible = lambda figure: sum(axes.get_visible() for axes in figure.axes)
  assert visible(figures.heat_map(rows)) == 8 and visible(figures.heat_map(rows, most=3)) == 3


def test_a_median_is_that_of_most_seeds_and_a_run_without_curves_is_left_out(made):
  runs, curves, _ = collect([made([{"seed": seed} for seed in range(4)])])
  curves = [row for row in curves if row["run_id"] != "seed=3" and not (row["run_id"] == "seed=2" and row["step"] > 10)]
  figure = figures.positions(as_read(runs), curves)
  assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1 (branch)", "2", "3 (goal)"]
  thick = [line for line in figure.axes[0].get_lines() if line.get_lw() == 2]
  assert len(thick) == 3 and all(list(line.get_xdata()) == [0, 10, 20] for line in thick)


def test_sizes_of_a_training_set_on_one_task_hide_no_other_task(made):
  runs = as_read(collect([made([{"task.name": "addition", "data.num_train": n, "data.num_test": 40} for n in (200, 400, 800)] + [{}])])[0])
  names = lambda make: " ".join(text.get_text() for text in make(runs).findobj(Text))
  assert "G(2,4)" in names(figures.exact_match) and "addition" not in names(figures.exact_match)
  assert "addition" in names(figures.examples)
