"""The counter-based generator: bijections are bijections, uniform is uniform, and an empty split is said to be empty."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from pathstar.errors import UserError
from pathstar.tasks import counter

P_VALUE = 1e-4
KEYS = st.integers(0, 2**64 - 1)


def keys(count, seed=0):
  return counter.fold(counter.GOLDEN[None], np.arange(count) + seed)


@hypothesis.given(st.integers(1, 3000), KEYS)
@hypothesis.example(1, 0)
@hypothesis.example(2, 0)
@hypothesis.example(257, 1)
def test_shuffled_is_a_bijection(n, key):
  out = counter.shuffled(np.arange(n), np.full(n, key, np.uint64), n)
  assert np.array_equal(np.sort(out), np.arange(n))


def test_shuffled_leaves_its_arguments_alone_and_needs_no_table():
  index = np.array([0, 10**12 - 1, 5])
  out = counter.shuffled(index, keys(3), 10**12)
  assert index.tolist() == [0, 10**12 - 1, 5]
  assert ((0 <= out) & (out < 10**12)).all()


def test_shuffled_sends_every_index_anywhere():
  first = counter.shuffled(np.zeros(100_000, int), keys(100_000), 1000)
  assert scipy.stats.chisquare(np.bincount(first, minlength=1000)).pvalue > P_VALUE


@hypothesis.given(st.integers(1, 300), KEYS)
def test_permutation_is_one(n, key):
  assert np.array_equal(np.sort(counter.permutation(np.array([key], np.uint64), n)[0]), np.arange(n))


def test_permutations_are_uniform():
  words = counter.permutation(keys(24_000), 4) @ np.array([64, 16, 4, 1])
  counts = np.unique(words, return_counts=True)[1]
  assert len(counts) == 24 and scipy.stats.chisquare(counts).pvalue > P_VALUE


@pytest.mark.parametrize("n", [2, 7, 100])
def test_below_is_uniform_and_in_range(n):
  counts = np.bincount(counter.below(counter.bits(keys(10_000), 2).ravel(), n))
  assert len(counts) == n and scipy.stats.chisquare(counts).pvalue > P_VALUE


def test_mix_loses_nothing_and_every_input_bit_moves_half_of_the_output():
  x = np.arange(100_000, dtype=np.uint64)
  assert len(np.unique(counter.mix(x.copy()))) == len(x)
  for bit in range(64):
    changed = np.bitwise_count(counter.mix(x[:2000].copy()) ^ counter.mix(x[:2000] ^ np.uint64(1 << bit)))
    assert 30 < changed.mean() < 34


def test_folding_is_sensitive_to_key_data_and_order():
  a, b = np.uint64([1]), np.uint64([2])
  fold = counter.fold
  assert len({int(x[0]) for x in (fold(a, 1), fold(a, 2), fold(b, 1), fold(fold(a, 1), 2), fold(fold(a, 2), 1))}) == 5


def test_draw_gives_each_index_its_first_candidate_in_the_split():
  seen = []

  def propose(key_B):
    seen.append(len(key_B))
    return {"value": counter.below(key_B, 1000)}

  identity = lambda problem: counter.mix(problem["value"].astype(np.uint64))
  values = {split: counter.draw(propose, identity, 0, split, np.arange(500))["value"] for split in counter.SPLITS}
  assert not set(values["train"]) & set(values["test"])
  assert seen[0] == 500 and seen[1] < 100  # only the rows that missed are drawn again: about one in eight


def test_a_split_without_any_problem_is_an_error():
  propose = lambda key_B: {"value": np.zeros(len(key_B), np.int32)}
  with pytest.raises(UserError, match="train split holds no problem"):
    counter.draw(propose, lambda problem: np.zeros(len(problem["value"]), np.uint64), 0, "train", np.arange(3))
