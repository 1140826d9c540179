"""Training on files in the authors' format is training on drawn data, but for where an example comes from."""

import json

import numpy as np
import pytest

import pathstar
from pathstar import config
from pathstar.commands import cli
from pathstar.commands import eval as eval_command
from pathstar.commands import report as report_command
from pathstar.commands import sample as sample_command
from pathstar.commands import sweep as sweep_command
from pathstar.errors import UserError
from pathstar.reports.csv_files import read_csv
from pathstar.sweeps import packs
from pathstar.tasks import files as task_files
from pathstar.training import data, metrics, train

WHOLE = (slice(None),) * 3
NUMBER = {"train": 60, "test": 40}


@pytest.fixture
def files(tiny, tmp_path):
  """files(**fields) -> the config's examples in two files, as `pathstar sample --out` writes them, as fields of a config."""
  def make(name="", **fields):
    made, found = tiny(fields | {"data.num_train": NUMBER["train"]}), {}
    for split, number in NUMBER.items():
      file = tmp_path / f"{name}{split}.txt"
      file.write_text("\n".join(made.task.to_text(made.task.examples(made.seed, split, np.arange(number)))) + "\n")
      found[f"task.{split}_file"] = str(file)
    return fields | found | {"data.num_train": None, "data.num_test": 10_000}

  return make


def rows(folder):
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(folder)]


@pytest.mark.parametrize("fields", [{}, {"task.degree": 3, "objective.order": "reversed", "seed": 3}, {"objective.name": "teacherless"},
                                    {"task.target": "lookahead"}, {"task.name": "addition"}], ids=lambda fields: "-".join(map(str, fields)))
def test_files_that_sample_writes_give_the_batches_that_are_drawn(tiny, files, fields):
  """Of as many examples and one seed: the same ones, in the same order, epoch after epoch."""
  drawn, read = tiny(fields | {"data.num_train": 60, "data.num_test": 40}), tiny(files(**fields))
  assert (read.data.num_train, read.data.num_test) == (60, 40) and read.steps_per_call == drawn.steps_per_call
  here, there = (data.TrainSource((one,), WHOLE) for one in (read, drawn))
  for record in range(len(here)):  # 160 examples: two epochs and more
    for name, x in there[record].items():
      np.testing.assert_array_equal(here[record][name], x)
  for split in NUMBER:
    for name, x in data.eval_examples(drawn, split).items():
      if name != "arms":  # whose order no file has
        np.testing.assert_array_equal(data.eval_examples(read, split)[name], x)
  assert set(read.fields) - set(drawn.fields) == {"task.train_file", "task.test_file", "task.train_content", "task.test_content"}


@pytest.mark.slow
def test_sample_trains_evaluates_and_reports_as_what_is_drawn(tiny, tiny_file, tmp_path, monkeypatch, killed_at, capsys):
  """By commands alone, a pack of two seeds: every number is that of drawn data; stopped and started again; no file is needed to read it."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "grid.py").write_text(tiny_file.read_text() + "\n\ndef sweep(arg=''):\n  return [{'seed': 0}]\n")
  for split, number in NUMBER.items():
    assert cli.run(sample_command.main, ["--config=grid.py", f"--n={number}", f"--split={split}", f"--out={split}.txt"]) == 0
  common = ["--config=grid.py", "--config.eval.num_examples=40"]
  named = ["--config.task.train_file=train.txt", "--config.task.test_file=test.txt", "--config.data.num_train=None",
           "--config.data.num_test=10_000"]
  assert cli.run(sweep_command.main, [*common, "--config.data.num_train=60", "--workdir=drawn"]) == 0
  with killed_at(15):
    cli.run(sweep_command.main, [*common, *named, "--workdir=read"])
  assert cli.run(sweep_command.main, [*common, *named, "--workdir=read"]) == 0
  [drawn], [read] = (list((tmp_path / name / "runs").iterdir()) for name in ("drawn", "read"))
  for one, other in zip(rows(read), rows(drawn), strict=True):
    summed = [k for k in one if k.endswith("branch_entropy")]  # over arms, whose order no file has
    assert [one.pop(k) for k in summed] == pytest.approx([other.pop(k) for k in summed], rel=1e-5)
    assert one == other
  recorded = json.loads((read / "config.json").read_text())
  assert recorded["task.train_content"].startswith("train.txt:") and recorded["data.num_train"] == 60

  (tmp_path / "elsewhere").mkdir()
  for split in NUMBER:
    (tmp_path / f"{split}.txt").rename(tmp_path / "elsewhere" / f"{split}.txt")
  assert cli.run(report_command.main, ["--workdir=read", "--workdir=drawn", "--out=both"]) == 0
  [one, other] = sorted(read_csv(tmp_path / "both" / "runs.csv"), key=lambda row: row["source"])
  assert one["problem"] == other["problem"] == "G(2,4)" and one["epochs"] == other["epochs"] == pytest.approx(160 / 60, rel=1e-4)
  assert other["task.train_content"].startswith("train.txt:")
  line = (tmp_path / "elsewhere" / "test.txt").read_text().splitlines()[0]
  assert pathstar.load(read).predict(line).startswith(line.split("=")[0])
  task_files._examples.cache_clear()  # as in another process
  assert cli.run(eval_command.main, [f"--workdir={read}"]) == 2 and "task.test_file = 'test.txt': can't be read" in capsys.readouterr().err
  moved = [word.replace("_file=", "_file=elsewhere/") for word in named]
  capsys.readouterr()
  assert cli.run(sweep_command.main, [*common, *moved, "--workdir=read", "--dry_run"]) == 0  # the same run, wherever its files lie
  assert "finished" in capsys.readouterr().out


def test_a_job_in_another_folder_finds_the_files(tiny, files, tmp_path, monkeypatch):
  made, called = files(), []
  (tmp_path / "grid.py").write_text(f"from pathstar.config import default, override\n\ndef get_config(arg=''):\n"
                                    f"  return override(default(), {tiny.fields | made!r})\n\ndef sweep(arg=''):\n  return [{{}}]\n")
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sweep_command.os, "execvp", lambda program, words: called.append(words) or exit(0))
  with pytest.raises(SystemExit):
    sweep_command.main(["--config=grid.py", "--workdir=out", "--backend=slurm", "--config.task.train_file=train.txt",
                        f"--config.task.test_file={tmp_path}/test.txt", "--config.task.train_content=None"])
  assert called[0][2:] == [f"--config={tmp_path}/grid.py", f"--workdir={tmp_path}/out", f"--config.task.train_file={tmp_path}/train.txt",
                           f"--config.task.test_file={tmp_path}/test.txt", "--config.task.train_content=None"]


def test_content_is_what_a_run_is_of(tiny, files, tmp_path):
  fields = files()
  made = tiny(fields)
  (tmp_path / "moved").mkdir()
  (tmp_path / "moved" / "train.txt").write_bytes((tmp_path / "train.txt").read_bytes())
  assert not config.differences(tiny(fields | {"task.train_file": str(tmp_path / "moved" / "train.txt")}), made.fields)
  base = config.override(config.default(), tiny.fields | fields)
  [pack] = packs.plan(base, [{"seed": 0}, {"seed": 1}])
  assert len(pack.runs) == 2
  lines = (tmp_path / "train.txt").read_text().splitlines()
  (tmp_path / "train.txt").write_text("\n".join(lines[1:] + lines[:1]))
  [said] = config.differences(changed := tiny(fields), made.fields)
  assert said.startswith("task.train_content: 'train.txt:") and config.recorded(made.fields).files == made.files
  (tmp_path / "train.txt").write_text("\n".join(lines[2:]))
  task_files._examples.cache_clear()  # as in another process
  with pytest.raises(UserError, match="task.train_file = .*: holds train.txt:.*; the run is of train.txt:.*: the file was changed"):
    data.eval_examples(changed, "train")
  with pytest.raises(UserError, match="task.train_content = 'train.txt:.*': must be 'train.txt:"):
    tiny(made.fields)
  moved = {"task.train_file": str(tmp_path / "moved" / "train.txt")}
  [pack] = packs.plan(base, [{}, moved], only=["task.train_file=" + fields["task.train_file"]])
  assert len(pack.runs) == 1


def test_all_processes_of_a_job_have_the_same_content(tiny, tmp_path, monkeypatch):
  monkeypatch.setattr(train.hosts, "of_first", lambda number: number + 1)  # as where the first has another
  with pytest.raises(UserError, match="another config than the first one of the job; files of examples must hold the same"):
    train.train([tiny()], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_one_error(tiny, files, tmp_path):
  fields = files()
  train_file, lines = tmp_path / "train.txt", (tmp_path / "train.txt").read_text().splitlines()
  for change, said in (({"task.degree": 3}, "train.txt: line 1: wrong degree: .* has 2 arms, the task has degree 3"),
                       ({"task.length": 3}, "train.txt: line 1: wrong length"),
                       ({"task.num_nodes": 7}, r"train.txt: line \d+: unknown node"),
                       ({"task.test_file": None}, "task.train_file = .*: needs task.test_file too, which is not given"),
                       ({"task.train_file": str(tmp_path / "none.txt")}, "task.train_file = .*none.txt': can't be read"),
                       ({"task.train_file": str(tmp_path)}, "task.train_file = .*: can't be read"),
                       ({"task.dead_ends": 1}, "task.dead_ends = 1: must be left out with task.train_file"),
                       ({"task.siblings": 2}, "task.siblings = 2: the examples 1 to 2 of .*train.txt are not of one graph"),
                       ({"data.num_train": 0}, "data.num_train = 0: must be an integer >= 1"),
                       ({"eval.num_examples": 41}, "eval.num_examples = 41: must be at most data.num_test = 40")):
    with pytest.raises(UserError, match=said):
      tiny(fields | change)
  assert tiny(files("pairs", **{"task.siblings": 2})).siblings == 2
  assert tiny(fields | {"data.num_train": 500}).data.num_train == 60 and tiny(fields | {"data.num_train": 50}).data.num_train == 50
  train_file.write_text("\n".join([*lines[:9], lines[9] + ",1", *lines[10:]]))
  with pytest.raises(UserError, match="train.txt: line 10: "):
    tiny(fields)
  test_lines = (tmp_path / "test.txt").read_text().splitlines()
  edges, question = test_lines[4].split("/")
  again = "|".join(reversed(edges.split("|"))) + "/" + question  # the same problem, with its edges in another order
  train_file.write_text("\n".join([*lines, again]))
  with pytest.raises(UserError, match="1 of its 40 examples are of problems that .*train.txt has too, the first of them example 5, there "
                                      "example 61"):
    tiny(fields)
