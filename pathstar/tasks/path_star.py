"""Path-star graphs G(degree, length): find the arm that leads from the centre to the goal.

Bachmann and Nagarajan, "The pitfalls of next-token prediction", ICML 2024 (arXiv 2403.06963), section 4.
`degree` arms leave the start node, each `length` nodes long counting the start; node ids are drawn
without replacement; the edges are listed in random order, then start and goal; the answer is the
path. In the authors' text format, G(2, 3) with 5 nodes or more reads

    4,1|0,2|4,0|1,3/4,2=4,0,2

whose prefix is everything up to `=` and whose target is the path 4 0 2. Commas are not tokens. The second token of
the target, here 0, is the BRANCH token: the only one that is not read off by following an edge.

With `task.target` the answer may come after a chain of thought, the trace of a search or of a walk back from the goal:

    search      4,1,3|4,0,2=4,0,2     arms tried one by one (| goes back to the start) until one ends at the goal
    lookahead   2,0,4=4,0,2           the path from its end

Traces of `search` differ in length, and many are right: arms are tried in random order. What follows is `$`, of no
weight.

Variants of later work, each off by default:

    task.min_length=3                  lengths from 3 to task.length, one for all arms of a graph
    task.arm_lengths=unequal           ... or each arm of its own (as in Patel et al., arXiv 2505.05755)
    task.query=inner                   an inner node of the arm is named in place of the goal; the answer is the whole arm
    task.layout=arms                   the edges of an arm stand together, from the start outwards
    task.layout=query_first            4,2/4,1|0,2|4,0|1,3=4,0,2
    task.layout=edges_twice            the list of edges is written twice, so that each edge can see all others
    task.siblings=2                    two goals of one graph stand side by side in a batch (Frydenlund, arXiv 2410.13779)
    task.dead_ends=1                   trees: in training each arm has dead ends, at inner nodes; tested on stars (Frydenlund, 2503.10542)

A problem that is shorter than others is padded with `$` on its left.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from pathstar.errors import choose, require
from pathstar.tasks import counter, star_text, star_tokens

_MAX_NODES = 2**15


@dataclasses.dataclass(frozen=True)
class PathStar:
  """Task fields (`task.*` in a config) and the examples they define. Raises UserError on impossible topologies."""

  year, source = 2024, "Bachmann and Nagarajan, arXiv 2403.06963"

  degree: int = 2  # number of arms
  length: int = 5  # nodes on an arm, counting the start node
  num_nodes: int | None = None  # node ids are drawn from 0..num_nodes-1; None: max(50, nodes of the graph)
  target: str = "path"  # path | search | lookahead: the path alone, or after the trace of a solver
  min_length: int | None = None  # nodes of the shortest arm; None: all have `length`
  arm_lengths: str = "equal"  # equal | unequal: with `min_length`, one length for a graph, or one for each arm
  query: str = "goal"  # goal | inner: the node that is named beside the start
  layout: str = "edges"  # edges | arms | query_first | edges_twice: how the problem is written
  siblings: int = 1  # goals of one graph that follow each other
  dead_ends: int = 0  # of each arm of a training graph

  def __post_init__(self):
    require(self.degree >= 1, "task.degree", self.degree, "an integer >= 1")
    require(self.length >= 2, "task.length", self.length, "an integer >= 2 (start and goal)")
    require(self.dead_ends >= 0, "task.dead_ends", self.dead_ends, "an integer >= 0")
    nodes = f"task.degree * (task.length - 1{' + task.dead_ends' if self.dead_ends else ''}) + 1"
    require(self.graph_nodes <= _MAX_NODES, "task.length", self.length, f"such that {nodes} <= {_MAX_NODES} (task.degree = {self.degree})")
    if self.num_nodes is None:
      object.__setattr__(self, "num_nodes", max(50, self.graph_nodes))
    require(self.graph_nodes <= self.num_nodes <= _MAX_NODES, "task.num_nodes", self.num_nodes,
            f"between {self.graph_nodes} (G({self.degree},{self.length}) has {nodes} nodes) and {_MAX_NODES}")
    choose("task.target", self.target, ("path", "search", "lookahead"))
    choose("task.arm_lengths", self.arm_lengths, ("equal", "unequal"))
    choose("task.query", self.query, ("goal", "inner"))
    choose("task.layout", self.layout, ("edges", "arms", "query_first", "edges_twice"))
    shortest, inner = self.lengths[0] if self.lengths else self.length + 1, self.query == "inner" or self.dead_ends
    require(2 <= shortest <= self.length, "task.min_length", self.min_length, f"between 2 and task.length = {self.length}")
    if self.target != "path":
      require(self.min_length is None, "task.min_length", self.min_length, f"None with task.target = {self.target!r}")
    if self.arm_lengths == "unequal":
      require(shortest < self.length, "task.arm_lengths", self.arm_lengths, f"'equal' without a task.min_length below {self.length}")
    # A dead end beside the goal is as good an end of an arm that is not named, and a search would have to look into all.
    for name, value in (("task.query", self.query), ("task.target", self.target)):
      require(not self.dead_ends or value not in ("inner", "search"), name, value, "another with task.dead_ends")
    if inner:
      name = "task.length" if self.min_length is None else "task.min_length"
      require(shortest > 2, name, shortest, "at least 3: an arm of 2 nodes has no inner node (task.query, task.dead_ends)")
    require(1 <= self.siblings <= self.degree, "task.siblings", self.siblings, f"between 1 and task.degree = {self.degree}")

  @property
  def lengths(self) -> tuple[int, ...]:
    """Lengths that an arm may have."""
    return tuple(range(self.length if self.min_length is None else self.min_length, self.length + 1))

  @property
  def answers_vary(self) -> bool:
    """Of `search` the trace does, and what follows the answer has no weight."""
    return len(self.lengths) > 1

  @property
  def names_goal(self) -> bool:
    return self.query == "goal"

  @property
  def drawn_alone(self) -> dict[str, int]:
    """What can't be read from a file."""
    return {"dead_ends": self.dead_ends} if self.dead_ends else {}

  @property
  def groups(self) -> dict[str, tuple[int, ...]]:
    """What examples differ in beside their nodes: a key of `examples`, and its values."""
    return ({"length": self.lengths} if self.answers_vary else {}) | (
        {"waypoint": tuple(range(1, self.length - 1))} if self.query == "inner" else {})

  @property
  def graph_nodes(self) -> int:
    return self.num_edges + 1

  @property
  def num_edges(self) -> int:
    """Of the largest graph."""
    return self.degree * (self.length - 1 + self.dead_ends)

  @property
  def vocab_size(self) -> int:
    return self.num_nodes + 4

  @property
  def dummy(self) -> int:
    """The token `$` that stands in for unseen answer tokens."""
    return self.num_nodes + 3

  @property
  def prefix_length(self) -> int:
    return 3 * self.num_edges * (2 if self.layout == "edges_twice" else 1) + 3

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
    """Exact match of guessing an arm, if the question does not name its first node, and then following it."""
    named = [1 / (length - 2) if self.query == "inner" else float(length == 2) for length in self.lengths]
    return sum(share + (1 - share) / self.degree for share in named) / len(named)

  @property
  def _variant(self) -> list[str]:
    named = [("edges" != self.layout, self.layout.replace("_", " ")), (self.query == "inner", "inner query"),
             (self.siblings > 1, f"{self.siblings} siblings"), (self.dead_ends, f"{self.dead_ends} dead ends"),
             (self.target != "path", self.target), (self.arm_lengths == "unequal", "unequal")]
    return [words for used, words in named if used]

  def __str__(self) -> str:
    length = f"{self.min_length}-{self.length}" if self.answers_vary else self.length
    return " ".join([f"G({self.degree},{length})", ", ".join(self._variant)]).strip()

  @property
  def slug(self) -> str:
    """The task in a run's name."""
    length = f"{self.min_length}to{self.length}" if self.answers_vary else self.length
    return "-".join([f"d{self.degree}", f"l{length}", *(words.replace(" ", "-") for words in self._variant)])

  def num_problems(self) -> int:
    """Number of distinct problems, or 2^63 if there are more: unordered arms and a goal, whatever the order of edges and the dead ends."""
    nodes = self.degree * (self.length - 1) + 1
    log_longest = math.lgamma(self.num_nodes + 1) - math.lgamma(self.num_nodes - nodes + 1) - math.lgamma(self.degree)
    if log_longest > 63.5 * math.log(2):
      return 2**63
    arms = self.degree if self.arm_lengths == "unequal" and self.answers_vary else 1
    ways = np.ones(1, object)  # to choose the lengths, by the number of edges
    for _ in range(arms):
      ways = np.convolve(ways, np.array([int(edges + 1 in self.lengths) for edges in range(self.length)], object))
    ordered = sum(number * math.perm(self.num_nodes, self.degree // arms * edges + 1) for edges, number in enumerate(ways))
    return ordered // math.factorial(self.degree - 1)

  def examples(self, seed, split: str, index_B) -> dict[str, np.ndarray]:
    """Examples as a pure function of (seed, split, index).

    Args:
      seed: integer, or one per index. Ignored by the test split.
      split: "train" or "test"; the two share no problem.
      index_B: example indices, any order, repeats allowed.

    Returns:
      int32 `prefix` (B, P), `target` (B, L), `arms` (B, D, L) in random order, `start` and `goal` (B,), float32 `weight` (B, L) of
      the loss and bool `answer` (B, L), the part of the target that is the path; and a key (B,) for each of `groups`. Arms and target are
      padded with the dummy.
    """
    graph_B, sibling_B = np.divmod(np.asarray(index_B, np.int64), self.siblings)
    problem = counter.draw(self._propose, self._identity, seed, split, graph_B)
    problem["goal_arm"] = (problem["goal_arm"] + sibling_B.astype(np.int32)) % self.degree
    if split == "test":
      problem["dead_ends"] = np.full_like(problem["dead_ends"], self.dummy)
    arms, goal_arm, word_B = (problem[name] for name in ("arms", "goal_arm", "waypoint"))
    last_B = (arms[np.arange(len(arms)), goal_arm] != self.dummy).sum(axis=1) - 1
    if self.query == "inner":
      last_B = 1 + counter.below(counter.fold(word_B, sibling_B), last_B - 1)
    return star_tokens.encode(self, **problem | {"waypoint": last_B})

  def _propose(self, key_B) -> dict[str, np.ndarray]:
    size, degree, longest = len(key_B), self.degree, self.length - 1
    node_BxM = counter.permutation(key_B, self.num_nodes)[:, : self.graph_nodes]
    start_BxDx1 = np.broadcast_to(node_BxM[:, :1, None], (size, degree, 1))
    rest_BxDxL, dead_BxDxK = np.split(node_BxM[:, 1:].reshape(size, degree, longest + self.dead_ends), [longest], axis=2)
    arms = np.concatenate([start_BxDx1, rest_BxDxL], axis=2)
    if self.answers_vary:
      word_BxD = counter.bits(counter.fold(key_B, 3), degree if self.arm_lengths == "unequal" else 1)
      length_BxD = self.lengths[0] + counter.below(word_BxD, len(self.lengths))
      arms = np.where(np.arange(self.length) < length_BxD[:, :, None], arms, self.dummy)
    # A dead end hangs on an inner node of its arm.
    inner_BxDx1 = (arms != self.dummy).sum(axis=2, keepdims=True) - 2
    word_BxDxK = counter.bits(counter.fold(key_B, 4), degree * self.dead_ends).reshape(dead_BxDxK.shape)
    at_BxDxK = 1 + counter.below(word_BxDxK, inner_BxDx1) if self.dead_ends else dead_BxDxK
    order = counter.permutation(counter.fold(key_B, 1), self.num_edges)
    if self.layout == "arms":  # whole arms in random order; an arm's edges from the start outwards
      order = (counter.permutation(counter.fold(key_B, 1), degree)[:, :, None] * (longest + self.dead_ends)
               + np.arange(longest + self.dead_ends, dtype=np.int32)).reshape(size, -1)
    return {
        "arms": arms,
        "goal_arm": counter.below(counter.fold(key_B, 2), degree),
        "edge_order": order,
        "dead_ends": np.stack([np.take_along_axis(arms, at_BxDxK, axis=2), dead_BxDxK], axis=3),
        "waypoint": counter.fold(key_B, 5),
    }

  def _identity(self, problem) -> np.ndarray:
    """Hash of the canonical problem: the arms as an unordered set, one of them marked unless siblings share them; no edge order."""
    arms = problem["arms"]
    is_goal = (np.arange(self.degree) == problem["goal_arm"][:, None]) & (self.siblings == 1)
    arm_BxD = counter.mix(is_goal + counter.GOLDEN)
    for position in range(self.length):
      arm_BxD = counter.fold(arm_BxD, arms[:, :, position])
    return counter.mix(arm_BxD.sum(axis=1))

  def problems(self, batch: dict[str, np.ndarray]) -> np.ndarray:
    """A hash (B,) of each example's problem: the same for the same arms and goal, whatever the order of arms and edges."""
    goal_arm = np.argmax((batch["arms"] == batch["goal"][:, None, None]).any(axis=2), axis=1)
    return self._identity({"arms": batch["arms"], "goal_arm": goal_arm})

  def to_text(self, batch: dict[str, np.ndarray]) -> list[str]:
    """The batch in the authors' file format, which has no traces, one line an example."""
    return star_text.write(self, batch)

  def from_text(self, lines: Iterable[str]) -> dict[str, np.ndarray]:
    """The inverse of `to_text`; blank lines are passed over, and an answer that is left out after `=` is found.

    Raises:
      UserError: a malformed line, with its number and what is wrong with it.
    """
    return star_tokens.encode(self, **star_text.read(self, lines))
