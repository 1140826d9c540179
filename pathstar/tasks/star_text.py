"""Path-star problems as lines of text: the authors' format, and what variants of the task make of it (see path_star.py)."""

import collections
import functools
import re
from collections.abc import Iterable

import numpy as np

from pathstar.errors import UserError, shown
from pathstar.tasks.lines import read as read_lines

_NODE = "-?[0-9]{1,9}"
_PAIR = f"{_NODE},{_NODE}"
_EDGES, _PATH = rf"{_PAIR}(?:\|{_PAIR})*", f"(?:{_NODE}(?:,{_NODE})*)?"
_FORM, _QUERY_FIRST = re.compile(f"{_EDGES}/{_PAIR}={_PATH}"), re.compile(f"{_PAIR}/{_EDGES}={_PATH}")


def write(task, batch: dict[str, np.ndarray]) -> list[str]:
  """`PathStar.to_text`."""
  signs = {task.num_nodes: "|", task.num_nodes + 1: "=", task.num_nodes + 2: "/"}
  lines = []
  for prefix, target, answer in zip(batch["prefix"], batch["target"], batch["answer"], strict=True):
    triples = prefix.reshape(-1, 3)
    problem = "".join(f"{u},{v}{signs[sign]}" for u, v, sign in triples[triples[:, 1] != task.dummy].tolist())
    lines.append(problem + ",".join(map(str, target[answer])))
  return lines


def read(task, lines: Iterable[str]) -> dict[str, np.ndarray]:
  """What `star_tokens.encode` takes, of all lines that are not blank. Raises UserError with the number of the line at fault."""
  problems = read_lines(lines, functools.partial(_parse, task))
  columns = zip(("arms", "goal_arm", "edge_order", "waypoint"), zip(*problems, strict=True), strict=True)
  none = np.full((len(problems), task.degree, task.dead_ends, 2), task.dummy, np.int32)
  return {name: np.array(column, np.int32) for name, column in columns} | {"dead_ends": none}


def _parse(task, line: str):
  """One line -> arms (D, L), the goal's arm, the order of the edges, and the place of the named node."""
  query_first = task.layout == "query_first"
  if not (_QUERY_FIRST if query_first else _FORM).fullmatch(line):
    form = "start,goal/u,v|u,v|...|u,v" if query_first else "u,v|u,v|...|u,v/start,goal"
    raise UserError(f"not of the form {form}=start,...,goal with integer nodes and nothing else")
  problem, _, path = line.partition("=")
  graph, ends = problem.split("/")[::-1 if query_first else 1]
  edges = [tuple(map(int, edge.split(","))) for edge in graph.split("|")]
  (start, named), path = map(int, ends.split(",")), list(map(int, path.split(","))) if path else None
  following = {}
  for u, v in edges:
    following.setdefault(u, []).append(v)
  if task.layout == "edges_twice":
    if edges[:len(edges) // 2] * 2 != edges:
      raise UserError("the list of edges does not stand twice (task.layout = 'edges_twice')")
    edges = edges[:len(edges) // 2]
    following = {u: v[:len(v) // 2] for u, v in following.items()}
  for node in {node for edge in edges for node in edge} | {start, named, *(path or ())}:
    if not 0 <= node < task.num_nodes:
      raise UserError(f"unknown node {node}: ids run from 0 to {task.num_nodes - 1} (task.num_nodes = {task.num_nodes})")
  heads = collections.Counter(v for _, v in edges)
  repeated = next((v for v in heads if heads[v] > 1 or v == start), None)
  if repeated is not None:
    raise UserError(f"duplicate node {repeated}: more than one edge, or the start, leads to it")
  first_moves = following.get(start, [])
  if len(first_moves) != task.degree:
    raise UserError(f"wrong degree: the start {start} has {len(first_moves)} arms, the task has degree {task.degree}")
  arms = []
  for node in first_moves:
    arm = [start, node]
    while arm[-1] in following and len(arm) <= task.length:
      if len(following[arm[-1]]) > 1:
        raise UserError(f"wrong degree: node {arm[-1]} branches, only the start may")
      arm.append(following[arm[-1]][0])
    if len(arm) not in task.lengths:
      more, bound = ("more", task.length) if len(arm) > task.length else ("fewer", task.lengths[0])
      raise UserError(f"wrong length: the arm through {node} has {more} than {bound} nodes")
    arms.append(arm)
  if task.arm_lengths == "equal" and len(set(map(len, arms))) > 1:
    raise UserError(f"wrong length: arms of {min(map(len, arms))} and {max(map(len, arms))} nodes (task.arm_lengths = 'equal')")
  if task.layout == "arms" and edges != [edge for arm in arms for edge in zip(arm, arm[1:])]:
    raise UserError("the edges don't stand arm by arm, each from the start on (task.layout = 'arms')")
  slots = task.num_edges // task.degree
  number = {edge: a * slots + i for a, arm in enumerate(arms) for i, edge in enumerate(zip(arm, arm[1:]))}
  if len(edges) != len(number):
    raise UserError(f"{len(edges)} edges, of which {len(number)} belong to the arms of {task}")
  if path is None:  # a question without its answer
    is_named = lambda arm: named in arm[1:-1] if task.query == "inner" else arm[-1] == named
    path = next((arm for arm in arms if is_named(arm)), [start, named])
  if path[::-1] in arms:
    raise UserError("the path runs from the goal to the start; files have it from the start, whatever objective.order is")
  if path not in arms or (path[-1] != named if task.query == "goal" else named not in path[1:-1]):
    through = "to" if task.query == "goal" else "through"
    raise UserError(f"broken path: {shown(path)[1:-1].replace(' ', '')} is not the arm from {start} {through} {named}")
  order = [number[edge] for edge in edges]
  order += sorted(set(range(task.num_edges)) - set(order))
  padded = [arm + [task.dummy] * (task.length - len(arm)) for arm in arms]
  return padded, arms.index(path), order, path.index(named)
