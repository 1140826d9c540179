"""A loaded run answers, shows what is in its layers, and writes nothing."""

import csv
import os
import pickle

import jax
import numpy as np
import pytest

import pathstar
from pathstar import config, evals
from pathstar.commands import cli
from pathstar.commands import eval as eval_command
from pathstar.commands import sweep as sweep_command
from pathstar.errors import UserError
from pathstar.training import train

pytestmark = pytest.mark.slow

FIELDS = {"model.num_layers": 2, "model.num_loops": 2, "train.num_steps": 40, "optimizer.learning_rate": 1e-2}


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
  place = tmp_path_factory.mktemp("run") / "run"
  train.train([tiny(FIELDS)], [place], place / "checkpoints")
  return place


@pytest.fixture(scope="module")
def run(folder):
  return pathstar.load(folder)


def state(folder):
  return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def test_a_run_is_the_same_by_any_name(folder, run, tmp_path, monkeypatch):
  (tmp_path / "link").symlink_to(folder)
  monkeypatch.chdir(folder)
  for name in (".", str(folder) + "/", tmp_path / "link", os.path.relpath(folder, folder.parent) and f"../{folder.name}"):
    other = pathstar.load(name)
    assert other.folder == run.folder == folder.resolve() and other.step == 40
    jax.tree.map(np.testing.assert_array_equal, other.params, run.params)
  assert repr(run) == f"Run(transformer, next_token, G(2,4), step 40, {str(folder.resolve())!r})"


def test_a_step_may_be_chosen(folder):
  assert pathstar.load(folder, step=30).step == 30
  with pytest.raises(UserError, match="step = 7: .* has checkpoints of 30, 40"):
    pathstar.load(folder, step=7)


def test_text_is_answered_by_text_and_batches_by_tokens(run):
  batch = run.task.examples(0, "test", np.arange(5))
  lines = run.task.to_text(batch)
  answers, tokens = run.predict(lines), run.predict(batch)
  assert tokens.shape == (5, 4) and len(answers) == 5
  for line, answer, token in zip(lines, answers, tokens):
    question = line.split("=")[0]
    assert answer == f"{question}={','.join(str(min(t, run.task.dummy)) for t in token)}"
    assert run.predict(line) == answer == run.predict(question + "=")  # with or without the right answer
  logits = run.logits(lines)
  assert logits.shape == (5, 4, run.model.vocab_size)
  assert run.draw(lines[0]).axes[0].get_title().startswith("G(2,4): from ")


def test_what_is_in_the_layers_adds_up_to_the_scores(run):
  batch = run.task.examples(0, "test", np.arange(3))
  stream = run.hidden(batch)
  hidden = run.model.normalise(run.params["model"], stream[:, -4:])
  np.testing.assert_allclose(run.model.unembed(run.params["model"], hidden), run.logits(batch), rtol=1e-4, atol=1e-4)
  shapes = {run.hidden(batch, layer).shape for layer in range(4)}  # two blocks, twice
  assert shapes == {(3, run.config.input_length, 16)}
  weights = run.attention(batch, 1)
  time = run.config.input_length
  assert weights.shape == (3, 2, time, time)
  np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
  assert (weights[:, :, ~np.tri(time, dtype=bool)] == 0).all()  # causal
  with pytest.raises(UserError, match="layer = 4: must be between -4 and 3"):
    run.hidden(batch, 4)


@pytest.mark.slow
def test_a_recurrence_has_no_attention(tiny, tmp_path):
  train.train([tiny({"model.mixer": "mamba", "train.num_steps": 10})], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  run = pathstar.load(tmp_path / "run")
  assert run.hidden(run.task.examples(0, "test", [0]), 0).shape[2] == 16
  with pytest.raises(UserError, match="has no attention; its mixer is mamba"):
    run.attention(run.task.examples(0, "test", [0]))


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"objective.order": "reversed"}, {"objective.name": "masked_diffusion"}, {"task.target": "search"},
                                    {"task.name": "addition", "data.num_test": 40}])
def test_every_kind_of_run_answers(tiny, tmp_path, fields):
  train.train([tiny({"train.num_steps": 10} | fields)], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  run = pathstar.load(tmp_path / "run")
  line = run.task.to_text(run.task.examples(0, "test", [0]))[0]
  assert run.predict(line).split("=")[0] == line.split("=")[0] and len(run.predict([line, line])) == 2
  assert run.hidden(line).ndim == 3 and run.draw(line) is not None


def test_it_can_be_pickled(run):
  again = pickle.loads(pickle.dumps(run))
  line = run.task.to_text(run.task.examples(0, "test", [0]))[0]
  assert again.predict(line) == run.predict(line) and again.step == run.step and again.metrics == run.metrics
  assert run.metrics[-1]["step"] == 40 and "eval/test/exact_match" in run.metrics[-1]


def test_readers_change_nothing_in_a_run(folder, tmp_path, capsys):
  newest = folder / "checkpoints" / "40" / "state"
  kept = {file: file.read_bytes() for file in newest.rglob("*") if file.is_file()}
  try:
    for file in kept:
      file.write_bytes(file.read_bytes()[:10])  # torn: an older one is read, and nothing is set aside
    before = state(folder)
    assert pathstar.load(folder).step == 30
    assert cli.run(eval_command.main, [f"--workdir={folder}/"]) == 0
    assert state(folder) == before
  finally:
    for file, content in kept.items():
      file.write_bytes(content)


def test_an_answer_may_have_an_equals_sign_of_its_own():
  assert eval_command._parts("48+76=11=") == ("48+76=", "11=") and eval_command._parts("1,2/1,2=") == ("1,2/1,2=", "")


def test_each_line_of_a_file_is_answered(folder, run, tmp_path, capsys, monkeypatch):
  batch = run.task.examples(0, "test", np.arange(8))
  lines = run.task.to_text(batch)
  (tmp_path / "data.txt").write_text("\ufeff" + "\n".join([lines[0], lines[1].split("=")[0] + "=", *lines[2:]]) + "\n", encoding="utf-8")
  argv = [f"--workdir={folder}", f"--data={tmp_path / 'data.txt'}", f"--out={tmp_path / 'out.csv'}"]
  assert cli.run(eval_command.main, argv) == 0
  said = capsys.readouterr()
  with open(tmp_path / "out.csv") as file:
    rows = list(csv.DictReader(file))
  assert [row["question"] + row["right_answer"] for row in rows] == lines
  assert [row["question"] + row["answer"] for row in rows] == run.predict(lines)
  monkeypatch.setattr(evals, "_MAX_CHUNK", 3)  # so that many lines take no more memory than few
  assert run.predict(lines) == [row["question"] + row["answer"] for row in rows]
  right = [row["verdict"] == "right" for row in rows]
  assert right == [row["right_answer"] == row["answer"] for row in rows] and f"{sum(right)} of 8 are right" in said.err
  assert cli.run(eval_command.main, argv) == 2 and "can't be written" in capsys.readouterr().err  # it is there
  (tmp_path / "backwards.txt").write_text(lines[0].split("=")[0] + "=" + ",".join(lines[0].split("=")[1].split(",")[::-1]) + "\n")
  assert cli.run(eval_command.main, [f"--workdir={folder}", f"--data={tmp_path / 'backwards.txt'}"]) == 2
  assert "line 1: the path runs from the goal to the start" in capsys.readouterr().err


def test_a_sweep_is_rows(tiny, tmp_path):
  file = tmp_path / "grid.py"
  file.write_text(f"from pathstar.config import default, override\n\ndef get_config():\n  return override(default(), {tiny.fields!r})\n\n"
                  "def sweep(arg=''):\n  return [{'seed': 0}, {'seed': 1}]\n")
  assert cli.run(sweep_command.main, [f"--config={file}", f"--workdir={tmp_path / 'runs'}"]) == 0
  rows = pathstar.load_sweep(tmp_path / "runs")
  assert [row["seed"] for row in rows] == [0, 1] and {row["state"] for row in rows} == {"done"}
  assert all({"eval/test/exact_match", "task.degree", "parameters", "run"} <= row.keys() for row in rows)
  assert len(pathstar.load_sweep(tmp_path / "runs", only=["seed=1"])) == 1
  config.recorded({k: v for k, v in rows[0].items() if k in config.schema()})
