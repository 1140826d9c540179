"""Figures and tables of grids over degree, length and width, from rows made up for the purpose."""

import math

import numpy as np
import pytest

from pathstar.reports import figures, grids, report
from pathstar.reports.csv_files import as_read


def run(degree=2, length=5, seed=0, plans=False, **values):
  """A row of runs.csv: next-token training that follows edges and plans, or doesn't."""
  name = "-".join(map(str, (degree, length, seed, *values.values())))
  score = 1.0 if plans else 1 / degree
  return {
      "run_id": name, "task": "path_star", "problem": f"G({degree},{length})", "degree": degree, "length": length, "answer_length": length,
      "branch_position": 1, "num_nodes": 20, "num_train": "", "architecture": "transformer", "objective": "next_token", "order": "forward",
      "seed": seed, "status": "done", "steps": 6000, "exact_match_test": score, "exact_match_train": score, "branch_accuracy": score,
      "cheat_accuracy": 1.0 if length > 3 else math.nan, "branch_step": 900 if plans else math.nan, "branch_entropy": math.log(degree),
      "legal_mass": 1.0, "snowball_prediction": 0.6, "token_error": 0.1, "chance": 1 / degree, "train_seconds": 5.0,
      "parameters": 1000 * length + values.get("model.width", 0)} | values


def by_width(lengths=(3, 4, 5), widths=(64, 128), nodes=(16, 24)):
  """Runs of which short paths and wide models plan, and their curves."""
  runs = [run(length=length, seed=seed, plans=length + seed * (width < 100) < 5, **{"model.width": width, "num_nodes": number})
          for number in nodes for length in lengths for width in widths for seed in (0, 1)]
  curves = [{"run_id": row["run_id"], "step": step, "position": "cheat", "accuracy": step / 1000, "loss": 0.0}
            for row in runs if row["length"] > 3 for step in (100, 990, 1000)]
  curves += [{"run_id": row["run_id"], "step": step, "position": 1, "accuracy": value, "loss": 0.0}
             for row in runs for step, value in ((990, row["chance"]), (1000, row["branch_accuracy"]))]
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
    # Four seeds of each length; of length 3 can't be seen that they follow. Three of length 4 plan, from the step at which they follow on.
    spans = [tuple(line.get_ydata()) for line in steps.get_lines()]
    assert sorted(spans) == [(990, 1000)] * 3 + [(990, 6000)] * 5
    assert len({line.get_xdata()[0] for line in steps.get_lines()}) == 8


def test_how_short_shows_a_width_that_has_one_length_beside_the_others():
  runs, curves = by_width()
  runs = [row for row in runs if row["model.width"] == 64 or (row["length"], row["num_nodes"]) == (4, 16)]
  [one, *_], [other, *_] = (drawn(grids.how_short(runs, curves))[i:i + 3] for i in (0, 3))
  assert [len(axes.get_lines()) for axes in (one, other)] == [3, 2]  # with that of a guess


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
  assert "](how_short.png)" in (tmp_path / "length" / "README.md").read_text()


def whole(degrees=(2, 3, 5), lengths=(3, 4, 5)):
  """A grid: next-token training plans at length 3, and with degree 2 a seed of three at length 4; the reversed path is learned."""
  cells = [(degree, length, seed) for degree in degrees for length in lengths for seed in range(3)]
  runs = [run(*cell, plans=cell[1] == 3 or cell == (2, 4, 0), num_nodes=max(14, cell[0] * cell[1])) for cell in cells]
  return as_read(runs + [run(*cell, plans=True, order="reversed", cheat_accuracy=math.nan) for cell in cells])


def texts(figure):
  return {axes.get_title(): [text.get_text() for text in axes.texts] for axes in drawn(figure)}


def test_a_grid_has_a_map_of_each_measure_for_each_way_of_training_that_has_it():
  runs = whole()
  success, branch, cheat = (texts(make(runs)) for make in (grids.success_map, grids.branch_map, grids.cheat_map))
  forward, backward = "next_token, transformer", "reversed, transformer"
  assert success == {forward: ["1.00", "0.33", "0.00", "1.00", "0.00", "0.00", "1.00", "0.00", "0.00"], backward: ["1.00"] * 9}
  assert branch[forward] == ["1.00", "0.67", "0.50", "1.00", "0.33", "0.33", "1.00", "0.20", "0.20"]
  assert cheat == {forward: ["", "1.00", "1.00"] * 3}  # not defined at length 3, nor on the reversed path
  assert texts(figures.heat_map(runs))[forward][1] == "0.67\n1/3"
  assert len(drawn(grids.success_map(runs, (), 1))) == 1


def test_what_was_run_on_a_part_of_the_grid_is_drawn_on_the_whole_and_the_rest_hatched():
  part = [row for row in whole() if row["order"] == "forward" or row["degree"] == 2]
  for make in (figures.heat_map, grids.success_map):
    everywhere, partly = drawn(make(part))
    assert [len(axes.texts) for axes in (everywhere, partly)] == [9, 3]
    assert [label.get_text() for label in partly.get_yticklabels()] == ["2", "3", "5"]
    unknown = np.ma.getmaskarray(partly.images[0].get_array())
    assert unknown.tolist() == [[False] * 3, [True] * 3, [True] * 3] and partly.patch.get_hatch()


def test_the_first_move_alone_has_no_map_of_exact_match_and_a_cell_without_a_score_is_hatched():
  alone = [row | {"objective": "branch_only", "order": "forward"} for row in whole()]
  assert figures.heat_map(alone) is None and grids.success_map(alone) is None and grids.branch_map(alone) is not None
  lost = [row | dict.fromkeys(("exact_match_test", "branch_accuracy"), math.nan) if (row["degree"], row["length"]) == (2, 5) else row
          for row in whole()]
  assert texts(figures.heat_map(lost))["reversed, transformer"][2] == "0/3"
  first = [row for row in whole() if row["order"] == "reversed" or row["degree"] == 2]
  assert list(texts(figures.heat_map(first, most=1))) == ["reversed, transformer"]  # the whole grid before the part of one


@pytest.mark.parametrize("given", [{"degrees": (2, 3)}, {"lengths": (4, 5)}])
def test_of_less_than_a_grid_the_map_of_exact_match_is_enough(given):
  runs = whole(**given)
  assert figures.heat_map(runs) is not None
  assert all(make(runs) is None for name, make in grids.ALL.items() if name.endswith("_map"))


def test_the_length_at_which_planning_stops_is_told_by_degree():
  lines = grids.planning(whole())
  assert lines[0] == "| model | degree | runs that plan, by length | stops planning at |"
  assert lines[2:] == ["| transformer | 2 | 3: 3 of 3; 4: 1 of 3; 5: 0 of 3 | 5 |", *(
      f"| transformer | {degree} | 3: 3 of 3; 4: 0 of 3; 5: 0 of 3 | 4 |" for degree in (3, 5))]
  ends = [line.split("|")[-2].strip() for line in grids.planning([run(d, l, 0, plans=d == 2) for d in (2, 3) for l in (3, 4, 5)])[2:]]
  assert ends == ["more than 5", "3 or less"]


def test_the_length_at_which_planning_stops_is_told_by_width_and_node_ids():
  lines = grids.planning(by_width()[0])
  assert lines[0] == "| model | degree | width | setting | runs that plan, by length | stops planning at |"
  assert lines[2] == "| transformer | 2 | 64 | 16 node ids | 3: 2 of 2; 4: 1 of 2; 5: 0 of 2 | 5 |" and len(lines) == 6


def test_a_report_of_a_grid_has_them(tmp_path):
  report.write(tmp_path / "grid", "grid", whole(), [], {})
  said = (tmp_path / "grid" / "README.md").read_text()
  assert all(f"]({name}_map.png)" in said for name in ("heat", "success", "branch", "cheat")) and "stops planning at" in said
  report.write(tmp_path / "grid", "grid", whole(lengths=(4, 5)), [], {})
  assert "stops planning at" not in (tmp_path / "grid" / "README.md").read_text() and not (tmp_path / "grid" / "cheat_map.png").exists()


def test_what_diverged_says_nothing_of_where_planning_stops():
  ended = [run(length=length, plans=True) for length in (3, 4)]
  sick = [run(length=5, status="diverged", exact_match_test=math.nan, exact_match_train=math.nan, branch_accuracy=math.nan)]
  assert grids.planning(as_read(ended + sick)) == grids.planning(as_read(ended)) and not grids.planning(as_read(sick))


def test_a_variant_of_the_task_splits_a_grid_and_does_not_dissolve_it():
  runs = as_read([run(d, n, problem=f"G({d},{n})" + " arms" * (layout == "arms"), **{"task.layout": layout})
                  for d in (2, 3) for n in (4, 5, 6) for layout in ("edges", "arms")])
  lots = figures.over_grid(runs)
  assert [len(lot) for lot in lots.values()] == [6, 6] and all(("edges" in title) != ("arms" in title) for title in lots)
