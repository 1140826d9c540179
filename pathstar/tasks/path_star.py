"""Path-star graphs G(degree, length): find the arm that leads from the centre to the goal.

Bachmann and Nagarajan, "The pitfalls of next-token prediction", ICML 2024 (arXiv 2403.06963), section 4.
`degree` arms leave the start node, each `length` nodes long counting the start; node ids are drawn
without replacement; the edges are listed in random order, then start and goal; the answer is the
path. In the authors' text format, G(2, 3) with 5 nodes or more reads

    4,1|0,2|4,0|1,3/4,2=4,0,2

whose prefix is everything up to `=` and whose target is the path 4 0 2. Commas are not tokens. The second token of
the target, here 0, is the BRANCH token: the only one that is not read off by following an edge.

With `task.target` the answer may come after a chain of thought, a trace of one of the two exact solvers in solvers.py:

    search      4,1,3|4,0,2=4,0,2     arms tried one by one (| goes back to the start) until one ends at the goal
    lookahead   2,0,4=4,0,2           the path from its end

Traces of `search` differ in length, and many are right: arms are tried in random order. What follows is `$`, of no
weight.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from pathstar.errors import UserError, choose, require
from pathstar.tasks import counter


@dataclasses.dataclass(frozen=True)
class PathStar:
  """Task fields (`task.*` in a config) and the examples they define. Raises UserError on impossible topologies."""

  answers_vary = False  # of `search` the trace does, and what follows the answer has no weight
  year, source = 2024, "Bachmann and Nagarajan, arXiv 2403.06963"

  degree: int = 2  # number of arms
  length: int = 5  # nodes on an arm, counting the start node
  num_nodes: int | None = None  # node ids are drawn from 0..num_nodes-1; None: max(50, nodes of the graph)
  target: str = "path"  # path | search | lookahead: the path alone, or after the trace of a solver

  def __post_init__(self):
    require(self.degree >= 1, "task.degree", self.degree, "an integer >= 1")
    require(self.length >= 2, "task.length", self.length, "an integer >= 2 (start and goal)")
    if self.num_nodes is None:
      object.__setattr__(self, "num_nodes", max(50, self.graph_nodes))
    require(
        self.graph_nodes <= self.num_nodes <= 2**15, "task.num_nodes", self.num_nodes,
        f"between {self.graph_nodes} (G({self.degree},{self.length}) has degree * (length - 1) + 1 nodes) and {2**15}")
    choose("task.target", self.target, ("path", "search", "lookahead"))

  @property
  def graph_nodes(self) -> int:
    return self.degree * (self.length - 1) + 1

  @property
  def num_edges(self) -> int:
    return self.degree * (self.length - 1)

  @property
  def vocab_size(self) -> int:
    return self.num_nodes + 4

  @property
  def dummy(self) -> int:
    """The token `$` that stands in for unseen answer tokens."""
    return self.num_nodes + 3

  @property
  def prefix_length(self) -> int:
    return 3 * self.num_edges + 3

  @property
  def answer_length(self) -> int:
    return self.length

  @property
  def target_length(self) -> int:
    return self.length + {"path": 0, "search": self.degree * (self.length + 1), "lookahead": self.length + 1}[self.target]

  @property
  def separator(self) -> int | None:
    """The token `=` after which the answer begins, if a trace comes before it."""
    return None if self.target == "path" else self.num_nodes + 1

  @property
  def branch(self) -> int | None:
    """Place of the branch token in the target."""
    return 1 if self.target == "path" else None

  @property
  def chance(self) -> float:
    """Exact match of guessing an arm and then following it."""
    return 1 / self.degree

  def __str__(self) -> str:
    return f"G({self.degree},{self.length})" + ("" if self.target == "path" else f" {self.target}")

  @property
  def slug(self) -> str:
    """The task in a run's name."""
    return f"d{self.degree}-l{self.length}" + ("" if self.target == "path" else f"-{self.target}")

  def num_problems(self) -> int:
    """Number of distinct problems: unordered arms and a goal, whatever the order of the edges."""
    return math.perm(self.num_nodes, self.graph_nodes) // math.factorial(self.degree - 1)

  def examples(self, seed, split: str, index_B) -> dict[str, np.ndarray]:
    """Examples as a pure function of (seed, split, index).

    Args:
      seed: integer, or one per index. Ignored by the test split.
      split: "train" or "test"; the two share no problem.
      index_B: example indices, any order, repeats allowed.

    Returns:
      int32 `prefix` (B, P), `target` (B, L), `arms` (B, D, L) in random order, `start` and `goal` (B,), float32 `weight` (B, L) of
      the loss and bool `answer` (B, L), the part of the target that is the path.
    """
    problem = counter.draw(self._propose, self._identity, seed, split, np.asarray(index_B, np.int64))
    return self._encode(**problem)

  def _propose(self, key_B) -> dict[str, np.ndarray]:
    node_BxM = counter.permutation(key_B, self.num_nodes)[:, : self.graph_nodes]
    start_BxDx1 = np.broadcast_to(node_BxM[:, :1, None], (len(key_B), self.degree, 1))
    rest = node_BxM[:, 1:].reshape(-1, self.degree, self.length - 1)
    return {
        "arms": np.concatenate([start_BxDx1, rest], axis=2),
        "goal_arm": counter.below(counter.fold(key_B, 2), self.degree),
        "edge_order": counter.permutation(counter.fold(key_B, 1), self.num_edges),
    }

  def _identity(self, problem) -> np.ndarray:
    """Hash of the canonical problem: the arms as an unordered set, one of them marked; no edge order."""
    arms = problem["arms"]
    is_goal = np.arange(self.degree) == problem["goal_arm"][:, None]
    arm_BxD = counter.mix(is_goal + counter.GOLDEN)
    for position in range(self.length):
      arm_BxD = counter.fold(arm_BxD, arms[:, :, position])
    return counter.mix(arm_BxD.sum(axis=1))

  def _encode(self, arms, goal_arm, edge_order) -> dict[str, np.ndarray]:
    size, num_nodes = len(arms), self.num_nodes
    pipe, equals, slash = num_nodes, num_nodes + 1, num_nodes + 2
    rows = np.arange(size)
    path = arms[rows, goal_arm]
    edges = np.stack([arms[:, :, :-1], arms[:, :, 1:]], axis=3).reshape(size, self.num_edges, 2)
    prefix = np.full((size, self.prefix_length), pipe, np.int32)
    listed = prefix[:, : 3 * self.num_edges].reshape(size, self.num_edges, 3)
    listed[:, :, :2] = edges[rows[:, None], edge_order]
    listed[:, -1, 2] = slash
    prefix[:, -3], prefix[:, -2], prefix[:, -1] = path[:, 0], path[:, -1], equals
    if self.target == "search":
      walks = np.concatenate([arms, np.full((size, self.degree, 1), pipe, np.int32)], axis=2)
      trace, begin_B = walks.reshape(size, -1), (goal_arm + 1) * (self.length + 1)
    elif self.target == "lookahead":
      trace, begin_B = path[:, ::-1], np.full(size, self.length + 1)
    else:
      trace, begin_B = path[:, :0], np.zeros(size, int)
    # Place within the answer: the separator is at -1, the trace before it, nothing from `length` on.
    place = np.arange(self.target_length) - begin_B[:, None]
    target = np.pad(trace, ((0, 0), (0, self.target_length - trace.shape[1])))
    target[place == -1] = equals
    answer = (place >= 0) & (place < self.length)
    target[answer] = path.ravel()
    target[place >= self.length] = self.dummy
    weight = (place < self.length).astype(np.float32)
    return {"prefix": prefix, "target": target, "arms": arms, "start": path[:, 0], "goal": path[:, -1], "weight": weight,
            "answer": answer}

  def to_text(self, batch: dict[str, np.ndarray]) -> list[str]:
    """The batch in the authors' file format, which has no traces, one line an example."""
    lines = []
    for prefix, target, answer in zip(batch["prefix"], batch["target"], batch["answer"], strict=True):
      edges = prefix[: 3 * self.num_edges].reshape(-1, 3)
      listed = "|".join(f"{u},{v}" for u, v, _ in edges)
      lines.append(f"{listed}/{prefix[-3]},{prefix[-2]}={','.join(map(str, target[answer]))}")
    return lines

  def from_text(self, lines: Iterable[str]) -> dict[str, np.ndarray]:
    """The inverse of `to_text`; blank lines are passed over, and an answer that is left out after `=` is found.

    Raises:
      UserError: a malformed line, with its number and what is wrong with it.
    """
    problems = []
    for number, line in enumerate(lines, 1):
      if line.strip():
        try:
          problems.append(self._parse(line.strip()))
        except UserError as error:
          raise UserError(f"line {number}: {error}") from None
    if not problems:
      raise UserError("no example in the file")
    return self._encode(*(np.array(column, np.int32) for column in zip(*problems, strict=True)))

  def _parse(self, line: str):
    """One line -> arms (D, L), the goal's arm, and for every listed edge its number in arm-by-arm order."""
    try:
      graph, question = line.split("/")
      ends, path = question.split("=")
      edges = [tuple(map(int, edge.split(","))) for edge in graph.split("|")]
      (start, goal), path = map(int, ends.split(",")), list(map(int, path.split(","))) if path.strip() else None
      following = {}
      for u, v in edges:
        following.setdefault(u, []).append(v)
    except ValueError:
      raise UserError("not of the form u,v|u,v|...|u,v/start,goal=start,...,goal with integer nodes") from None
    for node in {node for edge in edges for node in edge} | {start, goal, *(path or ())}:
      if not 0 <= node < self.num_nodes:
        raise UserError(f"unknown node {node}: ids run from 0 to {self.num_nodes - 1} (task.num_nodes = {self.num_nodes})")
    heads = collections.Counter(v for _, v in edges)
    repeated = next((v for v in heads if heads[v] > 1 or v == start), None)
    if repeated is not None:
      raise UserError(f"duplicate node {repeated}: more than one edge, or the start, leads to it")
    first_moves = following.get(start, [])
    if len(first_moves) != self.degree:
      raise UserError(f"wrong degree: the start {start} has {len(first_moves)} arms, the task has degree {self.degree}")
    arms = []
    for node in first_moves:
      arm = [start, node]
      while arm[-1] in following and len(arm) <= self.length:
        if len(following[arm[-1]]) > 1:
          raise UserError(f"wrong degree: node {arm[-1]} branches, only the start may")
        arm.append(following[arm[-1]][0])
      if len(arm) != self.length:
        raise UserError(f"wrong length: the arm through {node} has {'more' if len(arm) > self.length else 'fewer'} "
                        f"than {self.length} nodes")
      arms.append(arm)
    number = {edge: i for i, edge in enumerate((u, v) for arm in arms for u, v in zip(arm, arm[1:]))}
    if len(edges) != self.num_edges:
      raise UserError(f"{len(edges)} edges, of which {self.num_edges} belong to the arms of {self}")
    if path is None:  # a question without its answer
      path = next((arm for arm in arms if arm[-1] == goal), [start, goal])
    if path[::-1] in arms:
      raise UserError("the path runs from the goal to the start; files have it from the start, whatever objective.order is")
    if path not in arms or path[-1] != goal:
      raise UserError(f"broken path: {','.join(map(str, path))} is not the arm from {start} to {goal}")
    return arms, arms.index(path), [number[edge] for edge in edges]
