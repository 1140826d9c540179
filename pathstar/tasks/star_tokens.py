"""Path-star problems as tokens; see path_star.py for how they read."""

import numpy as np


def encode(task, arms, goal_arm, edge_order, dead_ends, waypoint) -> dict[str, np.ndarray]:
  """The tokens of problems.

  Args:
    arms: (B, D, L), padded with the dummy.
    goal_arm: (B,).
    edge_order: (B, E) of the edges arm by arm, those to its dead ends last. Edges that a problem lacks are passed over.
    dead_ends: (B, D, K, 2), the edges to them.
    waypoint: (B,), place of the named node on the goal's arm.
  """
  size, num_nodes = len(arms), task.num_nodes
  pipe, equals, slash = num_nodes, num_nodes + 1, num_nodes + 2
  rows = np.arange(size)
  path = arms[rows, goal_arm]
  length_B = (path != task.dummy).sum(axis=1)
  edges = np.concatenate([np.stack([arms[:, :, :-1], arms[:, :, 1:]], axis=3), dead_ends], axis=2)
  edges = edges.reshape(size, task.num_edges, 2)[rows[:, None], edge_order]
  if task.layout == "edges_twice":
    edges = np.concatenate([edges, edges], axis=1)
  missing = edges[:, :, 1] == task.dummy
  if task.answers_vary or task.dead_ends:
    edges = edges[rows[:, None], np.argsort(~missing, axis=1, kind="stable")]
  # Triples of two nodes and what follows them: an edge, or the start and the named node.
  prefix = np.full((size, task.prefix_length), pipe, np.int32)
  triples, question = prefix.reshape(size, -1, 3), np.stack([path[:, 0], path[rows, waypoint], np.full(size, slash)], axis=1)
  if task.layout == "query_first":
    triples[:, 1:, :2] = edges
    triples[rows, missing.sum(axis=1)] = question
  else:
    triples[:, :-1, :2], triples[:, -2, 2], triples[:, -1] = edges, slash, question
  triples[:, -1, 2] = equals
  prefix[np.arange(task.prefix_length) < 3 * missing.sum(axis=1)[:, None]] = task.dummy
  if task.target == "search":
    walks = np.concatenate([arms, np.full((size, task.degree, 1), pipe, np.int32)], axis=2)
    trace, begin_B = walks.reshape(size, -1), (goal_arm + 1) * (task.length + 1)
  elif task.target == "lookahead":
    trace, begin_B = path[:, ::-1], np.full(size, task.length + 1)
  else:
    trace, begin_B = path[:, :0], np.zeros(size, int)
  # Place within the answer: the separator is at -1, the trace before it, nothing from its length on.
  place = np.arange(task.target_length) - begin_B[:, None]
  target = np.pad(trace, ((0, 0), (0, task.target_length - trace.shape[1])))
  target[place == -1] = equals
  answer = (place >= 0) & (place < length_B[:, None])
  target[answer] = path[path != task.dummy]
  target[place >= length_B[:, None]] = task.dummy
  weight = (place < length_B[:, None]).astype(np.float32)
  groups = {name: {"length": length_B, "waypoint": waypoint}[name].astype(np.int32) for name in task.groups}
  return {"prefix": prefix, "target": target, "arms": arms, "start": path[:, 0], "goal": path[rows, length_B - 1], "weight": weight,
          "answer": answer, **groups}
