"""Figures and tables of grids over degree, length and width, from rows made up for the purpose."""

import math

import pytest

from pathstar.reports import grids, report
from pathstar.reports.rows import as_read


def run(degree=2, length=5, seed=0, plans=False, **values):
  """A row of runs.csv: next-token training that follows edges and plans, or doesn't."""
  name = "-".join(map(str, (degree, length, seed, *values.values())))
  score = 1.0 if plans else 1 / degree
  return {
      "run_id": name, "task": "path_star", "problem": f"G({degree},{length})", "degree": degree, "length": length, "answer_length": length,
      "branch_position": 1, "num_nodes": 20, "num_train": "", "architecture": "transformer", "objective": "next_token", "order": "forward",
      "seed": seed, "status": "done", "steps": 6000, "exact_match_test": score, "exact_match_train": score, "branch_accuracy": score,
      "cheat_accuracy": 1.0 if length > 3 else math.nan, "branch_step": 900 if plans else math.nan, "branch_entropy": math.log(degree),
      "legal_mass": 1.0, "chance": 1 / degree, "train_seconds": 5.0, "parameters": 1000 * length + values.get("model.width", 0)} | values


def by_width(lengths=(3, 4, 5), widths=(64, 128), nodes=(16, 24)):
  """Runs of which short paths and wide models plan, and their curves."""
  runs = [run(length=length, seed=seed, plans=length + seed * (width < 100) < 5, **{"model.width": width, "num_nodes": number})
          for number in nodes for length in lengths for width in widths for seed in (0, 1)]
  curves = [{"run_id": row["run_id"], "step": step, "position": "cheat", "accuracy": step / 1000, "loss": 0.0}
            for row in runs if row["length"] > 3 for step in (100, 990, 1000)]
  return as_read(runs), curves


def drawn(figure):
  return [axes for axes in figure.axes if axes.get_visible()]


def test_how_short_is_a_line_a_width_and_a_row_of_panels_a_number_of_node_ids():
  figure = grids.how_short(*by_width())
  rows = [drawn(figure)[i:i + 3] for i in (0, 3)]
  for (scores, share, steps), number in zip(rows, (16, 24)):
    assert scores.get_title() == f"degree 2, {number} node ids"
    narrow, wide = (list(line.get_ydata()) for line in share.get_lines())
    assert narrow == [1.0, 0.5, 0.0] and wide == [1.0, 1.0, 0.0]
    assert [text.get_text() for text in steps.get_legend().get_texts()] == ["length 4", "length 5"]  # length 3 can't be seen to follow
    points = [tuple(point) for marks in steps.collections for point in marks.get_offsets().tolist()]
    assert set(points) == {(990, 900), (990, 6000)} and len(points) == 8


@pytest.mark.parametrize("given", [{"lengths": (5,)}, {"widths": (64,)}])
def test_how_short_is_drawn_of_runs_that_differ_in_length_and_width(given):
  assert grids.how_short(*by_width(**given)) is None
  runs = by_width()[0]
  assert grids.how_short([row | {"order": "reversed"} for row in runs]) is None
  assert grids.how_short([{name: value for name, value in row.items() if name != "model.width"} for row in runs]) is None


def test_how_short_has_a_bound_and_does_without_curves():
  runs, curves = by_width()
  assert len(drawn(grids.how_short(runs, curves, 5))) == 3 and grids.how_short(runs, curves, 2) is None
  assert len(drawn(grids.how_short(runs))) == 4


def test_a_report_has_it(tmp_path):
  report.write(tmp_path / "length", "length", *by_width(), {})
  assert "![How short a path must be before next-token training plans](how_short.png)" in (tmp_path / "length" / "README.md").read_text()
