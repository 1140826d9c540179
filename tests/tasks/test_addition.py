"""Additions, judged by Python's own."""

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from pathstar.errors import UserError
from pathstar.tasks.addition import Addition


def number(tokens):
  return int("".join(map(str, tokens)))


@hypothesis.given(st.integers(1, 9), st.integers(0, 2**31 - 1), st.sampled_from(["train", "test"]), st.integers(0, 2**40))
def test_every_example_is_a_sum_that_is_right(digits, seed, split, first):
  task = Addition(digits)
  batch = task.examples(seed, split, np.arange(first, first + 20))
  for prefix, target in zip(batch["prefix"].tolist(), batch["target"].tolist()):
    a, plus, b, equals = prefix[:digits], prefix[digits], prefix[digits + 1:-1], prefix[-1]
    assert (plus, equals, len(b), len(target)) == (10, 11, digits, digits + 1)
    assert number(a) + number(b) == number(target)
  assert task.dummy not in batch["prefix"] and task.dummy == task.vocab_size - 1


def test_operands_are_uniform_and_independent():
  batch = Addition(1).examples(0, "train", np.arange(20_000))
  ordered = batch["prefix"][:, 0] * 10 + batch["prefix"][:, 2]
  counts = np.bincount(ordered, minlength=100)
  seen = counts[counts > 0]  # the others are of the test split
  assert len(seen) > 70 and scipy.stats.chisquare(seen).pvalue > 1e-5


@pytest.mark.parametrize("digits", [1, 2])
def test_a_sum_is_in_one_split_whatever_the_order_of_its_operands(digits):
  task = Addition(digits)
  pairs = {}
  for split in ("train", "test"):
    prefix = task.examples(0, split, np.arange(60_000))["prefix"]
    operands = prefix[:, :digits], prefix[:, digits + 1:-1]
    pairs[split] = {tuple(sorted(map(number, pair))) for pair in zip(*operands)}
  assert not pairs["train"] & pairs["test"]
  assert len(pairs["train"] | pairs["test"]) == task.num_problems()  # and every problem is in one of them
  assert 0.05 < len(pairs["test"]) / task.num_problems() < 0.25  # about an eighth


def test_text_is_what_one_would_write():
  task = Addition(3)
  assert task.to_text(task.from_text(["095+123=0218", "", " 999+999=1998\n"])) == ["095+123=0218", "999+999=1998"]


@pytest.mark.parametrize("line, said", [
    ("095+123=218", "not of the form a+b=c with 3, 3 and 4 digits"),
    ("95+123=0218", "not of the form"), ("095-123=0218", "not of the form"),
    ("a sum", "not of the form"), ("095+123=0219", "wrong sum, 95 + 123 is 218"),
])
def test_a_malformed_line_is_refused_with_its_number(line, said):
  with pytest.raises(UserError) as error:
    Addition(3).from_text(["001+002=0003", "", line])
  assert str(error.value).startswith("line 3: ") and said in str(error.value)


@pytest.mark.parametrize("digits", [0, 10])
def test_impossible_numbers_of_digits_are_refused(digits):
  with pytest.raises(UserError, match=f"task.digits = {digits}: must be between 1 and 9"):
    Addition(digits)


def test_chance_is_one_in_the_sums_there_are():
  assert Addition(1).chance == pytest.approx(1 / 19)  # 0 .. 18
