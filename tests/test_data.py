"""Batches are a pure function of (seed, split, step), however they are asked for."""

import tracemalloc

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from pathstar.training import data

WHOLE = (slice(None),) * 3


def rows(batch):
  """Examples of a record as bytes, in the order of the stream, for one run."""
  prefix = batch["prefix"][:, 0].reshape(-1, batch["prefix"].shape[-1])
  return [row.tobytes() for row in prefix]


def equal(here, there):
  assert here.keys() == there.keys()
  for name in here:
    np.testing.assert_array_equal(here[name], there[name])


@hypothesis.given(st.integers(1, 200), st.integers(0, 2**31 - 1))
def test_every_epoch_is_a_permutation_of_the_training_set(tiny, size, seed):
  config = tiny({"data.num_train": size, "eval.num_examples": 1})
  epochs = data.train_index(config, seed, np.arange(3 * size)).reshape(3, size)
  assert (np.sort(epochs, axis=1) == np.arange(size)).all()


def test_epochs_and_seeds_have_orders_of_their_own(tiny):
  config = tiny({"data.num_train": 100})
  orders = [data.train_index(config, seed, np.arange(200)).reshape(2, 100).tolist() for seed in (0, 1)]
  assert len({tuple(epoch) for order in orders for epoch in order}) == 4


def test_batches_that_straddle_epochs_lose_and_repeat_nothing(tiny):
  config = tiny({"data.num_train": 60, "train.batch_size": 8, "train.num_steps": 15})  # 120 examples: two epochs
  source = data.TrainSource((config,), WHOLE)
  stream = [row for record in range(len(source)) for row in rows(source[record])]
  everything = [row.tobytes() for row in config.task.examples(config.seed, "train", np.arange(60))["prefix"]]
  assert sorted(stream[:60]) == sorted(stream[60:]) == sorted(everything)
  assert stream[:60] != stream[60:]


def test_an_endless_stream_counts_on(tiny):
  config = tiny({"data.num_train": None})
  position = np.array([0, 7, 10**10])
  np.testing.assert_array_equal(data.train_index(config, 3, position), position)


@pytest.mark.parametrize("num_train", [None, 50])
def test_records_are_whole_calls_of_every_run(tiny, num_train):
  config = tiny({"data.num_train": num_train})
  source = data.TrainSource((config, tiny({"data.num_train": num_train, "seed": 1})), WHOLE)
  assert len(source) == 4  # 20 steps, 5 a call
  record, task = source[0], config.task
  assert {name: x.shape for name, x in record.items()} == {
      "prefix": (5, 2, 8, task.prefix_length), "target": (5, 2, 8, task.length), "weight": (5, 2, 8, task.length)}


@pytest.mark.parametrize("num_train", [None, 50])
def test_starting_at_a_step_gives_what_running_there_gives(tiny, num_train):
  config = tiny({"data.num_train": num_train, "train.num_steps": 40})
  whole = list(data.train_batches((config,), WHOLE, 0))
  assert len(whole) == 8
  for start in (5, 20, 35):
    resumed = list(data.train_batches((config,), WHOLE, start))
    assert len(resumed) == 8 - start // 5
    for here, there in zip(resumed, whole[start // 5:], strict=True):
      equal(here, there)
  assert not list(data.train_batches((config,), WHOLE, 40))


def test_steps_per_call_does_not_change_the_stream(tiny):
  streams = []
  for steps_per_call in (1, 5):
    source = data.TrainSource((tiny({"train.steps_per_call": steps_per_call}),), WHOLE)
    streams.append([row for record in range(len(source)) for row in rows(source[record])])
  assert streams[0] == streams[1] and len(streams[0]) == 160


@hypothesis.given(st.integers(0, 3), st.integers(0, 8))
def test_parts_of_several_processes_make_up_the_whole(tiny, run_cut, row_cut):
  configs = tuple(tiny({"seed": seed}) for seed in (0, 5, 9))
  whole = data.TrainSource(configs, WHOLE)[1]
  for runs in (slice(0, run_cut), slice(run_cut, 3)):
    for batch in (slice(0, row_cut), slice(row_cut, 8)):
      if runs.start < runs.stop and batch.start < batch.stop:
        part = data.TrainSource(configs, (slice(None), runs, batch))[1]
        equal(part, {name: x[:, runs, batch] for name, x in whole.items()})


def test_a_run_sees_in_a_pack_what_it_sees_alone(tiny):
  configs = tuple(tiny({"seed": seed}) for seed in (0, 5, 9))
  pack = data.TrainSource(configs, WHOLE)[2]
  for run, config in enumerate(configs):
    equal(data.TrainSource((config,), WHOLE)[2], {name: x[:, run:run + 1] for name, x in pack.items()})


def test_evaluation_examples_are_one_test_split_and_what_each_seed_trains_on_first(tiny):
  zero, one = tiny({"seed": 0}), tiny({"seed": 1})
  equal(data.eval_examples(zero, "test"), data.eval_examples(one, "test"))
  dispatches = -(-40 // (zero.steps_per_call * zero.train.batch_size))
  stream = [data.TrainSource((zero,), WHOLE)[record]["prefix"] for record in range(dispatches)]
  seen = data.eval_examples(zero, "train")["prefix"]
  np.testing.assert_array_equal(seen, np.concatenate([x.reshape(-1, x.shape[-1]) for x in stream])[:40])
  assert not np.array_equal(seen, data.eval_examples(one, "train")["prefix"])


def grown_bytes(config, warm, count):
  """Memory that Python holds more after `count` further batches."""
  batches = data.train_batches((config,), WHOLE, 0)
  for _ in range(warm):
    next(batches)
  tracemalloc.start()
  for _ in range(warm):  # so that what tracing itself allocates is there
    next(batches)
  before = tracemalloc.get_traced_memory()[0]
  for _ in range(count):
    next(batches)
  after = tracemalloc.get_traced_memory()[0]
  tracemalloc.stop()
  return after - before


@pytest.mark.parametrize("num_train", [None, 500])
def test_memory_does_not_grow_with_the_batches(tiny, num_train):
  config = tiny({"data.num_train": num_train, "train.num_steps": 10_000})
  record = sum(x.nbytes for x in data.TrainSource((config,), WHOLE)[0].values())
  assert grown_bytes(config, 20, 400) < 20 * record  # 400 records kept would be 20 times as much


@pytest.mark.slow
def test_memory_does_not_grow_over_ten_thousand_batches(tiny):
  one_step = {"train.num_steps": 20_000, "train.steps_per_call": 1, "train.log_every": 1, "train.batch_size": 64}
  config = tiny({"data.num_train": None} | one_step)
  resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
  batches = data.train_batches((config,), WHOLE, 0)
  for _ in range(1000):
    next(batches)
  before = resident()
  for _ in range(10_000):
    batch = next(batches)
  kept = 10_000 * sum(x.nbytes for x in batch.values())
  assert resident() - before < 16e6 < kept / 4
