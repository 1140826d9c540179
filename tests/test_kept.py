"""A report that is added to: what it keeps of runs whose folders are gone is enough, is checked, and is not lost."""

import csv

import pytest

from pathstar.commands import cli
from pathstar.commands import report as report_command
from pathstar.reports import report
from pathstar.reports.csv_files import read_csv
from pathstar.storage import workdir


def report_of(out, *folders, more=()) -> int:
  return cli.run(report_command.main, [*(f"--workdir={folder}" for folder in folders), f"--out={out}", "--quiet", *more])


def as_text(file) -> list[dict]:
  with open(file) as opened:
    return list(csv.DictReader(opened))


def killed_at(monkeypatch, name: str) -> None:
  """The next report's writing stops before its file of this name."""
  write = report.write_csv

  def stop(path, *args, **kwargs):
    if path.name == name:
      monkeypatch.undo()
      raise OSError("disk full")
    write(path, *args, **kwargs)

  monkeypatch.setattr(report, "write_csv", stop)


@pytest.mark.parametrize("killed", ["curves.csv", "runs.csv"])
def test_a_report_in_two_parts_is_the_report_of_both(made, tmp_path, monkeypatch, killed):
  """The first part's folders may be gone by then: what it keeps is enough, also for fields in which its own runs did not differ."""
  parts = [made([cell | {"optimizer.learning_rate": rate} for cell in (
      {"seed": 0}, {"seed": 1}, {"task.length": 5, "task.num_nodes": 20}, {"objective.name": "multi_token", "objective.k": 2})], name)
      for rate, name in ((1e-3, "a"), (1e-2, "b"))]
  whole, grown = tmp_path / "whole", tmp_path / "grown"
  assert report_of(whole, *parts) == report_of(grown, parts[0]) == 0
  (tmp_path / "a").rename(tmp_path / "gone")
  killed_at(monkeypatch, killed)
  with pytest.raises(OSError, match="disk full"):
    report_of(grown, grown, parts[1])
  assert len(read_csv(grown / "runs.csv")) == 4  # as before
  assert report_of(grown, grown, parts[1]) == report_of(grown, parts[1], grown, grown) == 0
  for name in ("runs.csv", "curves.csv", "table.md", "configs.json"):
    assert (grown / name).read_text() == (whole / name).read_text()


def test_runs_called_alike_stay_apart_as_a_report_grows(tmp_path, made, monkeypatch):
  def one(seed: int):
    folder = made([{"seed": seed}], f"part{seed}")
    (folder / f"seed={seed}").rename(folder / "001")
    return folder
  out = tmp_path / "out"
  for seed in range(4):
    part = one(seed)
    if seed == 2:  # a folder's name, used again
      (part / "001").rename(tmp_path / "part0" / "002")
      (tmp_path / "part0" / "001").rename(tmp_path / "first")
      (tmp_path / "part0" / "002").rename(tmp_path / "part0" / "001")
      part = tmp_path / "part0"
    before = {row["seed"]: row["run_id"] for row in as_text(out / "runs.csv")} if seed else {}
    if seed == 3:
      killed_at(monkeypatch, "runs.csv")
      with pytest.raises(OSError, match="disk full"):
        report_of(out, part, out)
    assert report_of(out, *[part, out][:2 if seed else 1]) == 0
    rows = as_text(out / "runs.csv")
    assert [row["seed"] for row in rows] == [str(number) for number in range(seed + 1)]
    names = {row["run_id"] for row in rows}
    assert names == {row["run_id"] for row in as_text(out / "curves.csv")} and len(names) == seed + 1
    assert all(row["run_id"] == before[row["seed"]] for row in rows if row["seed"] in before)  # a name that was given stays


def test_a_report_that_does_not_say_what_its_runs_were_is_not_added_to(made, tmp_path, capsys):
  folder, out = made([{"seed": 0, "optimizer.learning_rate": 0.01}, {"seed": 0, "optimizer.learning_rate": 0.02}]), tmp_path / "out"
  assert report_of(out, folder) == 0
  kept = {name: (out / name).read_text() for name in ("configs.json", "runs.csv", "curves.csv", "provenance.json")}
  lines = kept["runs.csv"].splitlines(keepends=True)
  cut = lambda name, old, new: (name, kept[name].replace(old, new))
  for (name, changed), said in (
      (cut("configs.json", '"seed": 0', '"seed": 1'), "seed = 1: is 0 in runs.csv"),
      (cut("configs.json", '"task.degree": 2', '"task.degree": 3'), "problem = 'G"),
      (cut("configs.json", '.learning_rate": 0.02', '.learning_rate": 0.05'), "optimizer.learning_rate = 0.05: is 0.02 in runs.csv"),
      (cut("configs.json", '"task.degree"', '"task.degrees"'), "a field that this version of pathstar doesn't know"),
      (("configs.json", '{"shared": {}, "runs": {}}'), "must have the configs of the 2 runs"),
      (("configs.json", "{"), "can't be read as JSON"),
      (("configs.json", '{"shared": {}, "runs": {"a": 3}}'), "must have the configs"),
      (("runs.csv", "".join([*lines, lines[1]])), "must have the configs"), (("runs.csv", kept["runs.csv"][:-200]), "is damaged"),
      (("runs.csv", kept["runs.csv"].rstrip("\n") + ",99\n"), "can't be read"), (cut("runs.csv", "run_id", "run"), "is no report of runs"),
      (cut("curves.csv", "position", "place"), "has no column position"), (("curves.csv", kept["curves.csv"][:-2]), "is cut off"),
      (("provenance.json", '{"others": 3}'), "must be a list of objects")):
    assert changed != kept[name]
    (out / name).write_text(changed)
    assert report_of(tmp_path / "more", out) == 2 and said in capsys.readouterr().err, said
    (out / name).write_text(kept[name])
  (out / "runs.csv").write_text("".join(lines[:2]))
  assert report_of(tmp_path / "more", out) == 0 and "1 runs of configs.json are not in runs.csv" in capsys.readouterr().err
  (out / "runs.csv").write_text(kept["runs.csv"])
  assert report_of(out, out, more=["--only=optimizer.learning_rate=0.01"]) == 2 and "would drop the other runs" in capsys.readouterr().err
  assert cli.run(report_command.main, [f"--workdir={out}"]) == 2 and "give --out" in capsys.readouterr().err
  (out / "configs.json").unlink()
  assert report_of(tmp_path / "more", out) == 2 and "of an earlier version" in capsys.readouterr().err
  assert (out / "runs.csv").read_text() == kept["runs.csv"]


def test_a_note_goes_with_the_runs_and_a_folder_that_gives_nothing_is_said(made, tmp_path, capsys):
  a, b = made([{"seed": 0}], "a"), made([{"seed": 1}], "b")
  (tmp_path / "empty").mkdir()
  assert report_of(tmp_path / "one", a) == 0
  workdir.write_json(tmp_path / "one" / "provenance.json", {"command": "x", "note": "by hand", "superseded_by": "other"})
  assert report_of(tmp_path / "both", tmp_path / "one", b, tmp_path / "empty") == 0
  assert "empty': holds no finished run" in capsys.readouterr().err
  source = workdir.read_json(tmp_path / "both" / "provenance.json")
  assert source["note"] == "by hand" and source["command"] == "x" and "superseded_by" not in source
