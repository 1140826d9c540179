"""A task in one file: a star whose arms come in pairs of different lengths, k and shortest + longest - k.

    4,1|0,2|4,0|1,3|3,5/4,2=4,0,2

Answers differ in length and are padded; the number of edges is always the same.
"""

import dataclasses

import numpy as np

from pathstar.errors import UserError, require
from pathstar.tasks import counter


@dataclasses.dataclass(frozen=True)
class UnequalArms:
  """Task fields."""

  answers_vary = True
  separator = None
  branch = 1
  year, source = None, "made up for the tests"

  degree: int = 2  # unequal_arms and path_star: number of arms
  shortest: int = 3  # unequal_arms: nodes of the shortest arm
  longest: int = 5  # unequal_arms: nodes of the longest arm
  num_ids: int = 16  # unequal_arms: node ids

  def __post_init__(self):
    require(self.degree % 2 == 0, "task.degree", self.degree, "even: arms come in pairs")
    require(2 <= self.shortest <= self.longest, "task.shortest", self.shortest, f"between 2 and task.longest = {self.longest}")
    require(self.num_ids > self.num_edges, "task.num_ids", self.num_ids, f"more than {self.num_edges}")
    object.__setattr__(self, "vocab_size", self.num_ids + 4)
    object.__setattr__(self, "dummy", self.num_ids + 3)
    object.__setattr__(self, "prefix_length", 3 * self.num_edges + 3)
    object.__setattr__(self, "answer_length", self.longest)
    object.__setattr__(self, "target_length", self.longest)
    object.__setattr__(self, "chance", 1 / self.degree)
    object.__setattr__(self, "num_nodes", self.num_ids)
    object.__setattr__(self, "slug", f"u{self.degree}-l{self.shortest}to{self.longest}")

  @property
  def num_edges(self):
    return self.degree // 2 * (self.shortest + self.longest - 2)

  def __str__(self):
    return f"U({self.degree},{self.shortest}-{self.longest})"

  def num_problems(self):
    return 10**9

  def examples(self, seed, split, index_B):
    return self._encode(counter.draw(self._propose, self._identity, seed, split, np.asarray(index_B, np.int64)))

  def _propose(self, key_B):
    node, span = counter.permutation(key_B, self.num_ids), self.longest - self.shortest + 1
    arms = np.full((len(key_B), self.degree, self.longest), self.dummy, np.int32)
    for b, key in enumerate(key_B):
      lengths, free = [], iter(node[b, 1:])
      for pair in range(self.degree // 2):
        k = self.shortest + int(counter.below(counter.fold(key[None], 10 + pair), span)[0])
        lengths += [k, self.shortest + self.longest - k]
      for place, arm in enumerate(counter.permutation(counter.fold(key[None], 3), self.degree)[0]):
        arms[b, place, :lengths[arm]] = [node[b, 0], *(next(free) for _ in range(lengths[arm] - 1))]
    return {"arms": arms, "goal_arm": counter.below(counter.fold(key_B, 2), self.degree),
            "edge_order": counter.permutation(counter.fold(key_B, 1), self.num_edges)}

  def _identity(self, problem):
    goal = np.arange(self.degree) == problem["goal_arm"][:, None]
    arm_BxD = counter.mix(goal + counter.GOLDEN)
    for place in range(self.longest):
      arm_BxD = counter.fold(arm_BxD, problem["arms"][:, :, place])
    return counter.mix(arm_BxD.sum(axis=1))

  def _encode(self, problem):
    arms, rows = problem["arms"], np.arange(len(problem["arms"]))
    target = arms[rows, problem["goal_arm"]]
    answer = target != self.dummy
    pairs = np.stack([arms[:, :, :-1], arms[:, :, 1:]], axis=3).reshape(len(arms), -1, 2)
    edges = pairs[pairs[:, :, 1] != self.dummy].reshape(len(arms), self.num_edges, 2)[rows[:, None], problem["edge_order"]]
    prefix = np.full((len(arms), self.prefix_length), self.num_ids, np.int32)
    prefix[:, :-3].reshape(len(arms), -1, 3)[:, :, :2] = edges
    goal = target[rows, answer.sum(axis=1) - 1]
    prefix[:, -4:] = np.stack([np.full(len(arms), self.num_ids + 2), target[:, 0], goal, np.full(len(arms), self.num_ids + 1)], axis=1)
    return {"prefix": prefix, "target": target, "arms": arms, "start": target[:, 0], "goal": goal,
            "weight": answer.astype(np.float32), "answer": answer}

  def to_text(self, batch):
    edges = ["|".join(f"{u},{v}" for u, v, _ in row[:-3].reshape(-1, 3)) for row in batch["prefix"]]
    paths = [",".join(map(str, row[answer])) for row, answer in zip(batch["target"], batch["answer"])]
    return [f"{e}/{s},{g}={p}" for e, s, g, p in zip(edges, batch["start"], batch["goal"], paths)]

  def from_text(self, lines):
    problems = []
    for line in filter(None, map(str.strip, lines)):
      try:
        edges, path = line.split("/")[0].split("|"), line.split("=")[1].split(",")
        edges, path = [tuple(map(int, edge.split(","))) for edge in edges], [*map(int, path)]
      except (ValueError, IndexError):
        raise UserError("not of the form u,v|...|u,v/start,goal=start,...,goal") from None
      after, arms = dict(edge for edge in edges if edge[0] != path[0]), []
      for _, node in (edge for edge in edges if edge[0] == path[0]):
        arms.append([path[0], node])
        while arms[-1][-1] in after:
          arms[-1].append(after[arms[-1][-1]])
      order = [edge for arm in arms for edge in zip(arm, arm[1:])]
      problems.append(([arm + [self.dummy] * (self.longest - len(arm)) for arm in arms], arms.index(path), [order.index(e) for e in edges]))
    if not problems:
      raise UserError("no example in the file")
    return self._encode({name: np.array(x, np.int32) for name, x in zip(("arms", "goal_arm", "edge_order"), zip(*problems))})
