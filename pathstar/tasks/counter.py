"""Counter-based randomness: every number is a pure function of (seed, split, example index, attempt), with no generator state.

That makes an example independent of the batch, worker, host or pack it is drawn in, and makes
resuming a matter of knowing the step. The mixer is the finaliser of SplitMix64 (Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from collections.abc import Callable

import numpy as np

from pathstar.errors import UserError

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SPLITS = ("train", "test")
TEST_SHARE = 1 / 8  # of the space of problems; train owns the rest
_MAX_ATTEMPTS = 2000  # (1 - 1/8)^2000 < 1e-115: only a split without any problem gets there


def mix(x: np.ndarray) -> np.ndarray:
  """A bijection of uint64 whose output bits each depend on all input bits."""
  x = x ^ (x >> np.uint64(30))
  x *= np.uint64(0xBF58476D1CE4E5B9)
  x ^= x >> np.uint64(27)
  x *= np.uint64(0x94D049BB133111EB)
  x ^= x >> np.uint64(31)
  return x


def fold(key: np.ndarray, data) -> np.ndarray:
  """A new uint64 key from `key` and integer `data` (broadcast together)."""
  return mix(key * GOLDEN + np.asarray(data).astype(np.uint64) + np.uint64(1))


def bits(key_B: np.ndarray, n: int) -> np.ndarray:
  """`n` uniform 64-bit words per key: uint64 of shape (B, n)."""
  return mix(key_B[:, None] + GOLDEN * np.arange(1, n + 1, dtype=np.uint64))


def below(word: np.ndarray, n: int) -> np.ndarray:
  """Uniform integers in [0, n) from uniform words, for n < 2^32 (multiply-high; bias below n / 2^32)."""
  return ((word >> np.uint64(32)) * np.uint64(n) >> np.uint64(32)).astype(np.int32)


def permutation(key_B: np.ndarray, n: int) -> np.ndarray:
  """A uniform permutation of range(n) per key: int32 of shape (B, n), for n <= 2^16."""
  words = bits(key_B, n)
  words &= np.uint64(0xFFFFFFFFFFFF0000)
  words |= np.arange(n, dtype=np.uint64)
  words.sort(axis=1)  # sorting words that carry their index is several times faster than argsort
  return words.astype(np.uint16).astype(np.int32)


def shuffled(index_B: np.ndarray, key_B: np.ndarray, n: int) -> np.ndarray:
  """Position of `index_B` in a pseudo-random permutation of range(n) that `key_B` selects: int64 of shape (B,).

  A four-round Feistel network with cycle walking: a shuffled epoch without a table of n entries.
  """
  half = np.uint64(max(1, (int(n - 1).bit_length() + 1) // 2))
  mask = (np.uint64(1) << half) - np.uint64(1)
  out = np.array(index_B, np.uint64)
  rows = np.arange(out.size)
  while rows.size:  # values that leave range(n) walk on until they come back
    left, right, key = out[rows] >> half, out[rows] & mask, key_B[rows]
    for turn in range(4):
      left, right = right, left ^ (fold(fold(key, turn), right) & mask)
    out[rows] = left << half | right
    rows = rows[out[rows] >= n]
  return out.astype(np.int64)


def draw(
    propose: Callable[[np.ndarray], dict[str, np.ndarray]],
    identity: Callable[[dict[str, np.ndarray]], np.ndarray],
    seed,
    split: str,
    index_B: np.ndarray,
) -> dict[str, np.ndarray]:
  """The problem of each example index: its first candidate that lies in the split's share of the problem space.

  Args:
    propose: keys (B,) -> candidate problems, a dict of arrays with leading axis B.
    identity: problems -> uint64 hash (B,) of the canonical problem; it decides the split.
    seed: integer or (B,) array. The test split ignores it: test is the same for every seed.
    split: "train" or "test".
    index_B: example indices.

  Raises:
    UserError: the split holds no problem at all.
  """
  seed_B = np.broadcast_to(np.asarray(0 if split == "test" else seed), index_B.shape)
  key_B = fold(fold(fold(GOLDEN[None], SPLITS.index(split)), seed_B), index_B)
  problem = propose(key_B)
  threshold = np.uint64(int(TEST_SHARE * 2**64))
  rows = np.arange(index_B.size)
  for attempt in range(1, _MAX_ATTEMPTS):
    is_test = identity({k: v[rows] for k, v in problem.items()}) < threshold
    rows = rows[is_test != (split == "test")]
    if not rows.size:
      return problem
    for name, value in propose(fold(key_B[rows], attempt)).items():
      problem[name][rows] = value
  raise UserError(f"the {split} split holds no problem of this task: it has too few problems")
