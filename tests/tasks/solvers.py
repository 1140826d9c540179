"""The two straightforward solutions of a path-star graph, from its prefix tokens alone: the reference of `task.target`'s traces.

`search` plans: it tries arm after arm and backtracks. `lookahead` starts at the goal, where every node has one
predecessor, and has no choice to make. Both are exact on every topology in the layout `edges`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pathstar.tasks.path_star import PathStar


class Solution(NamedTuple):
  path: list[int]  # start .. goal
  trace: list[int]  # tokens of the way to it; the last one is the separator `=`


def read(task: PathStar, prefix_P: np.ndarray) -> tuple[list[tuple[int, int]], int, int]:
  """The edges in the order in which they are listed, the start and the goal."""
  edges = np.asarray(prefix_P[:-3]).reshape(-1, 3)[:, :2]
  return [(int(u), int(v)) for u, v in edges], int(prefix_P[-3]), int(prefix_P[-2])


def search(task: PathStar, prefix_P: np.ndarray, first_moves: Sequence[int] | None = None) -> Solution:
  """Tries one arm after the other until one ends at the goal.

  Args:
    task: the topology and token ids.
    prefix_P: the problem's tokens.
    first_moves: order in which the neighbours of the start are tried; None: as their edges are listed.
  """
  edges, start, goal = read(task, prefix_P)
  following = {u: v for u, v in edges if u != start}
  pipe, equals = task.num_nodes, task.num_nodes + 1
  trace = []
  for node in (v for u, v in edges if u == start) if first_moves is None else first_moves:
    arm = [start, int(node)]
    while arm[-1] in following:
      arm.append(following[arm[-1]])
    if arm[-1] == goal:
      return Solution(arm, [*trace, *arm, equals])
    trace += [*arm, pipe]
  raise ValueError(f"no arm tried leads from {start} to {goal}")


def lookahead(task: PathStar, prefix_P: np.ndarray) -> Solution:
  """Walks from the goal to the start, right to left."""
  edges, start, goal = read(task, prefix_P)
  before = {v: u for u, v in edges}
  walk = [goal]
  while walk[-1] != start:
    walk.append(before[walk[-1]])
  return Solution(walk[::-1], [*walk, task.num_nodes + 1])
