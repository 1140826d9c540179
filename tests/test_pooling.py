"""Runs are pooled over the seed alone, in every table, figure and verdict; every other field in which they differ tells them apart."""

import csv
import gzip
import math
import os

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from pathstar import config
from pathstar.commands import cli
from pathstar.commands import report as report_command
from pathstar.errors import UserError
from pathstar.reports import checks, claims, figures, report, summary
from pathstar.reports.claim_figures import ALL as CLAIM_FIGURES
from pathstar.reports.collect import COLUMNS, collect, thinned
from pathstar.reports.csv_files import as_read, find_csv, read_csv, write_csv
from pathstar.reports.rows import apart, groups, on_grid, split, titles
from pathstar.storage import workdir
from pathstar.sweeps.folder import prepare
from pathstar.sweeps.packs import plan
from pathstar.training import tensorboard

RATES = [{"optimizer.learning_rate": rate, "seed": seed} for rate in (1e-5, 1e-2) for seed in (0, 1)]
solved_at = lambda cell: float(cell["optimizer.learning_rate"] > 1e-3)


def test_two_learning_rates_are_two_rows_and_not_a_guess(made):
  runs, _, _ = collect([made(RATES, score=solved_at)])
  lines = report.markdown(runs).splitlines()
  assert "| learning_rate |" in lines[0] and len(lines) == 4
  assert "| 1e-05 | 0.000 | 0.000 0.000 | 0 of 2 |" in lines[2] and "| 0.01 | 1.000 | 1.000 1.000 | 2 of 2 |" in lines[3]
  held, of, said, _ = checks.fails(runs)
  assert (held, of) == (0, 4) and "learning_rate 1e-05" in said and "learning_rate 0.01" in said


def test_every_field_in_which_runs_differ_is_a_column_and_the_csv_has_every_metric(made, tmp_path):
  cells = [{"optimizer.learning_rate": 1e-3, "optimizer.clip_norm": None}, {"optimizer.learning_rate": 1e-3},
           {"objective.name": "multi_token", "objective.k": 3}, {"train.checkpoint_every": 20}]
  folder = made(cells)
  assert cli.run(report_command.main, [f"--workdir={folder}", f"--out={tmp_path / 'out'}"]) == 0
  with open(tmp_path / "out" / "runs.csv") as file:
    rows = list(csv.DictReader(file))
  assert {"optimizer.clip_norm", "objective.k", "optimizer.learning_rate", "own/metric", "folder", "status",
          "parameters_used"} <= rows[0].keys()
  assert "train.checkpoint_every" not in rows[0] and {row["source"] for row in rows} == {str(folder)}  # it computes the same
  assert {row["optimizer.clip_norm"] for row in rows} == {"None", "1"} and {row["objective.k"] for row in rows} == {"", "3"}
  assert {row["length"] for row in rows} == {"4"} and {row["eval/length"] for row in rows} == {"99"}  # a column keeps its meaning
  assert {row["position_bias"] for row in rows} == {"0.125"}
  assert {row["own/metric"] for row in rows} == {"0.25"} and all((folder / row["folder"]).is_dir() for row in rows)
  # Read again from the CSV, runs fall into the same groups.
  direct, _, _ = collect([folder])
  again = read_csv(tmp_path / "out" / "runs.csv")
  assert [len(g) for g in groups(again).values()] == [len(g) for g in groups(direct).values()]
  assert (tmp_path / "out" / "table.md").read_text() == report.markdown(again)


def test_node_ids_are_not_pooled(made):
  cells = [{"task.degree": d, "task.length": n, "task.num_nodes": ids, "seed": s}
           for d in (2, 3) for n in (4, 5) for ids in (14, 20) for s in (0, 1)]
  runs, curves, _ = collect([made(cells, score=lambda cell: 0.2 if cell["task.num_nodes"] == 14 else 0.8)])
  assert len(groups(runs)) == 8
  figure = figures.heat_map(runs)
  drawn = [axes for axes in figure.axes if axes.get_visible()]
  assert {axes.get_title() for axes in drawn} == {f"next_token, transformer\n{ids} node ids" for ids in (14, 20)}
  for axes in drawn:
    want = "0.20" if "14" in axes.get_title() else "0.80"
    assert len(axes.texts) == 4 and all(text.get_text().startswith(want) for text in axes.texts)
  for name, make in (figures.ALL | CLAIM_FIGURES).items():
    if (figure := make(runs, curves)) is not None and name in ("positions", "timeline", "snowball"):
      shown = [axes.get_title() for axes in figure.axes if axes.get_visible()]
      assert len(set(shown)) == len(shown), name  # every panel says what it is


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.number)
def test_every_verdict_counts_runs_of_different_settings_apart(made, claim):
  cells = [cell | {"task.length": n, "task.num_nodes": 14} for n in (4, 5) for cell in RATES]
  alone = [claims.verdict(claim, collect([made([c for c in cells if c["optimizer.learning_rate"] == rate], f"rate{rate}", solved_at)])[0])
           for rate in (1e-5, 1e-2)]
  both = claims.verdict(claim, collect([made(cells, "both", solved_at)])[0])
  assert (both.held, both.of) == (sum(one.held for one in alone), sum(one.of for one in alone))


def test_settings_are_told_apart_in_words():
  row = dict.fromkeys(COLUMNS, "") | {"objective": "next_token", "order": "forward", "problem": "G(2,5)", "architecture": "mamba",
                                      "num_train": 1000, "num_nodes": 50, "parameters": 5000}
  runs = [row | {"optimizer.learning_rate": rate, "train.num_steps": steps, "objective": name}
          for rate, steps, name in ((0.1, 10, "next_token"), (0.2, 10, "next_token"), (0.1, 20, "teacherless"))]
  assert apart(runs) == ["method", "optimizer.learning_rate", "train.num_steps"]
  assert apart(runs, "method") == ["optimizer.learning_rate"]  # a budget of its own does not tell a method's runs apart
  assert list(split(runs[:2], "method")) == ["learning_rate 0.1", "learning_rate 0.2"] and list(split(runs[:1])) == [""]
  assert sorted(titles(groups(runs)).values()) == [
      "next_token, mamba, G(2,5)\nlearning_rate 0.1", "next_token, mamba, G(2,5)\nlearning_rate 0.2", "teacherless, mamba, G(2,5)"]
  nan = [row | {"num_train": math.nan}, row | {"num_train": float("nan")}]
  assert len(groups(nan)) == 1


def test_a_run_found_twice_counts_once_and_is_said(made, tmp_path, capsys):
  a, b = made(RATES[:2], "a"), made(RATES[1:], "b")
  (tmp_path / "b" / "link").symlink_to(a)
  assert cli.run(report_command.main, [f"--workdir={a}", f"--workdir={b}", f"--out={tmp_path / 'out'}"]) == 0
  assert "are found twice and count once" in capsys.readouterr().err
  rows = read_csv(tmp_path / "out" / "runs.csv")
  assert len(rows) == 4 and {row["source"] for row in rows} == {str(a), str(b)}
  assert cli.run(report_command.main, [f"--workdir={a}", f"--workdir={b}"]) == 2


def test_runs_of_one_name_have_curves_of_their_own(made, tmp_path):
  for folder, seed in (("x", 0), ("y", 1)):
    made([{"seed": seed}], f"all/{folder}")
    (tmp_path / "all" / folder / f"seed={seed}").rename(tmp_path / "all" / folder / "same")
  runs, curves, _ = collect([tmp_path / "all"])
  assert len({row["run_id"] for row in runs}) == 2 == len({row["run_id"] for row in curves})


def test_endless_data_is_no_number_of_passes(made):
  [run], *_ = collect([made([{"data.num_train": None}])])
  assert math.isnan(run["epochs"]) and "| endless |  | 20 |" in report.markdown([run])


def test_curves_are_thinned_and_compressed_and_whole_where_asked(made, tmp_path, monkeypatch):
  folder = made([{"seed": 0}], steps=10_000)
  thin, whole = (collect([folder], most).curves for most in (200, None))
  at = lambda curves: [row["step"] for row in curves if row["position"] == "answer"]
  assert len(at(whole)) == 1001 and len(at(thin)) == 200 and at(thin)[0] == 0 and at(thin)[-1] == 10_000
  assert {row["position"] for row in thin} == {0, 1, 2, 3, "cheat", "answer", "answer_train", "training"}
  gaps = [b - a for a, b in zip(at(thin), at(thin)[1:])]
  assert max(gaps) <= 2 * min(gaps) + 10
  monkeypatch.setattr(report, "_LARGE", 1000)
  assert cli.run(report_command.main, [f"--workdir={folder}", f"--out={tmp_path / 'out'}"]) == 0
  assert find_csv(tmp_path / "out", "curves").name == "curves.csv.gz" and not (tmp_path / "out" / "curves.csv").exists()
  assert gzip.open(find_csv(tmp_path / "out", "curves"), "rt").readline() == "run_id,step,position,accuracy,loss\n"
  assert cli.run(report_command.main, [f"--out={tmp_path / 'out'}"]) == 0  # drawn again from it


def test_thinning_keeps_the_ends_and_what_is_rare():
  rows = [{"step": s, "train/loss": 1.0} | ({"eval/test/loss": 1.0} if s % 100 == 0 else {}) for s in range(1001)]
  kept = [row["step"] for row in thinned(rows, 50)]
  assert kept[0] == 0 and kept[-1] == 1000 and {s for s in range(0, 1001, 100)} <= set(kept) and len(kept) <= 100
  assert thinned(rows, None) == rows and thinned([], 5) == []


@pytest.mark.parametrize("file, text", [
    (workdir.CONFIG, "{"), (workdir.CONFIG, "[]"), (workdir.RESULT, ""), (workdir.RESULT, "{}"), (workdir.METRICS, "{}\n{}\n"),
    (workdir.CONFIG, None),
])
def test_one_damaged_run_is_named_and_the_others_are_reported(made, capsys, file, text):
  folder = made(RATES)
  broken = sorted(folder.iterdir())[1]
  (broken / file).unlink() if text is None else (broken / file).write_text(text)
  runs, _, _ = collect([folder])
  said = capsys.readouterr().err
  assert len(runs) == 3 and "1 runs are damaged and left out" in said and str(broken) in said


def test_a_folder_without_runs_is_refused(tmp_path):
  with pytest.raises(UserError, match="holds no finished run"):
    collect([tmp_path])


def test_the_last_lines_of_a_sweep_say_what_came_out(made, monkeypatch):
  cells = [{"objective.order": order, "seed": seed} for order in ("forward", "reversed") for seed in (0, 1)]
  runs = as_read(collect([made(cells, score=lambda cell: 0.5 if cell["objective.order"] == "forward" else 1.0)])[0])
  monkeypatch.setenv("COLUMNS", "80")
  said = summary.lines(runs, ["pathstar report --workdir=x", "and more"])
  assert all(len(line) <= 80 for line in said)
  items, label = {}, ""
  for line in said:
    label = line[:10].strip() or label
    items[label] = items.get(label, "") + " " + line[10:]
  items = {label: " ".join(text.split()) for label, text in items.items()}
  assert items.pop("claims").startswith("1 the arm is a guess, on train too: held in 2 of 2; 2 a wrong arm is followed: held in 2 of 2; ")
  assert items == {
      "trained": "4 runs: transformer on G(2,4); next_token, reversed; seeds 0, 1",
      "result": "exact match on held-out problems, every seed: next_token 0.500 0.500 reversed 1.000 1.000",
      "chance": "0.5; forced onto a wrong arm, next_token, reversed follows it in 1.00 of its steps",
      "more": "pathstar report --workdir=x and more"}
  many = as_read(collect([made([{"optimizer.learning_rate": 1e-3 * k, "seed": 0} for k in range(1, 15)], "many")])[0])
  assert "reaches 0.95 in: next_token 0 of 14" in "\n".join(summary.lines(many))


def test_claims_that_compare_are_told_where_there_is_something_to_compare(made):
  alone = [{"task.length": 4, "task.num_nodes": 14, "seed": s} for s in (0, 1)]
  told = lambda cells, name: " ".join(" ".join(summary.lines(as_read(collect([made(cells, name)])[0]))).split())  # however it is wrapped
  assert "9a " not in told(alone, "alone") and "8 all" not in told(alone, "again")
  assert "9a errors do not snowball: " in told([*alone, {"task.length": 8, "task.num_nodes": 15, "seed": 0}], "lengths")


def test_lengths_of_several_widths_are_compared_width_by_width(made):
  cells = [{"model.width": width, "task.length": length, "task.num_nodes": 10 + length} for width in (16, 32) for length in (3, 4)]
  runs = [row | {"parameters": 100 * number} for number, row in enumerate(as_read(collect([made(cells)])[0]))]
  assert {title: {row["length"] for row in lot} for title, lot in split(runs, "length").items()} == {"width 16": {3, 4}, "width 32": {3, 4}}


def test_what_a_mixer_has_fields_for_is_told_by_its_name(made):
  cells = [{"model.mixer": mixer, "task.length": n, "task.num_nodes": 14} for mixer in ("attention", "mamba") for n in (3, 4)]
  runs = as_read(collect([made(cells)])[0])
  assert list(split([row for row in runs if row["length"] == 3], "length")) == ["mamba", "transformer"]
  names = {f"next_token\nG(2,{n}), {name}" for n in (3, 4) for name in ("mamba", "transformer")}
  assert set(titles(groups(runs), "method").values()) == names


def test_hyperparameters_shown_are_those_that_differ_and_metrics_those_that_all_have(tiny, tmp_path):
  base = config.override(config.default(), tiny.fields)
  shown, columns = {}, {}
  for name, cells in {"all": [{"seed": 0}, {"seed": 1}], "mixed": [{"seed": 0}, {"objective.name": "teacherless"}],
                      "added": [{"task.name": "addition", "data.num_test": 40}, {"seed": 0}]}.items():
    prepare(tmp_path / name, plan(base, cells))
    [file] = (tmp_path / name).rglob("*tfevents*")  # in a run's own folder: one elsewhere would be an empty run
    assert file.parent.parent == tmp_path / name / "runs"
    metadata = EventAccumulator(str(file.parent)).Reload().SummaryMetadata("_hparams_/experiment")
    experiment = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content).experiment
    shown[name] = {info.name.tag for info in experiment.metric_infos}
    columns[name] = [info.name for info in experiment.hparam_infos]
  everything = set(map(tensorboard.tag_of, tensorboard.HPARAM_METRICS))
  assert shown == {"all": everything, "mixed": everything - {"cheat/test/cheat_accuracy"},
                   "added": everything - {"cheat/test/cheat_accuracy", "branch/test/branch_accuracy"}}
  assert columns["all"] == ["method", "topology", "seed"] and columns["mixed"] == ["method", "topology"]


def test_one_field_in_which_runs_differ_says_more_than_their_number_of_parameters(made):
  heads = [{"objective.name": "multi_token", "objective.k": k, "task.num_nodes": 14} for k in (1, 2)]
  runs = [row | {"parameters": 100 * row["objective.k"]} for row in as_read(collect([made(heads)])[0])]
  assert [title.partition("\n")[2] for title in titles(groups(runs)).values()] == ["k 1", "k 2"]
  [axes] = figures.exact_match(runs).axes
  assert [label.get_text().split("\n")[2:] for label in axes.get_xticklabels()] == [["k 1"], ["k 2"]]


def test_arms_of_several_lengths_are_on_no_map(made):
  cells = [{"task.degree": degree, "task.length": length, "task.num_nodes": 14} for degree in (2, 3) for length in (3, 4)]
  runs = as_read(collect([made([*cells, {"task.length": 4, "task.min_length": 3, "task.num_nodes": 14}])])[0])
  [unequal] = [row for row in runs if row["problem"] == "G(2,3-4)"]
  assert unequal not in on_grid(runs) and len(on_grid(runs)) == 4
  assert claims.by_length(unequal) == "arms of several lengths"


def test_numbers_that_differ_and_texts_that_look_like_numbers_are_kept_apart():
  rates = [{"optimizer.learning_rate": rate, "optimizer.schedule": word, "loss": 1 / 3}
           for rate, word in ((0.00123456, "1e3"), (0.001234561, "1000"), (5e-5, "nan"))]
  again = as_read(rates)
  assert [row["optimizer.learning_rate"] for row in again] == [0.00123456, 0.001234561, 5e-5]
  assert [row["optimizer.schedule"] for row in again] == ["1e3", "1000", "nan"] and again[0]["loss"] == 0.333333


def test_a_metric_with_a_dot_in_its_name_is_no_field(made):
  runs = [row | {"nucleus_0.9": 0.1 * number} for number, row in enumerate(as_read(collect([made([{"seed": s} for s in (0, 1)])])[0]))]
  assert len(groups(runs)) == 1 and "| 9 |" not in report.markdown(runs)


def test_where_no_arm_has_an_inner_node_the_cheat_is_not_asked_for(made):
  cells = [{"model.mixer": mixer, "task.length": 3, "task.num_nodes": 14, "seed": 0} for mixer in ("attention", "mamba")]
  runs = [row | {"cheat_accuracy": math.nan} for row in as_read(collect([made(cells)])[0])]
  assert checks.any_architecture(runs)[:2] == (2, 2)
  early = lambda score: checks.is_early(runs[0] | {"exact_match_test": score})
  assert early(0.0) and not early(0.5) and not early(1.0)


def test_chances_that_read_alike_are_told_once(made):
  runs = as_read(collect([made([{"task.degree": 2, "task.length": n, "task.num_nodes": 14} for n in (3, 4)] + [{"task.degree": 3}])])[0])
  runs = [row | {"chance": row["chance"] + 1e-4 * (row["length"] == 3)} for row in runs]
  assert "0.5 on G(2,3), G(2,4); 0.33 on G(3,4)" in " ".join(" ".join(summary.lines(runs)).split())


def test_dollars_bars_and_bytes_in_names_end_no_report(made, tmp_path, capsys):
  folder = made([{"task.name": "addition", "data.num_test": 40, "seed": 0}])
  [one] = folder.iterdir()
  os.rename(os.fsencode(one), os.fsencode(folder) + b"/a_{$|\xff")
  assert cli.run(report_command.main, [f"--workdir={folder}", f"--out={tmp_path / 'out'}"]) == 0
  runs = [row | {"problem": "sum $a_{$ | $$"} for row in read_csv(tmp_path / "out" / "runs.csv")]
  write_csv(tmp_path / "out" / "runs.csv", list(runs[0]), runs)
  assert cli.run(report_command.main, [f"--out={tmp_path / 'out'}"]) == 0
  assert r"| sum $a_{$ \| $$ |" in (tmp_path / "out" / "README.md").read_text()


def test_no_run_that_a_report_alone_has_is_lost(made, tmp_path, capsys):
  first, second = made([{"seed": 0}], "a"), made([{"seed": 1}], "b")
  command = lambda *folders: cli.run(report_command.main, ["--quiet", f"--out={tmp_path / 'out'}", *(f"--workdir={f}" for f in folders)])
  assert command(first, second) == 0 == command(first) == command(first, second)  # it can be made again
  second.rename(tmp_path / "gone")
  assert command(first) == 2 and f"--workdir={tmp_path / 'out'} beside the others keeps them" in capsys.readouterr().err
  assert len(read_csv(tmp_path / "out" / "runs.csv")) == 2 and command(first, tmp_path / "out") == 0
  assert len(read_csv(tmp_path / "out" / "runs.csv")) == 2
