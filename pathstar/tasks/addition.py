"""Addition of two numbers, digit by digit. Claim 12 of the talk: teacherless training needs fewer examples of it.

Operands are uniform in 0 .. 10^digits - 1 and padded with zeros, the sum with one digit more. With 3 digits, 95 + 123
reads

    095+123=0218

whose prefix is everything up to `=`. `objective.order = reversed` writes the sum from its last digit, the order in
which carries run. Tokens: 0..9, `+` = 10, `=` = 11, `$` = 12 (the dummy). a+b and b+a are the same problem: a split
holds both or neither.
"""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np

from pathstar.errors import UserError, require
from pathstar.tasks import counter
from pathstar.tasks.lines import read

_PLUS, _EQUALS = 10, 11


@dataclasses.dataclass(frozen=True)
class Addition:
  """Task fields (`task.*` in a config) and the examples they define."""

  digits: int = 3  # of each operand

  vocab_size = 13
  dummy = 12
  separator = None
  branch = None
  answers_vary = False
  year, source = 2024, "Bachmann and Nagarajan, talk"

  def __post_init__(self):
    require(1 <= self.digits <= 9, "task.digits", self.digits, "between 1 and 9")

  @property
  def prefix_length(self) -> int:
    return 2 * self.digits + 2

  @property
  def target_length(self) -> int:
    return self.digits + 1

  @property
  def answer_length(self) -> int:
    return self.target_length

  @property
  def chance(self) -> float:
    """Exact match of a sum chosen at random among those that occur."""
    return 1 / (2 * 10**self.digits - 1)

  def __str__(self) -> str:
    return f"{self.digits}-digit addition"

  @property
  def slug(self) -> str:
    """The task in a run's name."""
    return f"add{self.digits}"

  def num_problems(self) -> int:
    """Number of unordered pairs of operands."""
    return 10**self.digits * (10**self.digits + 1) // 2

  def examples(self, seed, split: str, index_B) -> dict[str, np.ndarray]:
    """Examples as a pure function of (seed, split, index).

    Indices draw their problems independently, so that of n training examples about n / num_problems() repeat an
    earlier one.

    Args:
      seed: integer, or one per index. Ignored by the test split.
      split: "train" or "test"; the two share no problem.
      index_B: example indices, any order, repeats allowed.

    Returns:
      int32 `prefix` (B, P) and `target` (B, L), float32 `weight` (B, L) and bool `answer` (B, L), which are all ones.
    """
    problem = counter.draw(self._propose, self._identity, seed, split, np.asarray(index_B, np.int64))
    return self._encode(problem["operands"])

  def _propose(self, key_B) -> dict[str, np.ndarray]:
    operands = [counter.below(counter.fold(key_B, which), 10**self.digits) for which in (1, 2)]
    return {"operands": np.stack(operands, axis=1).astype(np.int64)}

  def _identity(self, problem) -> np.ndarray:
    low, high = np.sort(problem["operands"], axis=1).T
    return counter.fold(counter.fold(counter.GOLDEN[None], low), high)

  def problems(self, batch: dict[str, np.ndarray]) -> np.ndarray:
    """A hash (B,) of each example's problem: the same for a+b and b+a."""
    n, powers = self.digits, 10 ** np.arange(self.digits - 1, -1, -1, dtype=np.int64)
    prefix = batch["prefix"].astype(np.int64)
    return self._identity({"operands": np.stack([prefix[:, :n] @ powers, prefix[:, n + 1:-1] @ powers], axis=1)})

  def _encode(self, operand_Bx2) -> dict[str, np.ndarray]:
    size, n = len(operand_Bx2), self.digits
    prefix = np.full((size, self.prefix_length), _EQUALS, np.int32)
    prefix[:, :n], prefix[:, n], prefix[:, n + 1:-1] = _digits(operand_Bx2[:, 0], n), _PLUS, _digits(operand_Bx2[:, 1], n)
    shape = (size, self.target_length)
    return {"prefix": prefix, "target": _digits(operand_Bx2.sum(axis=1), n + 1),
            "weight": np.ones(shape, np.float32), "answer": np.ones(shape, bool)}

  def to_text(self, batch: dict[str, np.ndarray]) -> list[str]:
    """One line an example, as `095+123=0218`."""
    rows = np.concatenate([batch["prefix"], batch["target"]], axis=1)
    return ["".join("0123456789+=$"[token] for token in row) for row in rows]

  def from_text(self, lines: Iterable[str]) -> dict[str, np.ndarray]:
    """The inverse of `to_text`; blank lines are passed over, and a sum that is left out after `=` is added up.

    Raises:
      UserError: a malformed line or a wrong sum, with its number.
    """
    return self._encode(np.array(read(lines, self._parse), np.int64))

  def _parse(self, line: str) -> tuple[int, int]:
    n = self.digits
    match = re.fullmatch(rf"([0-9]{{{n}}})\+([0-9]{{{n}}})=([0-9]{{{n + 1}}})?", line)
    if match is None:
      raise UserError(f"not of the form a+b=c with {n}, {n} and {n + 1} digits (task.digits = {n})")
    a, b, c = (None if digits is None else int(digits) for digits in match.groups())
    if c not in (None, a + b):
      raise UserError(f"wrong sum, {a} + {b} is {a + b}")
    return a, b


def _digits(number_B: np.ndarray, count: int) -> np.ndarray:
  """Decimal digits (B, count), the most significant first."""
  return (number_B[:, None] // 10 ** np.arange(count - 1, -1, -1) % 10).astype(np.int32)
