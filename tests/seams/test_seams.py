"""A task, an evaluation and a mixer, each one file and one line in its registry: trained, measured, reported, drawn and sampled."""

import csv
import math

import answering
import jax
import long_answers
import numpy as np
import pytest
import test_tasks
from running_mean import RunningMean
from unequal_arms import UnequalArms

from pathstar import config, evals, models, tasks
from pathstar.commands import cli
from pathstar.config import registry
from pathstar.errors import UserError
from pathstar.tasks import draw

FIELDS = {"task.name": "unequal_arms", "task.num_ids": 12, "model.mixer": "running_mean", "eval.long": 4}


@pytest.fixture(autouse=True)
def added(monkeypatch):
  """The three of this folder, registered."""
  monkeypatch.setitem(tasks.TASKS, "unequal_arms", UnequalArms)
  monkeypatch.setitem(models.MIXERS, "running_mean", RunningMean)
  monkeypatch.setitem(evals.EVALS, "long_answers", long_answers)
  registry.clear()
  yield
  monkeypatch.undo()
  registry.clear()


@pytest.fixture
def command(monkeypatch, capsys, tmp_path, tiny):
  """command(words) -> what `pathstar words` prints; {FILE} is a sweep over the new task and mixer."""
  fields = {name: value for name, value in tiny.fields.items() if not name.startswith("task.") and name != "model.num_heads"} | FIELDS
  file = tmp_path / "new.py"
  file.write_text(f"from pathstar.config import default, override\n\ndef get_config(arg=''):\n  return override(default(), {fields!r})\n\n"
                  "def sweep(arg=''):\n  orders = ('forward', 'reversed')\n"
                  "  return [{'objective.order': order, 'seed': seed} for order in orders for seed in (0, 1)]\n")

  def call(*words):
    monkeypatch.setattr("sys.argv", ["pathstar", *(word.replace("{FILE}", str(file)) for word in words)])
    capsys.readouterr()
    assert cli.command() == 0
    return capsys.readouterr().out

  return call


@pytest.mark.parametrize("task", [UnequalArms(), UnequalArms(4, 2, 6, 20)], ids=str)
def test_the_task_passes_what_the_registered_ones_pass(task):
  for check in (test_tasks.test_examples_have_the_shapes_and_types_that_the_task_announces,
                test_tasks.test_the_answer_is_the_whole_target_or_follows_the_first_separator,
                test_tasks.test_arms_come_in_random_order, test_tasks.test_a_file_gives_back_what_was_written_to_it,
                test_tasks.test_train_and_test_share_no_line):
    check(task)
  for split in ("train", "test"):
    test_tasks.test_an_example_is_a_function_of_seed_split_and_index_alone(task, split)


def test_padding_is_neither_scored_nor_counted(tiny):
  made = tiny(FIELDS | {"model.mixer": "attention"})
  for order in ("forward", "reversed"):
    made = config.resolve(config.override(config.default(), dict(made.fields) | {"objective.order": order}), given=())
    batch = made.objective.in_order(made.task.examples(0, "test", np.arange(40)))
    length = batch["answer"].sum(axis=1)
    tokens = np.where(batch["answer"], batch["target"], 0)  # right, and nonsense behind it
    found = evals.generated.run(made, None, batch, tokens)
    assert found["generated_exact_match"].all()
    for k in range(made.task.answer_length):
      np.testing.assert_array_equal(np.isnan(found[f"position_{k}/generated_accuracy"]), k >= length)
    first = np.asarray(made.objective.along_path(batch["target"], batch))[:, 0]
    np.testing.assert_array_equal(first, batch["start"])
    wrong = tokens.copy()
    wrong[np.arange(40), length - 1] += 1
    assert not evals.generated.run(made, None, batch, wrong)["generated_exact_match"].any()


def test_the_cheat_ends_where_the_wrong_arm_ends(tiny, monkeypatch):
  made = tiny(FIELDS | {"model.mixer": "attention", "task.shortest": 3, "task.longest": 5})
  batch = made.task.examples(0, "test", np.arange(40))
  right = (batch["arms"] == batch["target"][:, None]).all(axis=2).argmax(axis=1)
  wrong = batch["arms"][np.arange(40), 1 - right]
  length = (wrong != made.task.dummy).sum(axis=1)
  follows = answering.Answering(lambda batch: np.where(wrong == made.task.dummy, 0, wrong), made.model.vocab_size)
  found = evals.clever_hans.run(follows.config(made), None, batch, None)
  np.testing.assert_array_equal(np.isnan(found["cheat_accuracy"]), length <= 3)  # nothing inside: undefined
  assert (found["cheat_accuracy"][length > 3] == 1).all() and (found["end_follows_arm"][length > 3] == 1).all()
  copies = answering.Answering(lambda batch: np.broadcast_to(batch["goal"][:, None], wrong.shape), made.model.vocab_size)
  found = evals.clever_hans.run(copies.config(made), None, batch, None)
  assert (found["cheat_accuracy"][length > 3] == 0).all() and (found["end_copies_goal"][length > 3] == 1).all()


@pytest.mark.slow
def test_they_train_report_and_are_drawn(command, tmp_path):
  said = command("sweep", "--config={FILE}", f"--workdir={tmp_path / 'runs'}")
  assert "4 of 4 runs finished" in said
  names = sorted(folder.name for folder in (tmp_path / "runs" / "runs").iterdir())
  assert all(name.startswith(("running_mean-next_token-u2-l3to5-s", "running_mean-reversed-u2-l3to5-s")) for name in names)
  assert "running_mean on U(2,3-5); next_token, reversed" in command("report", f"--workdir={tmp_path / 'runs'}")
  table = (tmp_path / "runs" / "report" / "table.md").read_text()
  assert "| U(2,3-5) |" in table and "running_mean" in table
  with open(tmp_path / "runs" / "report" / "runs.csv") as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 4 and all(0 <= float(row["long/branch_accuracy"]) <= 1 for row in rows if row["order"] == "forward")
  assert all(row["branch_position"] == "1" and row["answer_length"] == "5" and row["chance"] == "0.5" for row in rows)
  assert all(math.isfinite(float(row["cheat_accuracy"])) for row in rows if row["order"] == "forward")
  assert {"exact_match.png", "positions.png", "timeline.png"} <= {file.name for file in (tmp_path / "runs" / "report").iterdir()}
  shown = command("sample", "--config={FILE}", "--n=3")
  assert "<- goal" in shown and "15" not in shown  # 15 is the dummy, which pads and is no node


def test_the_picture_shows_nodes_alone_and_asks_the_task_for_the_ends(tiny):
  task = UnequalArms(num_ids=12)
  for number in range(6):
    example = {name: x[number] for name, x in task.examples(0, "test", np.arange(6)).items()}
    length = int(example["answer"].sum())
    answer = np.where(np.arange(5) < length, example["target"], 0)
    figure = draw.figure(task, example, answer)
    labels = {text.get_text() for text in figure.axes[0].texts} - {""}
    assert labels == {str(node) for arm in example["arms"] for node in arm if node != task.dummy}
    title = figure.axes[0].get_title()
    assert f"from {example['start']} to {example['goal']}" in title and "(right)" in title


@pytest.mark.slow
def test_the_mixer_decodes_as_it_trains(tiny):
  made = tiny({"model.mixer": "running_mean", "model.mean_decay": 0.9})
  params = jax.tree.map(lambda x: x.value if hasattr(x, "value") else x, made.model.init(jax.random.key(0)),
                        is_leaf=lambda x: hasattr(x, "value"))
  tokens = np.random.default_rng(0).integers(0, made.model.vocab_size, (2, 9))
  whole, _ = made.model.apply(params, tokens, 9)
  hidden, cache = made.model.prefill(params, tokens[:, :4], 9)
  for index in range(4, 9):
    np.testing.assert_allclose(made.model.unembed(params, hidden), whole[:, index - 1], rtol=1e-4, atol=1e-4)
    hidden, cache = made.model.step(params, tokens[:, index], cache, index)
  with pytest.raises(UserError, match="must be one that can see ahead"):
    tiny({"model.mixer": "running_mean", "objective.name": "masked_diffusion"})


def test_a_metric_has_one_owner_and_one_value_an_example(tiny, monkeypatch):
  made = tiny()
  params = jax.eval_shape(made.model.init, jax.random.key(0))
  batch = made.task.examples(0, "test", np.arange(40))
  measure = lambda: jax.eval_shape(lambda p: evals.of_logits(made, {"model": p}, batch), jax.tree.map(
      lambda x: x.value, params, is_leaf=lambda x: hasattr(x, "value")))
  monkeypatch.setattr(long_answers, "run", lambda config, params, batch, logits: {"exact_match": logits[:, 0, 0]})
  with pytest.raises(UserError, match="metric 'exact_match': is given by evaluation exact_match and by long_answers"):
    measure()
  monkeypatch.setattr(long_answers, "METRICS", "long/.*", raising=False)
  monkeypatch.setattr(long_answers, "run", lambda config, params, batch, logits: {"short": logits[:, 0, 0]})
  with pytest.raises(UserError, match="metric 'short': is given by evaluation long_answers, whose METRICS, 'long/.*', does not match it"):
    measure()
  monkeypatch.delattr(long_answers, "METRICS")
  monkeypatch.setattr(long_answers, "run", lambda config, params, batch, logits: {"all_logits": logits[:, 0]})
  with pytest.raises(UserError, match=r"evaluation long_answers: all_logits is of shape \(40, 16\): must be one value an example"):
    measure()
  with pytest.raises(UserError, match="metric 'a': is given by an evaluation of logits and by one of tokens"):
    evals.together({"a": 1}, {"a": 2})


@pytest.mark.slow
def test_means_are_over_the_defined_and_what_is_nowhere_defined_is_left_out(tiny, monkeypatch):
  made = tiny({"eval.num_examples": 40})
  params = jax.tree.map(lambda x: x.value if hasattr(x, "value") else x, made.model.init(jax.random.key(0)),
                        is_leaf=lambda x: hasattr(x, "value"))
  batch = made.task.examples(0, "test", np.arange(40)) | {"number": np.arange(40.0, dtype=np.float32)}
  some = lambda config, params, batch, logits: {
      "odd": jax.numpy.where(batch["number"] % 2 == 1, batch["number"], jax.numpy.nan), "none": batch["number"] * jax.numpy.nan}
  monkeypatch.setattr(long_answers, "run", some)
  for chunk in (40, 8, 5):
    monkeypatch.setattr(evals, "_MAX_CHUNK", chunk)
    found = jax.jit(lambda p, batch: evals.of_logits(made, {"model": p}, batch))(params, batch)
    assert float(found["odd"]) == pytest.approx(20.0) and math.isnan(found["none"])
