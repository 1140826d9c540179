"""Reports and the scoreboard: from rows made up for the purpose, and from what is committed under results/."""

import math
import pathlib
import re
import shutil

import numpy as np
import pytest
import scipy.stats
from matplotlib.image import imread

from pathstar.commands import report as report_command
from pathstar.errors import UserError
from pathstar.pricing import compare
from pathstar.reports import claims, report, scoreboard
from pathstar.reports.rows import read_csv, write_csv
from pathstar.reports.scale import GRAPHS, PAPER, SMALL, scale_of
from pathstar.storage import workdir

ROOT = pathlib.Path(__file__).parent.parent
REPORTS = sorted(folder.parent for folder in (ROOT / "results").glob("*/runs.csv"))


def run(**values):
  """A row of runs.csv: next-token prediction on G(2,5) that fails as the paper says, unless told otherwise."""
  row = dict.fromkeys(report.COLUMNS, math.nan) | {
      "run_id": "run", "task": "path_star", "problem": "G(2,5)", "degree": 2, "length": 5, "answer_length": 5,
      "branch_position": 1, "num_nodes": 10, "architecture": "transformer",
      "objective": "next_token", "order": "forward", "seed": 0, "status": "done", "steps": 100, "exact_match_test": 0.5,
      "exact_match_train": 0.5, "branch_accuracy": 0.5, "legal_mass": 1.0, "branch_entropy": math.log(2), "cheat_accuracy": 1.0,
      "snowball_prediction": 0.6, "token_error": 0.1, "chance": 0.5, "train_seconds": 1.0, "parameters": 10, "cheat_step": 20,
      "branch_accuracy_best": 0.52}
  return row | values


def verdict(number, runs):
  claim = next(claim for claim in claims.CLAIMS if claim.number == number)
  return claims.verdict(claim, runs).word


STEPS = {f"position_{k}_step_95": 50 - 10 * k for k in range(1, 5)}


@pytest.mark.parametrize("number, good, bad", [
    ("1", {}, {"exact_match_train": 0.6}),
    ("2", {}, {"cheat_accuracy": 0.9}),
    ("3", {}, {"branch_entropy": 0.95 * math.log(2)}),
    ("4", {}, {"branch_accuracy_best": 0.7}),
    ("5", {"objective": "teacherless", "exact_match_test": 1.0, "exact_match_train": 1.0},
     {"objective": "teacherless", "exact_match_test": 0.5, "exact_match_train": 1.0}),
    ("5", {"objective": "teacherless", "exact_match_test": 1.0, "exact_match_train": 1.0},
     {"objective": "teacherless", "exact_match_test": 0.8, "exact_match_train": 0.8}),
    ("6", {"order": "reversed", "exact_match_test": 1.0}, {"order": "reversed", "exact_match_test": 0.9}),
    ("7", {"order": "reversed", **STEPS},
     {"order": "reversed", **{f"position_{k}_step_95": 10 * k for k in range(1, 5)}}),
    ("8", {"architecture": "mamba"}, {"architecture": "mamba", "exact_match_test": 0.9}),
    ("8", {"architecture": "mamba"}, {"architecture": "mamba", "cheat_accuracy": 0.97}),
    ("8", {"architecture": "mamba"}, {"architecture": "mamba", "exact_match_train": 0.6}),
    ("9b", {"verifier/best_of_1": 0.5, "verifier/best_of_1_blind": 0.5}, {"verifier/best_of_1": 0.7, "verifier/best_of_1_blind": 0.5}),
    ("9b", {"verifier/best_of_1": 0.5, "verifier/best_of_1_blind": 0.5},
     {"verifier/best_of_1": 0.0, "verifier/best_of_1_blind": 0.0, "cheat_accuracy": 0.0}),
    ("10", {"problem": "G(2,5) search", "exact_match_test": 0.97}, {"problem": "G(2,5) search", "exact_match_test": 0.5}),
])
def test_a_verdict_counts_the_runs_that_agree(number, good, bad):
  assert verdict(number, [run(**good)]) == "held in 1 of 1"
  assert verdict(number, [run(**bad)]) == "not held in 1"
  assert verdict(number, [run(**good), run(**bad, seed=1), run(**good, seed=2)]) == "held in 2 of 3"
  assert verdict(number, []) == "undecided"


def test_runs_that_diverged_are_no_evidence_and_are_counted():
  lost = run(status="diverged", seed=1, **dict.fromkeys(("exact_match_test", "exact_match_train", "branch_accuracy"), math.nan))
  for number, values in (("1", {}), ("5", {"objective": "teacherless", "exact_match_test": 1.0, "exact_match_train": 1.0})):
    told = claims.verdict(next(one for one in claims.CLAIMS if one.number == number), [lost | {"objective": "next_token"} | {
        name: value for name, value in values.items() if name == "objective"}, run(**values)])
    assert told.word == "held in 1 of 1" and told.found.endswith(" 1 runs diverged and are left out.") and "nan" not in told.found
    assert verdict(number, [lost]) == "undecided"


def test_an_even_guess_is_asked_of_problems_that_do_not_name_the_first_move():
  assert verdict("3", [run(chance=0.75, branch_entropy=0.5 * math.log(2), exact_match_test=0.75)]) == "undecided"


def test_a_guess_is_near_chance_however_small_chance_is():
  at = lambda score: [run(degree=20, chance=0.05, exact_match_test=score, exact_match_train=score)]
  assert verdict("1", at(0.05)) == "held in 1 of 1"
  assert verdict("1", at(0.0)) == "not held in 1"


def test_runs_that_learned_nothing_decide_nothing():
  assert verdict("5", [run(objective="teacherless")]) == "undecided"
  assert verdict("7", [run(order="reversed", **{f"position_{k}_step_95": math.nan for k in range(1, 5)})]) == "undecided"
  assert verdict("11", [run(objective="branch_only", length=length, branch_step=math.nan) for length in (3, 4)]) == "undecided"


def test_an_order_needs_positions_that_are_learned_at_different_times():
  told = lambda *steps: verdict("7", [run(order="reversed", **{f"position_{k}_step_95": step for k, step in enumerate(steps, 1)})])
  assert told(500, 500, 500, 500) == "undecided"  # all between two evaluations
  assert told(500, 500, 500, 400) == "held in 1 of 1" and told(400, 500, 500, 500) == "not held in 1"


def test_a_wrong_arm_is_told_with_what_stands_at_its_end():
  [case] = claims.verdict(claims.CLAIMS[1], [run(end_follows_arm=0.25, end_copies_goal=0.75)]).cases
  assert case.measured == "1.000; the last token is the arm's end in 0.25, the goal in 0.75" and case.held == 1


@pytest.mark.parametrize("number", ["1", "3", "4"])
def test_a_run_that_does_not_follow_edges_yet_decides_nothing_and_is_named(number):
  early = run(exact_match_test=0.0, exact_match_train=0.0, branch_accuracy=0.1, branch_entropy=0.5, cheat_accuracy=0.07,
              cheat_step=math.nan)
  claim = next(claim for claim in claims.CLAIMS if claim.number == number)
  told = claims.verdict(claim, [run(), early | {"problem": "G(5,5)"}])
  assert (told.word, told.cases[0].of, told.cases[-1].of) == ("held in 1 of 1", 1, 0)
  assert told.cases[-1].setting == "G(5,5), edges not learned" and "0.07" in told.found
  assert verdict(number, [early]) == "undecided" and verdict("2", [early]) == "not held in 1"
  # One that plans without following edges has an answer, and not the paper's.
  assert verdict(number, [early | {"exact_match_test": 0.9, "branch_accuracy": 0.9}]) == "not held in 1"


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.number)
@pytest.mark.parametrize("runs", [
    [], [run(degree=1, cheat_accuracy=math.nan, branch_entropy=0.0, chance=1.0)], [run(order="reversed", **STEPS)],
    [run(task="addition", problem="3-digit addition", degree=math.nan)]],
                         ids=["none", "degree 1", "reversed", "addition"])
def test_where_nothing_can_tell_the_verdict_says_so_in_words(claim, runs):
  found = claims.verdict(claim, runs)
  if found.of == 0 and not claim.about(runs):
    assert found.word == "undecided" and found.found == "none of these runs is of the kind that could tell."
  assert not re.search(r"nan|inf\b|: ;|: \.|  |match ;|^;| seeds each$", found.found) and "; ;" not in found.found


def test_plain_s5_is_reported_apart():
  assert verdict("8", [run(), run(architecture="s5", exact_match_test=0.0)]) == "held in 1 of 1"


def test_longer_paths_are_as_right_as_the_shortest_guess_where_its_errors_forecast_less():
  rows = lambda *scores, **more: [
      run(length=n, answer_length=n, problem=f"G(2,{n})", exact_match_test=score, token_error=0.12, **more) for n, score in scores]
  assert verdict("9a", rows((4, 0.5), (8, 0.5))) == "held in 1 of 1"
  assert verdict("9a", rows((4, 0.5), (8, 0.36))) == "not held in 1"
  assert verdict("9a", rows((4, 0.5), (5, 0.5))) == "undecided"  # 0.88^5 = 0.53 is no fall
  assert verdict("9a", rows((3, 1.0), (4, 0.5), (8, 0.5))) == "held in 1 of 1"  # beside the shortest that is a guess
  assert verdict("9a", rows((3, 1.0), (4, 0.8), (8, 0.7))) == "undecided"
  assert verdict("9a", rows((4, 0.5), (8, 0.5)) + rows((8, 0.5), seed=1) + rows((8, 0.3), seed=2)) == "held in 2 of 3"
  assert verdict("9a", rows((4, 0.5))) == "undecided"


def test_a_line_of_teacherless_training_counts_what_its_runs_fit():
  made = lambda score, seed: run(objective="teacherless", exact_match_test=score, exact_match_train=score, seed=seed)
  [case] = claims.verdict(claims.CLAIMS[4], [made(1.0, 0), made(0.2, 1), made(0.7, 2)]).cases
  assert case.measured.endswith("; fits both in 1, both in part in 1, neither in 1") and (case.held, case.of) == (2, 3)


def test_steps_to_solve_must_double_with_a_node_and_may_end_unsolved():
  rows = lambda *steps, budget=1000, by=1: [run(objective="branch_only", length=3 + by * i, branch_step=step, steps=budget)
                                            for i, step in enumerate(steps)]
  assert verdict("11", rows(10, 100, math.nan)) == "held in 2 of 2"
  assert verdict("11", rows(10, 15, math.nan)) == "held in 1 of 2"
  assert verdict("11", rows(10, 100, math.nan, math.nan)) == "held in 2 of 2"
  assert verdict("11", rows(10, math.nan, math.nan)) == "undecided"  # one comparison is no trend
  assert verdict("11", rows(10, 100, math.nan, budget=150)) == "undecided"  # nor does so short a budget tell of the second
  assert verdict("11", rows(100, 210, 450, by=3)) == "not held in 2"  # of three nodes more


def test_teacherless_must_be_above_wherever_the_two_differ():
  rows = lambda number, taught, free: [
      run(task="addition", problem="3-digit addition", degree="", num_train=number, objective=name, exact_match_test=value)
      for name, value in (("next_token", taught), ("teacherless", free))]
  assert verdict("12", rows(10, 0.2, 0.9) + rows(100, 1.0, 1.0)) == "held in 1 of 1"
  assert verdict("12", rows(10, 0.9, 0.2) + rows(100, 0.5, 0.9)) == "held in 1 of 2"


def test_a_table_survives_its_csv_file(tmp_path):
  rows = [run(), run(seed=1, branch_step=None, exact_match_test=1 / 3)]
  write_csv(tmp_path / "runs.csv", report.COLUMNS, rows)
  again = read_csv(tmp_path / "runs.csv")
  assert again[0]["problem"] == "G(2,5)" and again[0]["steps"] == 100 and math.isnan(again[1]["branch_step"])
  assert again[1]["exact_match_test"] == pytest.approx(1 / 3, rel=1e-5)
  assert report.markdown(again) == report.markdown(rows)


@pytest.mark.parametrize("folder", REPORTS, ids=lambda folder: folder.name)
def test_committed_results_are_what_their_csv_files_say(folder, tmp_path, monkeypatch):
  """The command that every README names draws the same table, README and figures again, from the CSV files alone."""
  (tmp_path / "results").mkdir()
  monkeypatch.chdir(tmp_path)
  out = pathlib.Path("results") / folder.name
  out.mkdir()
  for file in (*folder.glob("*.csv"), folder / "provenance.json"):
    shutil.copy(file, out)
  assert report_command.main([f"--out={out}"]) == 0
  assert {file.name for file in out.iterdir()} == {file.name for file in folder.iterdir()}
  for name in ("README.md", "table.md"):
    assert (out / name).read_text() == (folder / name).read_text()
  assert f"pathstar report --out={out.as_posix()}`" in (out / "README.md").read_text()
  for file in out.glob("*.png"):  # the same picture, up to how fonts are rendered
    drawn, committed = imread(file), imread(folder / file.name)
    assert drawn.shape == committed.shape and np.abs(drawn - committed).mean() < 0.01, file.name


def test_the_scoreboard_is_what_the_csv_files_say():
  results = ROOT / "results"
  board = scoreboard.markdown(results)
  assert board in (results / "README.md").read_text()
  assert scoreboard.summary(results) in (results / "README.md").read_text()
  assert scoreboard.summary(results, "results/README.md") in (ROOT / "README.md").read_text()
  linked = re.findall(r"\]\(([^)#]+)\)", board)
  for number in re.findall(r"\(#claim-(\w+)\)", scoreboard.summary(results)):
    assert f'<a id="claim-{number}"></a>' in board
  assert linked and all((results / link).exists() for link in linked)


def test_every_report_of_a_claims_config_has_a_line(tmp_path):
  for folder, device in (("failure", "cpu:cpu"), ("failure_paper", "gpu:NVIDIA H200")):
    report.write(tmp_path / folder, folder, [run()], [], {
        "command": "pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/x", "devices": [device]})
  lines = [line for line in scoreboard.summary(tmp_path).splitlines() if line.startswith("| [1]")]
  assert len(lines) == 2 and all("| 1 of 1 (21 to 100 %) |" in line for line in lines)
  assert "| CPU |" in lines[0] and "| NVIDIA H200 |" in lines[1]
  board = scoreboard.markdown(tmp_path)
  assert "NVIDIA H200, 1 runs" in board and "| G(2,5) | 0.50; on train 0.50 | 1 of 1 (21 to 100 %) | 48 to 50 % |" in board
  line = "| [12](#claim-12) | Teacherless training learns addition from fewer examples. |  | no report of its own |  |"
  assert line in scoreboard.summary(tmp_path)


def test_other_reports_and_earlier_settings_are_counted_by_the_same_check(tmp_path):
  source = lambda name: {"command": f"pathstar sweep --config=configs/claims/{name}.py:scale=cpu --workdir=runs/x", "devices": ["cpu:cpu"]}
  guess, plans = run(), run(exact_match_test=0.9, exact_match_train=0.9)
  report.write(tmp_path / "failure", "failure", [guess], [], source("failure"))
  report.write(tmp_path / "failure_first", "failure_first", [plans], [], source("failure") | {"superseded_by": "failure"})
  report.write(tmp_path / "timeline", "timeline", [guess, plans], [], source("timeline"))
  at = "of {} at length 5 and more"
  assert (f"[failure_first](failure_first/README.md) 0 {at.format(1)}; [timeline](timeline/README.md) 1 {at.format(2)}."
          in scoreboard.markdown(tmp_path))
  assert "(length 5 and more). | CPU, the last of 2 settings | 1 of 1 (21 to 100 %) | 1 of 3 |" in scoreboard.summary(tmp_path)


def test_the_papers_graphs_are_a_table_of_settings_and_not_of_earlier_ones(tmp_path):
  source = {"command": "pathstar sweep --config=configs/claims/failure.py --workdir=runs/x", "devices": ["cpu:cpu"]}
  made = lambda score, **more: run(num_nodes=50, exact_match_test=score, exact_match_train=score, **{"parameters": 70_000} | more)
  report.write(tmp_path / "a", "a", [made(0.5), made(0.52, seed=1), made(math.nan, seed=2, status="diverged"),
                                     made(0.7, parameters=900_000), made(1.0, order="reversed")], [], source)
  report.write(tmp_path / "b", "b", [made(0.9)], [], source | {"superseded_by": "a"})
  line = next(line for line in scoreboard.graphs(tmp_path).splitlines() if line.startswith("| G(2,5) | small |"))
  assert line == "| G(2,5) | small | 0.51 (2); 0.70 (1) | 1.00 (1) |  |  |"


def test_what_is_said_by_hand_of_a_report_stays_and_a_benchmark_is_no_report(tmp_path):
  out = tmp_path / "some"
  report.write(out, "some", [run()], [], {"command": "x"})
  workdir.write_json(out / "provenance.json", {"command": "x", "note": "by hand", "superseded_by": "other"})
  report.write(out, "some", [run()], [], {"command": "y"})
  assert workdir.read_json(out / "provenance.json") == {"command": "y", "note": "by hand", "superseded_by": "other"}
  kept = {file: file.read_bytes() for file in out.iterdir()}
  with pytest.raises(UserError, match="holds a report of runs; must be another folder"):
    compare.write(out, [])
  assert {file: file.read_bytes() for file in out.iterdir()} == kept
  (out / "curves.csv").unlink()
  with pytest.raises(UserError, match="holds a benchmark; must be another folder"):
    report.write(out, "some", [run()], [], {})


def test_lengths_are_told_apart_where_they_decide(tmp_path):
  plans = {"length": 4, "problem": "G(2,4)", "exact_match_test": 0.9, "exact_match_train": 0.9}
  runs = [run(), run(seed=1), run(**plans), run(**plans, seed=1)]
  claim = claims.CLAIMS[0]
  assert {name: (one.held, one.of) for name, one in claims.lots(claim, runs).items()} == {"length 5 and more": (2, 2), "length 4": (0, 2)}
  assert claims.lots(claims.CLAIMS[1], runs).keys() == {""}


@pytest.mark.parametrize("values, scale", [
    ({}, SMALL), ({"num_nodes": 50}, GRAPHS), ({"num_nodes": 100, "degree": 20}, GRAPHS), ({"num_nodes": 49}, SMALL),
    ({"num_nodes": 50, "length": 4}, SMALL), ({"num_nodes": 50, "length": 4, "parameters": 21_000_000}, PAPER),
    ({"parameters": 21_000_000}, SMALL), ({"num_nodes": math.nan, "degree": "", "length": "", "parameters": 21_000_000}, PAPER),
    ({"num_nodes": math.nan, "degree": "", "length": ""}, SMALL)])
def test_the_scale_of_a_run_goes_by_graph_node_ids_and_model(values, scale):
  assert scale_of(run(**{"parameters": 70_000} | values)) == scale


def test_a_claim_has_a_line_for_each_scale_even_within_one_report(tmp_path):
  source = {"command": "pathstar sweep --config=configs/claims/failure.py --workdir=runs/x", "devices": ["cpu:cpu"]}
  fails, plans = {}, {"exact_match_test": 0.9, "exact_match_train": 0.9}
  report.write(tmp_path / "a", "a", [run(num_nodes=50, parameters=70_000, **plans), run(num_nodes=100, parameters=70_000, **fails),
                                     run(num_nodes=50, parameters=2e7, **fails), run(**fails)], [], source)
  report.write(tmp_path / "b", "b", [run(num_nodes=50, parameters=70_000, **fails)], [], source | {"command": "of no claim"})
  lines = [line.split("|")[3:6] for line in scoreboard.summary(tmp_path, "x").splitlines() if line.startswith("| [1]")]
  assert [[cell.strip() for cell in cells] for cells in lines] == [
      ["CPU", "1 of 1", ""], ["the paper's graphs, small model, CPU", "1 of 2", "1 of 1"], ["the paper's scale, CPU", "1 of 1", ""]]
  assert "**1 of 2 (9 to 91 %) agree at length 5 and more**. The paper's graphs, small model, CPU, 2 runs" in scoreboard.markdown(tmp_path)


def test_a_report_of_several_sweeps_names_the_command_of_each_and_is_made_for_the_claims_of_each(tmp_path):
  folders = [tmp_path / name for name in ("failure", "targets")]
  shared = {"commit": "abc", "devices": ["cpu:cpu"], "cpu": "2 cores", "python": "3", "packs": {}}
  for folder in folders:
    folder.mkdir()
    workdir.write_json(folder / "sweep.json", shared | {"command": f"pathstar sweep --config=configs/claims/{folder.name}.py:scale=graphs"})
  source = report.provenance(folders)
  runs = [run(), run(order="reversed", exact_match_test=1.0)]
  page = report.readme("both", runs, source, [], claims.verdicts(runs, source), 24)
  assert page.count("- command: ") == 2 and page.count("- commit: `abc`") == page.count("- hardware: ") == 1
  assert "**Claim 1.**" in page and "**Claim 6.**" in page
  alone = report.provenance(folders[:1])
  assert "others" not in alone and "**Claim 6.**" not in report.readme("one", runs, alone, [], claims.verdicts(runs, alone), 24)


def test_architectures_are_compared_wherever_several_ran_on_one_problem(tmp_path):
  source = {"command": "pathstar sweep --config=configs/claims/failure.py --workdir=runs/x", "devices": ["cpu:cpu"]}
  other = {"problem": "G(10,5)", "degree": 10, "exact_match_test": 0.9}  # on which a transformer alone ran
  made = lambda runs: [one.word for one in claims.verdicts(runs, source) if one.claim.number == "8"]
  assert made([run(), run(architecture="mamba"), run(**other)]) == ["held in 2 of 2"]
  assert made([run(), run(**other)]) == []


def test_a_report_whose_curves_are_compressed_is_on_the_scoreboard(tmp_path, monkeypatch):
  monkeypatch.setattr(report, "_LARGE", 1)
  report.write(tmp_path / "a", "a", [run()], [], {"command": "pathstar sweep --config=failure"})
  assert (tmp_path / "a" / "curves.csv.gz").exists() and "1 of 1" in scoreboard.summary(tmp_path)


def test_the_interval_of_a_rate_is_wilsons():
  """Against the one of scipy."""
  for held, of in ((0, 1), (1, 1), (3, 12), (12, 12), (93, 113)):
    want = scipy.stats.binomtest(held, of).proportion_ci(method="wilson")
    np.testing.assert_allclose(claims.interval(held, of), (want.low, want.high), atol=1e-6)


def test_a_scoreboard_of_nothing_is_refused(tmp_path):
  with pytest.raises(UserError, match="holds no report"):
    report_command.main([f"--scoreboard={tmp_path}"])
