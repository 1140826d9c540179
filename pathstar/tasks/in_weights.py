"""One path-star graph that is learned by heart: its edges are training examples, and so are the paths to some of its leaves.

Noroozizadeh, Nagarajan, Rosenfeld and Kumar, "Deep sequence models tend to memorize geometrically" (arXiv 2510.26745): the graph is in the
weights and not in the prompt, and next-token prediction then does find paths to leaves that it was never asked for. An example is
an edge, in either direction, or a path from the start to a leaf that is named:

    edge 8=7             8 and 7 are neighbours
    path 9=0,7,8,9       the start is 0, and the answer of every path begins with it

Paths to a quarter of the leaves are the test; their edges are trained on as all others. Tokens: the nodes, `=`, the kinds `edge` and
`path`, and `$`, which fills up the target of an edge. Nothing of the problem tells the first move but what was learned of the graph.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable

import numpy as np

from pathstar.errors import UserError, require, shown
from pathstar.tasks import counter
from pathstar.tasks.lines import read

_KINDS = ("edge", "path")
_TEST_SHARE = 1 / 4
_MAX_NODES = 2**20


@dataclasses.dataclass(frozen=True)
class InWeights:
  """Task fields (`task.*` in a config) and the examples they define."""

  answers_vary = True
  separator = None
  branch = None  # the legal first moves are all nodes around the start: nothing to choose between a few of them
  year, source = 2025, "Noroozizadeh et al., arXiv 2510.26745"

  degree: int = 2  # number of arms
  length: int = 5  # nodes on an arm, counting the start node
  path_share: float = 0.5  # in_weights: of the training examples, those that are paths; the others are edges
  held_out: int = 0  # in_weights: number of a choice of leaves for the test

  def __post_init__(self):
    require(self.degree >= 2, "task.degree", self.degree, "an integer >= 2")
    require(self.length >= 3, "task.length", self.length, "an integer >= 3")
    require(0 < self.path_share <= 1, "task.path_share", self.path_share, "above 0 and at most 1")
    require(self.held_out >= 0, "task.held_out", self.held_out, "an integer >= 0")
    require(self.num_nodes <= _MAX_NODES, "task.degree", self.degree, f"at most {(_MAX_NODES - 1) // (self.length - 1)} with this length")

  @property
  def num_nodes(self) -> int:
    return self.degree * (self.length - 1) + 1

  @property
  def vocab_size(self) -> int:
    return self.num_nodes + 4

  @property
  def dummy(self) -> int:
    return self.num_nodes + 3

  @property
  def prefix_length(self) -> int:
    return 3

  @property
  def target_length(self) -> int:
    return self.length

  @property
  def answer_length(self) -> int:
    return self.length

  @property
  def chance(self) -> float:
    """Exact match of guessing an arm and then following it."""
    return 1 / self.degree

  def __str__(self) -> str:
    return f"G({self.degree},{self.length}) in weights"

  @property
  def slug(self) -> str:
    """The task in a run's name."""
    return f"w{self.degree}-l{self.length}"

  def num_problems(self) -> int:
    """Edges in both directions, and paths."""
    return 2 * self.degree * (self.length - 1) + self.degree

  @property
  def num_test_problems(self) -> int:
    return len(self._leaves["test"])

  @functools.cached_property
  def _leaves(self) -> dict[str, np.ndarray]:
    """Arms whose paths are in a split. The test's come in random order, each once before any comes again."""
    key = counter.fold(counter.fold(counter.GOLDEN[None], 6), self.held_out)
    order, test = np.argsort(counter.bits(key, self.degree)[0]), max(1, round(self.degree * _TEST_SHARE))
    return {"test": order[:test], "train": order[test:]}

  def examples(self, seed, split: str, index_B) -> dict[str, np.ndarray]:
    """Examples as a pure function of (seed, split, index); see PathStar.examples. The test split holds paths alone."""
    index_B, leaves = np.asarray(index_B, np.int64), self._leaves[split]
    if split == "test":
      return self._encode(np.ones(index_B.shape, bool), leaves[index_B % len(leaves)], np.zeros_like(index_B), np.zeros_like(index_B))
    key_B = counter.fold(counter.fold(counter.fold(counter.GOLDEN[None], 7), np.broadcast_to(seed, index_B.shape)), index_B)
    word = counter.bits(key_B, 4)
    is_path = (word[:, 0] >> np.uint64(11)).astype(np.float64) / 2**53 < self.path_share
    arm = np.where(is_path, leaves[counter.below(word[:, 1], len(leaves))], counter.below(word[:, 1], self.degree))
    return self._encode(is_path, arm, counter.below(word[:, 2], self.length - 1), counter.below(word[:, 3], 2))

  def _encode(self, is_path, arm, edge, back) -> dict[str, np.ndarray]:
    """(B,) each: whether it is a path, the number of its arm, and of an edge its number on the arm and whether it is named backwards."""
    edge_kind, path_kind = self.num_nodes + 1, self.num_nodes + 2
    path = self._node(arm[:, None], np.arange(self.length))
    ends = np.stack([self._node(arm, edge), self._node(arm, edge + 1)], axis=1)
    named, other = np.where(back[:, None] > 0, ends[:, ::-1], ends).T
    prefix = np.stack([np.where(is_path, path_kind, edge_kind), np.where(is_path, path[:, -1], named),
                       np.full(len(arm), self.num_nodes)], axis=1)
    answer = is_path[:, None] | (np.arange(self.length) == 0)
    target = np.where(answer, np.where(is_path[:, None], path, other[:, None]), self.dummy)
    return {"prefix": prefix.astype(np.int32), "target": target.astype(np.int32), "weight": answer.astype(np.float32), "answer": answer}

  def _node(self, arm, place):
    """The node at a place of an arm; 0 is the start."""
    return np.where(place == 0, 0, arm * (self.length - 1) + place)

  def to_text(self, batch: dict[str, np.ndarray]) -> list[str]:
    """`edge u=v` or `path leaf=start,...,leaf`, one line an example."""
    return [f"{_KINDS[kind - self.num_nodes - 1]} {node}={','.join(map(str, target[answer]))}"
            for (kind, node, _), target, answer in zip(batch["prefix"], batch["target"], batch["answer"], strict=True)]

  def from_text(self, lines: Iterable[str]) -> dict[str, np.ndarray]:
    """The inverse of `to_text`; blank lines are passed over, and the path that is left out after `=` is found.

    Raises:
      UserError: a malformed line, with its number and what is wrong with it.
    """
    return self._encode(*map(np.array, zip(*read(lines, self._parse))))

  def _parse(self, line: str) -> tuple[bool, int, int, int]:
    match = re.fullmatch(r"(edge|path) (\d{1,7})=((?:\d{1,7}(?:,\d{1,7})*)?)", line, re.ASCII)
    if not match:
      raise UserError("not of the form 'edge u=v' or 'path leaf=start,...,leaf' with integer nodes")
    node, answer = int(match[2]), [int(word) for word in match[3].split(",") if word]
    for one in (node, *answer):
      if one >= self.num_nodes:
        raise UserError(f"unknown node {one}: ids run from 0 to {self.num_nodes - 1}")
    arm, place = divmod(node - 1, self.length - 1)
    if match[1] == "path":
      path = self._node(arm, np.arange(self.length)).tolist()
      if node == 0 or place != self.length - 2:
        raise UserError(f"node {node} is not the end of an arm of {self}")
      if answer and answer != path:
        raise UserError(f"broken path: {shown(answer)[1:-1].replace(' ', '')} is not the arm to {node}")
      return True, arm, 0, 0
    if len(answer) != 1 or not answer[0] != node:
      raise UserError("an edge has two nodes")
    low, high = sorted((node, answer[0]))
    arm, place = divmod(high - 1, self.length - 1)
    if low != self._node(arm, place):
      raise UserError(f"no edge of {self} joins {low} and {high}")
    return False, arm, place, int(node == high)
