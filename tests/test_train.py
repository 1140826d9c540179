"""The training step and loop: packs are their runs, dispatches are their steps, and a run's end is what it says."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

import pathstar
from pathstar.storage import workdir
from pathstar.training import ahead, flops, metrics, train
from pathstar.training.program import compile_program

FIFTY = {"train.num_steps": 50, "train.steps_per_call": 1, "train.log_every": 50, "train.checkpoint_every": 50,
         "eval.every": 50}


def run_of(tree, run):
  return jax.tree.map(lambda x: x[run], tree)


def equal(here, there):
  jax.tree.map(np.testing.assert_array_equal, here, there)


def close(here, there, tolerance):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), here, there)


def test_a_pack_trains_like_its_runs_alone(tiny, steps):
  # Seeds, rates and decays all differ: they are values of one program.
  runs = [tiny(FIFTY | {"seed": seed, "optimizer.learning_rate": rate, "optimizer.weight_decay": decay})
          for seed, rate, decay in ((0, 3e-3, 0.0), (1, 1e-3, 0.1), (7, 5e-3, 1.0))]
  first, _, losses, _ = steps(*runs)
  for run, config in enumerate(runs):
    first_alone, _, losses_alone, _ = steps(config)
    equal(run_of(first, run), run_of(first_alone, 0))
    assert losses.shape == (50, 3) and losses_alone.shape == (50, 1)
    np.testing.assert_allclose(losses[:, run], losses_alone[:, 0], rtol=1e-4)
  assert (losses[-10:].mean(axis=0) < losses[:10].mean(axis=0) - 0.1).all()  # and it does learn
  assert len(set(losses[-1])) == 3


def test_steps_per_call_changes_nothing_but_the_number_of_calls(tiny, steps):
  by_one = steps(tiny(FIFTY))
  by_five = steps(tiny(FIFTY | {"train.steps_per_call": 5}))
  equal(by_one[0], by_five[0])
  assert (by_one[1]["step"] == 50).all() and (by_five[1]["step"] == 50).all()
  np.testing.assert_allclose(by_one[2].reshape(10, 5).mean(axis=1), by_five[2][:, 0], rtol=1e-5)
  close(by_one[1]["params"], by_five[1]["params"], 1e-4)


def test_learning_rate_and_weight_decay_do_what_they_say(tiny, steps):
  one = {"train.num_steps": 1, "train.steps_per_call": 1, "optimizer.warmup_steps": 0, "optimizer.schedule": "constant"}
  pack = [tiny(one | {"optimizer.learning_rate": rate, "optimizer.weight_decay": decay})
          for rate, decay in ((1e-3, 0.0), (2e-3, 0.0), (1e-3, 5.0))]
  first, last, _, logged = steps(*pack)
  np.testing.assert_allclose(logged["train/learning_rate"], [1e-3, 2e-3, 1e-3], rtol=1e-6)
  moved = jax.tree.map(lambda x, y: np.asarray(y, np.float64) - x, first["params"], last["params"])
  start, move = first["params"]["model"]["head"][0], moved["model"]["head"]
  assert np.abs(move[0]).max() == pytest.approx(1e-3, rel=1e-2)  # Adam's first step is the rate
  np.testing.assert_allclose(move[1], 2 * move[0], atol=1e-6)
  np.testing.assert_allclose(move[2], move[0] - 1e-3 * 5 * start, atol=1e-6)


def test_one_golden_step(tiny, steps):
  one = {"train.num_steps": 2, "train.steps_per_call": 1, "train.log_every": 1, "train.checkpoint_every": 1, "eval.every": 1}
  _, _, losses, logged = steps(tiny(one))
  got = [float(losses[0, 0]), float(losses[1, 0]), float(logged["train/grad_norm"][0])]
  assert got == pytest.approx(GOLDEN, rel=1e-4), (
      f"the losses of steps 1 and 2 and the gradient norm of step 2 are {got}. Update the numbers only if data, initialisation, "
      "model or optimiser were changed on purpose; every published number then changes too.")


GOLDEN = [2.7897353, 3.1441040, 1.7188476]


@pytest.fixture(scope="module")
def packs(tiny, tmp_path_factory):
  """The same pack of four trained twice end to end: with its second run healthy, and with it at a rate of 1e38."""
  found = {}
  for name, rate in (("healthy", 3e-3), ("sick", 1e38)):
    configs = [tiny({"seed": seed, "optimizer.learning_rate": rate if seed == 1 else 3e-3}) for seed in range(4)]
    folder = tmp_path_factory.mktemp(name)
    folders = [folder / f"run{seed}" for seed in range(4)]
    found[name] = train.train(configs, folders, folder / "checkpoints"), folders
  return found


def rows(folder):
  return [{k: v for k, v in row.items() if not k.startswith("perf/")} for row in metrics.read(folder)]


def test_a_diverged_run_ends_without_scores(packs):
  results, folders = packs["sick"]
  assert [result["status"] for result in results] == ["done", "diverged", "done", "done"]
  assert 1 <= results[1]["steps"] < 20 and not any(name.startswith("eval/") for name in results[1])
  assert all(row["step"] < results[1]["steps"] for row in rows(folders[1]))
  assert [json.loads((folder / workdir.RESULT).read_text()) for folder in folders] == results


def test_a_diverged_run_leaves_its_siblings_bitwise_alone(packs):
  for run in (0, 2, 3):
    sick, healthy = rows(packs["sick"][1][run]), rows(packs["healthy"][1][run])
    assert len(sick) > 3 and sick == healthy
  assert packs["healthy"][0][1]["status"] == "done"


def test_a_result_is_the_last_evaluation(packs, tiny):
  results, folders = packs["healthy"]
  for result, folder in zip(results, folders):
    last = rows(folder)[-1]
    assert last["step"] == result["steps"] == 20
    assert {k: v for k, v in last.items() if k.startswith("eval/")} == {k: v for k, v in result.items() if k.startswith("eval/")}
    assert result["eval/test/generated_exact_match"] == result["eval/test/exact_match"]
    assert result["parameters"] == sum(x.size for x in jax.tree.leaves(jax.eval_shape(tiny().model.init, jax.random.key(0))))


def test_tensorboard_gets_each_run_its_own_hyperparameters(packs):
  for seed, folder in enumerate(packs["sick"][1]):
    content = EventAccumulator(str(folder)).Reload().SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["seed"].number_value == seed
    assert values["optimizer.learning_rate"].number_value == (1e38 if seed == 1 else 3e-3)


def test_tensorboard_gets_pictures_at_half_time_and_at_the_end_of_what_did_not_diverge(packs):
  for name in ("healthy", "sick"):
    for run, folder in enumerate(packs[name][1]):
      events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
      steps = [event.step for event in events.Tensors("examples")] if "examples" in events.Tags()["tensors"] else []
      assert steps == ([] if (name, run) == ("sick", 1) else [10, 20])


def test_metrics_come_at_their_cadence(packs):
  [folder, *_] = packs["healthy"][1]
  found = rows(folder)
  assert [row["step"] for row in found] == [0, 5, 10, 15, 20]
  assert [row["step"] for row in found if "train/loss" in row] == [5, 10, 15, 20]
  assert [row["step"] for row in found if "eval/test/exact_match" in row] == [0, 10, 20]
  assert [row["step"] for row in found if "eval/train/generated_exact_match" in row] == [0, 20]


def test_a_finished_run_trained_again_does_nothing_and_says_the_same(packs, tiny, capsys):
  results, folders = packs["healthy"]
  configs = [tiny({"seed": seed}) for seed in range(4)]
  again = train.train(configs, folders, folders[0].parent / "checkpoints")
  assert "resuming" not in capsys.readouterr().err
  assert again == results


def test_a_run_that_its_last_step_blows_up_has_diverged(tiny, tmp_path):
  one = {"train.num_steps": 1, "train.steps_per_call": 1, "train.log_every": 1, "train.checkpoint_every": 1, "eval.every": 1}
  config = tiny(one | {"optimizer.learning_rate": 1e38, "optimizer.warmup_steps": 0})
  [result] = train.train([config], [tmp_path], tmp_path / "checkpoints")
  assert (result["status"], result["steps"]) == ("diverged", 1) and not any(name.startswith("eval/") for name in result)
  assert [row["step"] for row in rows(tmp_path)] == [0]
  assert pathstar.load(tmp_path).diverged_at == 1
  (tmp_path / workdir.RESULT).unlink()
  [again] = train.train([config], [tmp_path], tmp_path / "checkpoints")
  assert again["status"] == "diverged"


def test_a_pack_of_diverged_runs_stops_early(tiny, tmp_path):
  config = tiny({"optimizer.learning_rate": 1e38, "train.num_steps": 10_000})
  [result] = train.train([config], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  assert result["status"] == "diverged" and result["steps"] < 20


def test_the_training_block_moves_nothing_between_host_and_device(tiny, tmp_path, monkeypatch):
  calls = []

  def guarded(configs, mesh):
    program = compile_program(configs, mesh)

    def steps(*args):
      calls.append(1)
      with jax.transfer_guard("disallow"):
        return program.steps(*args)

    steps.trace = program.steps.trace
    return dataclasses.replace(program, steps=steps)

  monkeypatch.setattr(ahead, "compile_program", guarded)
  train.train([tiny()], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  assert len(calls) == 4


@pytest.mark.slow
def test_a_result_says_the_flops_of_its_steps_as_the_plan_counts_them(tiny, tmp_path):
  configs = [tiny({"train.num_steps": 10, "seed": seed}) for seed in range(2)]
  for number in (1, 2):
    folders = [tmp_path / f"{number}-{seed}" for seed in range(number)]
    results = train.train(configs[:number], folders, tmp_path / f"{number}")
    assert [result["flops_per_step"] for result in results] == pytest.approx([flops.of_step(configs[0], "cpu").total] * number, rel=1e-3)
