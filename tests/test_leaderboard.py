"""Objectives side by side, from rows made up for the purpose."""

import math

import pytest

from pathstar.reports import leaderboard, report
from pathstar.reports.csv_files import as_read

# Objective -> seeds that solve G(2,4) and G(3,5).
SOLVE = {"next_token": (0, 0), "teacherless": (2, 0), "token_order": (3, 1), "hybrid": (3, 3), "multi_token": (1, 0)}


def rows():
  found, curves = [], []
  for objective, solved in SOLVE.items():
    for (degree, length), number in zip(((2, 4), (3, 5)), solved):
      for seed in range(3):
        right = seed < number
        run_id = f"{objective}-{degree}-{seed}"
        found.append({
            "run_id": run_id, "task": "path_star", "problem": f"G({degree},{length})", "degree": degree, "length": length,
            "answer_length": length, "branch_position": 1, "num_nodes": 20, "num_train": 1000, "epochs": 1.0, "architecture": "transformer",
            "objective": objective, "order": "forward", "seed": seed, "status": "done", "steps": 300, "chance": 1 / degree,
            "exact_match_test": 1.0 if right else 1 / degree, "exact_match_train": 1.0, "branch_accuracy": 1.0, "train_seconds": 5.0,
            "parameters": 2000 if objective == "token_order" else 1000, "parameters_used": 1000, "cheat_accuracy": 1.0,
            "solve_step": 100 * (seed + 1) if right else math.nan, "flops_per_step": 3e9 if objective == "hybrid" else 1e9,
            "objective.weight": 0.5 if objective == "hybrid" else ""})
        for step in (0, 100, 300):
          curves += [{"run_id": run_id, "step": step, "position": position, "accuracy": 0.5, "loss": 1.0} for position in (0, 1)]
          if objective == "hybrid":
            curves += [{"run_id": run_id, "step": step, "position": f"loss_{name}", "accuracy": math.nan, "loss": 1 / (1 + step)}
                       for name in ("next", "blind")]
  return found, curves


def test_the_board_says_who_solves_what_with_how_many_seeds_and_at_what_price():
  text = leaderboard.markdown(as_read(rows()[0]))
  line = lambda name: [line for line in text.splitlines() if line.startswith(f"| {name}")]
  assert line("hybrid")[0].startswith("| hybrid") and "**3 of 3**: 1.00 1.00 1.00 | **3 of 3**" in line("hybrid")[0]
  assert "**2 of 3**: 1.00 1.00 0.50 | **0 of 3**: 0.33 0.33 0.33 |" in line("teacherless")[0]
  assert line("teacherless")[1] == "| teacherless | 150 (150) |  |" and line("hybrid")[1].endswith("| 200 (600) | 200 (600) |")
  assert "| 2,000 | 1,000 | 300 | 1.00 | 5 |" in line("token_order")[3] and "| 3.00 |" in line("hybrid")[3]
  names = [one.split("|")[1].strip() for one in text.splitlines()[4:9]]
  assert names == ["hybrid", "token_order", "teacherless", "multi_token", "next_token"]  # the best first


def test_arithmetic_is_told_over_next_token_of_the_same_model():
  both = [row | {"architecture": name, "run_id": f"{row['run_id']}-{name}", "flops_per_step": times * row["flops_per_step"]}
          for name, times in (("mamba", 5), ("s5_gated", 2)) for row in rows()[0]]
  costs = [line.split("|") for line in leaderboard.markdown(as_read(both)).splitlines() if line.startswith(("| next_token", "| hybrid"))]
  assert {(cells[1].strip(), cells[5].strip()) for cells in costs if len(cells) == 8} == {
      (f"{name}, {mixer}", times) for name, times in (("next_token", "1.00"), ("hybrid", "3.00")) for mixer in ("mamba", "s5_gated")}


def test_a_setting_of_an_objective_is_an_entry_of_its_own():
  runs = rows()[0]
  for row in runs:
    row["objective.k"] = ""
  more = [row | {"run_id": f"{row['run_id']}-{k}", "objective.k": k} for row in runs if row["objective"] == "multi_token" for k in (2, 4)]
  found = leaderboard.entries(as_read([row for row in runs if row["objective"] != "multi_token"] + more))
  assert {"multi_token, k 2", "multi_token, k 4"} < set(found)
  assert all(len(rows) == 3 for of in found.values() for rows in of.values())


def test_a_report_has_a_board_from_four_objectives_on(tmp_path):
  runs, curves = rows()
  report.write(tmp_path / "some", "some", runs, curves, {})
  names = lambda: {file.name for file in (tmp_path / "some").iterdir()}
  assert {"leaderboard.md", "leaderboard.png", "branch_training.png", "loss_terms.png"} <= names()
  assert "(leaderboard.md)" in (tmp_path / "some" / "README.md").read_text()
  report.write(tmp_path / "some", "some", [row for row in runs if row["objective"] in list(SOLVE)[:3]], curves, {})
  assert not {"leaderboard.md", "leaderboard.png"} & names()


@pytest.mark.parametrize("row", [{"status": "diverged", "exact_match_test": math.nan}, {"flops_per_step": math.nan}])
def test_what_is_not_known_is_left_out(row):
  runs = rows()[0]
  runs[0] |= row
  text = leaderboard.markdown(as_read(runs))
  assert "nan" not in text and leaderboard.leaderboard(as_read(runs)) is not None


def test_arithmetic_is_told_of_a_task_without_node_ids():
  sums = [row | {"task": "addition", "problem": "3-digit addition", "degree": "", "length": "", "num_nodes": ""} for row in rows()[0]
          if row["degree"] == 2]
  [*_, line] = [line for line in leaderboard.markdown(as_read(sums)).splitlines() if line.startswith("| hybrid")]
  assert "| 3.00 |" in line


def test_sums_have_no_first_move():
  runs, curves = rows()
  assert leaderboard.branch_training(as_read(runs), curves) is not None
  assert leaderboard.branch_training(as_read([row | {"task": "addition", "branch_position": ""} for row in runs]), curves) is None
