"""Reports and the scoreboard: from rows made up for the purpose, and from what is committed under results/."""

import math
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest
from failing_run import run
from matplotlib.image import imread

from pathstar.commands import cli
from pathstar.commands import report as report_command
from pathstar.errors import UserError
from pathstar.pricing import compare
from pathstar.reports import claims, report, scoreboard
from pathstar.reports.csv_files import read_csv, write_csv
from pathstar.reports.scale import GRAPHS, PAPER, SMALL, scale_of
from pathstar.storage import workdir

ROOT = pathlib.Path(__file__).parent.parent
SOME = ("failure", "grid", "scaling")  # that the fast tests look at too
REPORTS = sorted(folder.parent for folder in (ROOT / "results").glob("*/runs.csv"))


def test_a_table_survives_its_csv_file(tmp_path):
  rows = [run(), run(seed=1, branch_step=None, exact_match_test=1 / 3)]
  write_csv(tmp_path / "runs.csv", report.COLUMNS, rows)
  again = read_csv(tmp_path / "runs.csv")
  assert again[0]["problem"] == "G(2,5)" and again[0]["steps"] == 100 and math.isnan(again[1]["branch_step"])
  assert again[1]["exact_match_test"] == pytest.approx(1 / 3, rel=1e-5)
  assert report.markdown(again) == report.markdown(rows)


@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder.name, marks=() if folder.name in SOME else pytest.mark.slow)
                                    for folder in REPORTS])
def test_committed_results_are_what_their_csv_files_say(folder, tmp_path, monkeypatch):
  """The command that every README names draws the same table, README and figures again, from the CSV files alone."""
  (tmp_path / "results").mkdir()
  monkeypatch.chdir(tmp_path)
  out = pathlib.Path("results") / folder.name
  out.mkdir()
  for file in (*folder.glob("*.csv*"), *folder.glob("*.json")):
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
  reports = scoreboard.read(results)
  board = scoreboard.markdown(reports)
  assert board in (results / "README.md").read_text()
  assert scoreboard.summary(reports) in (results / "README.md").read_text()
  assert scoreboard.overview(reports, "results/README.md") in (ROOT / "README.md").read_text()
  assert scoreboard.held_out(reports) in " ".join((ROOT / "README.md").read_text().split())
  linked = re.findall(r"\]\(([^)#]+)\)", board)
  for number in re.findall(r"\(#claim-(\w+)\)", scoreboard.summary(reports)):
    assert f'<a id="claim-{number}"></a>' in board
  assert linked and all((results / link).exists() for link in linked)


def test_every_report_of_a_claims_config_has_a_line(tmp_path):
  for folder, device in (("failure", "cpu:cpu"), ("failure_paper", "gpu:NVIDIA H200")):
    report.write(tmp_path / folder, folder, [run()], [], {
        "command": "pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/x", "devices": [device]})
  lines = [line for line in scoreboard.summary(scoreboard.read(tmp_path)).splitlines() if line.startswith("| [1]")]
  assert len(lines) == 2 and all("| 1 of 1 (21 to 100 %) |" in line for line in lines)
  where = [f"| [{name}]({name}/README.md): {at} |" for name, at in (("failure", "CPU"), ("failure_paper", "NVIDIA H200"))]
  assert where[0] in lines[0] and where[1] in lines[1]
  board = scoreboard.markdown(scoreboard.read(tmp_path))
  assert "NVIDIA H200, 1 runs" in board and "| G(2,5) | 0.50; on train 0.50 | 1 of 1 (21 to 100 %) | 48 to 50 % |" in board
  line = "| [12](#claim-12) | Teacherless training learns addition from fewer examples. |  | no report of its own |  |"
  assert line in scoreboard.summary(scoreboard.read(tmp_path))


def test_other_reports_and_earlier_settings_are_counted_by_the_same_check(tmp_path):
  source = lambda name: {"command": f"pathstar sweep --config=configs/claims/{name}.py:scale=cpu --workdir=runs/x", "devices": ["cpu:cpu"]}
  guess, plans = run(), run(exact_match_test=0.9, exact_match_train=0.9)
  report.write(tmp_path / "failure", "failure", [guess], [], source("failure"))
  report.write(tmp_path / "failure_first", "failure_first", [plans], [], source("failure") | {"superseded_by": "failure"})
  report.write(tmp_path / "timeline", "timeline", [guess, plans], [], source("timeline"))
  at = "of {} at length 5 and more"
  assert (f"[failure_first](failure_first/README.md) 0 {at.format(1)}; [timeline](timeline/README.md) 1 {at.format(2)}."
          in scoreboard.markdown(scoreboard.read(tmp_path)))
  told = scoreboard.summary(scoreboard.read(tmp_path))
  assert "(length 5 and more). | [failure](failure/README.md): CPU, the last of 2 settings | 1 of 1 (21 to 100 %) | 1 of 3 |" in told


def test_how_many_runs_on_long_paths_are_above_a_guess_is_counted_on_held_out_problems(tmp_path):
  rows = [run(), run(seed=1, exact_match_train=0.9), run(seed=2, exact_match_test=0.1, cheat_accuracy=0.5)]
  rows.append(run(length=4, exact_match_test=0.9))
  report.write(tmp_path / "a", "a", rows, [], {})
  said = re.compile(r"Of all (\d+) runs .* 5 and more where a guess is 1/degree(.*), (.*) above a guess.*not seen(.*)\.$")
  told = lambda: said.search(scoreboard.held_out(scoreboard.read(tmp_path))).groups()
  assert told() == ("3", " (1 before they follow edges)", "none is", "")
  more = [run(exact_match_test=0.6), run(degree=3, problem="G(3,5) inner query", exact_match_test=0.9, chance=0.7)]
  report.write(tmp_path / "side_by_side" / "b", "b", more, [], {})  # wherever it is; a question that may name the first move is another
  assert told() == ("4", " (1 before they follow edges)", "1 is", " (side_by_side/b, G(2,5): 0.60)")
  assert scoreboard.held_out([]) == ""


def test_the_papers_graphs_are_a_table_of_settings_and_not_of_earlier_ones(tmp_path):
  source = {"command": "pathstar sweep --config=configs/claims/failure.py --workdir=runs/x", "devices": ["cpu:cpu"]}
  told = {"cheat_accuracy": 0.99, "legal_mass": 0.9, "branch_entropy": 0.8 * math.log(2), "train_seconds": 60.0, "parameters": 70_000}
  made = lambda score, **more: run(num_nodes=50, exact_match_test=score, exact_match_train=score - 0.1, **told | more)
  report.write(tmp_path / "a", "a", [made(0.5), made(0.52, seed=1), made(math.nan, seed=2, status="diverged"),
                                     made(0.7, parameters=900_000), made(1.0, order="reversed")], [], source)
  report.write(tmp_path / "b", "b", [made(0.9)], [], source | {"superseded_by": "a"})
  line = next(line for line in scoreboard.graphs(scoreboard.read(tmp_path)).splitlines() if line.startswith("| G(2,5) | small |"))
  assert line == ("| G(2,5) | small | [a](a/README.md) | 0.50 | 0.51 (2); 0.70 (1) | 0.41; 0.60 | 0.99; 0.99 | 0.90; 0.90 | 0.80; 0.80 | "
                  "1.00 (1) |  |  | 4 |")


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
  (out / "curves.csv").unlink()  # as a full disk leaves it: it is a report all the same
  with pytest.raises(UserError, match="holds a report of runs; must be another folder"):
    compare.write(out, [])
  report.write(out, "some", [run()], [], {"command": "y"})
  write_csv(out / "runs.csv", compare.COLUMNS, [])
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
  lines = [line.split("|")[3:6] for line in scoreboard.summary(scoreboard.read(tmp_path)).splitlines() if line.startswith("| [1]")]
  rate = {"1 of 1": "1 of 1 (21 to 100 %)", "1 of 2": "1 of 2 (9 to 91 %)"}
  assert [[cell.strip() for cell in cells] for cells in lines] == [
      ["[a](a/README.md): CPU", rate["1 of 1"], ""], ["[a](a/README.md): the paper's graphs, small model, CPU", rate["1 of 2"], "1 of 1"],
      ["[a](a/README.md): the paper's scale, CPU", rate["1 of 1"], ""]]
  [line] = [line for line in scoreboard.overview(scoreboard.read(tmp_path), "x").splitlines() if line.startswith("| [1]")]
  assert line.endswith("(length 5 and more). | 1 of 1 | 1 of 2 + 1 of 1 | 1 of 1 |")
  board = scoreboard.markdown(scoreboard.read(tmp_path))
  assert "**1 of 2 (9 to 91 %) agree at length 5 and more**. The paper's graphs, small model, CPU, 2 runs" in board


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


@pytest.mark.parametrize("config, made", [("failure", True), ("claims/failure:scale=cpu", True), ("/x/configs/claims/failure.py", True),
                                          ("/home/me/failure.py", False), ("mine/failure.py:scale=cpu", False), ("failure_mine", False),
                                          ("failure.py", False), ("configs/failure_mine.py", False), ("~/configs/claims/failure.py", True),
                                          ("/my work/configs/claims/failure.py:scale=cpu,num_seeds=2", True)])
def test_a_report_is_made_for_a_claim_by_its_packaged_config_alone(config, made):
  source = {"command": shlex.join(["pathstar", "sweep", f"--config={config}", "--workdir=runs/x"])}
  assert ("1" in [one.claim.number for one in claims.verdicts([run()], source)]) == made


def test_architectures_are_compared_wherever_several_ran_on_one_problem(tmp_path):
  source = {"command": "pathstar sweep --config=configs/claims/failure.py --workdir=runs/x", "devices": ["cpu:cpu"]}
  other = {"problem": "G(10,5)", "degree": 10, "exact_match_test": 0.9}  # on which a transformer alone ran
  made = lambda runs: [one.word for one in claims.verdicts(runs, source) if one.claim.number == "8"]
  assert made([run(), run(architecture="mamba"), run(**other)]) == ["held in 2 of 2"]
  assert made([run(), run(**other)]) == []


@pytest.mark.parametrize("name, damage, said", [
    ("runs.csv", lambda text: text[:-9], "cut off"),
    ("runs.csv", lambda text: text.replace("problem", "problm", 1), "no column problem"),
    ("runs.csv", lambda text: text.rstrip("\n") + ",1,2\n", "cells under"),
    ("runs.csv", lambda text: text.replace("done", "\udcff"), "decode"),
    ("runs.csv", lambda text: text.replace(",done,", ",,"), "without status"),
    ("runs.csv", lambda text: text.replace(",path_star,", ",,"), "without task"),
    ("runs.csv", lambda text: text.replace(",done,", ",done,many"), "must be a number"),
    ("runs.csv", lambda text: text.splitlines()[0] + "\n", "has no line of a run"),
    ("curves.csv", lambda text: text + "1,2\n", "2 cells under"),
    ("curves.csv", lambda text: "", "cut off"),
])
def test_a_damaged_file_of_a_report_is_named(tmp_path, capsys, name, damage, said):
  out = tmp_path / "all" / "a"
  report.write(out, "a", [run()], [{"run_id": run()["run_id"], "step": 1, "position": 1, "accuracy": 0.5, "loss": 1.0}], {"command": "x"})
  changed = damage((out / name).read_text()).encode(errors="surrogateescape")
  assert changed != (out / name).read_bytes()
  (out / name).write_bytes(changed)
  for words in [f"--out={out}", *[f"--scoreboard={out.parent}"] * (name == "runs.csv")]:
    assert cli.run(report_command.main, [words]) == 2
    told = capsys.readouterr().err
    assert f"{out / name}: " in told and said in told and len(told.splitlines()) == 1


def test_a_report_whose_curves_are_compressed_is_on_the_scoreboard(tmp_path, monkeypatch):
  monkeypatch.setattr(report, "_LARGE", 1)
  report.write(tmp_path / "a", "a", [run()], [], {"command": "pathstar sweep --config=failure"})
  assert (tmp_path / "a" / "curves.csv.gz").exists() and "1 of 1" in scoreboard.summary(scoreboard.read(tmp_path))


def test_a_scoreboard_of_nothing_is_refused(tmp_path):
  with pytest.raises(UserError, match="holds no report"):
    report_command.main([f"--scoreboard={tmp_path}"])
