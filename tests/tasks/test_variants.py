"""Variants of the path-star task, read from their lines by a reader of its own."""

import numpy as np
import pytest
import scipy.stats

from pathstar.config import resolve
from pathstar.errors import UserError
from pathstar.tasks.path_star import PathStar
from pathstar.training.data import train_index

P_VALUE = 1e-5


def read(line, layout="edges"):
  """A line -> (edges in their order, start, named node, path)."""
  problem, path = line.split("=")
  parts = problem.split("/")
  graph, ends = parts if layout != "query_first" else parts[::-1]
  edges = [tuple(map(int, edge.split(","))) for edge in graph.split("|")]
  return edges, *map(int, ends.split(",")), list(map(int, path.split(",")))


def arms(edges, start):
  after = dict(edge for edge in edges if edge[0] != start)
  found = [[start, node] for first, node in edges if first == start]
  for arm in found:
    while arm[-1] in after:
      arm.append(after[arm[-1]])
  return found


def lines(task, count=400, split="train", seed=0):
  return task.to_text(task.examples(seed, split, np.arange(count)))


@pytest.mark.parametrize("kind", ["equal", "unequal"])
def test_lengths_are_uniform_and_one_for_a_graph_or_one_for_each_arm(kind):
  task = PathStar(2, 5, 30, min_length=3, arm_lengths=kind)
  of_goal, pairs = [], set()
  for line in lines(task, 3000):
    edges, start, goal, path = read(line)
    found = arms(edges, start)
    assert len(found) == 2 and sum(len(arm) - 1 for arm in found) == len(set(edges)) == len(edges)
    assert path in found and path[-1] == goal
    of_goal.append(len(path))
    pairs.add(tuple(sorted(map(len, found))))
  assert scipy.stats.chisquare(np.bincount(of_goal)[3:]).pvalue > P_VALUE
  assert pairs == ({(3, 3), (4, 4), (5, 5)} if kind == "equal" else {(3, 3), (3, 4), (3, 5), (4, 4), (4, 5), (5, 5)})


def test_what_is_left_of_a_short_problem_is_padding_and_each_length_is_told():
  task = PathStar(2, 5, 30, min_length=3)
  batch = task.examples(0, "train", np.arange(50))
  for prefix, target, answer, length in zip(batch["prefix"], batch["target"], batch["answer"], batch["length"]):
    assert (prefix[:6 * (5 - length)] == task.dummy).all() and task.dummy not in prefix[6 * (5 - length):]
    assert answer.sum() == length and (target[length:] == task.dummy).all()


@pytest.mark.parametrize("fields", [{}, {"min_length": 2, "arm_lengths": "unequal"}, {"min_length": 2}])
def test_the_number_of_problems_is_that_of_a_small_space(fields):
  task = PathStar(2, 3, 5, **fields)
  seen = set()
  for split in ("train", "test"):
    for line in lines(task, 60 * task.num_problems(), split):
      edges, start, _, path = read(line)
      seen.add((frozenset(map(tuple, arms(edges, start))), tuple(path)))
  assert len(seen) == task.num_problems()


def test_a_waypoint_is_any_inner_node_and_the_answer_the_whole_arm():
  task = PathStar(3, 5, 30, query="inner")
  batch = task.examples(0, "train", np.arange(3000))
  for line, place in zip(task.to_text(batch), batch["waypoint"]):
    edges, start, named, path = read(line)
    assert path in arms(edges, start) and len(path) == 5 and path[place] == named
  assert scipy.stats.chisquare(np.bincount(batch["waypoint"])[1:]).pvalue > P_VALUE and set(batch["waypoint"]) == {1, 2, 3}


def test_arms_kept_together_are_listed_from_the_start_outwards_in_random_order():
  task, first = PathStar(3, 4, 20, layout="arms"), []
  for line in lines(task, 3000):
    edges, start, _, path = read(line)
    found = arms(edges, start)
    assert edges == [edge for arm in found for edge in zip(arm, arm[1:])]
    first.append(found.index(path))
  assert scipy.stats.chisquare(np.bincount(first)).pvalue > P_VALUE


def test_edges_twice_are_the_same_list_twice():
  for line in lines(PathStar(2, 4, 20, layout="edges_twice"), 20):
    edges, *_ = read(line)
    assert edges[:6] == edges[6:] and len(set(edges)) == 6


def test_a_layout_writes_the_same_problems():
  written = {layout: lines(PathStar(2, 4, 20, layout=layout), 30) for layout in ("edges", "query_first", "edges_twice", "arms")}
  problems = {layout: [(set(read(line, layout)[0]), *read(line, layout)[1:]) for line in some] for layout, some in written.items()}
  assert all(some == problems["edges"] for some in problems.values())
  assert [line.replace("=", "/").split("/")[1] for line in written["query_first"]] == [
      line.split("/")[0] for line in written["edges"]]


def test_siblings_are_goals_of_one_graph_side_by_side_and_in_one_split():
  task = PathStar(3, 4, 11, siblings=2)
  graphs = {}
  for split in ("train", "test"):
    some = [line.split("/") for line in lines(task, 2000, split)]
    for one, other in zip(some[::2], some[1::2]):
      assert one[0] == other[0] and one[1] != other[1]
    graphs[split] = {frozenset(map(tuple, arms(*read("/".join(line))[:2]))) for line in some}
  assert not graphs["train"] & graphs["test"]
  config = resolve({"task.siblings": 2, "data.num_train": 600, "data.num_test": 100, "eval.num_examples": 50, "train.batch_size": 4})
  index = train_index(config, 0, np.arange(1200))
  assert sorted(index[:600]) == sorted(index[600:]) == list(range(600)) and list(index[:600]) != list(index[600:])
  assert (index[1::2] == index[::2] + 1).all() and (index[::2] % 2 == 0).all()
  for wrong in ({"train.batch_size": 5}, {"data.num_train": 601}):
    with pytest.raises(UserError, match="a multiple of task.siblings = 2"):
      resolve({**config.fields, **wrong})


def test_trees_have_dead_ends_at_inner_nodes_in_training_and_none_in_the_test():
  task = PathStar(2, 4, 20, dead_ends=2)
  hung = []
  for line in lines(task, 1000):
    edges, _, goal, path = read(line)
    assert len(set(edges)) == task.num_edges == 10 and len({v for _, v in edges}) == 10 and path[-1] == goal
    assert all(edge in edges for edge in zip(path, path[1:]))
    leaves = {v for _, v in edges} - {u for u, _ in edges}
    branching = [u for u in path if sum(edge[0] == u for edge in edges) > 1]
    assert len(leaves) == 6 and set(branching) <= set(path[:-1])
    hung += [path.index(u) for u, v in edges if u in path[1:] and v not in path]
  assert scipy.stats.chisquare(np.bincount(hung)[1:]).pvalue > P_VALUE and set(hung) == {1, 2}
  plain = PathStar(2, 4, 20)
  for line in lines(task, 100, "test"):
    edges, start, *_ = read(line)
    assert sorted(map(len, arms(edges, start))) == [4, 4] and plain.from_text([line])
  # No tree in training is a star of the test with dead ends.
  small = PathStar(2, 3, 7, dead_ends=1)
  problems = {}
  for split in ("train", "test"):
    batch = small.examples(0, split, np.arange(4000))
    problems[split] = {(frozenset(map(tuple, a)), tuple(t)) for a, t in zip(batch["arms"].tolist(), batch["target"].tolist())}
  assert not problems["train"] & problems["test"]


@pytest.mark.parametrize("fields", [
    {}, {"query": "inner"}, {"query": "inner", "min_length": 3}, {"min_length": 2}, {"min_length": 2, "arm_lengths": "unequal"}])
def test_chance_is_that_of_a_guess_that_reads_the_question(fields):
  """A guess of the arm, but where the node that the question names is the first move."""
  task = PathStar(3, 5, 20, **fields)
  batch = task.examples(0, "test", np.arange(20_000))
  named = batch["prefix"][:, -2] == batch["target"][:, task.branch]
  assert task.chance == pytest.approx(np.where(named, 1, 1 / 3).mean(), abs=0.01)


@pytest.mark.parametrize("fields, said", [
    ({"min_length": 0}, "task.min_length = 0: must be between 2 and task.length = 5"),
    ({"min_length": 6}, "task.min_length = 6: must be between 2 and task.length = 5"),
    ({"arm_lengths": "unequal"}, "task.arm_lengths = 'unequal': must be 'equal' without a task.min_length below 5"),
    ({"arm_lengths": "unequal", "min_length": 5}, "task.arm_lengths = 'unequal': must be 'equal' without a task.min_length below 5"),
    ({"dead_ends": 1, "query": "inner"}, "task.query = 'inner': must be another with task.dead_ends"),
    ({"dead_ends": 1, "target": "search"}, "task.target = 'search': must be another with task.dead_ends"),
    ({"min_length": 3, "target": "search"}, "task.min_length = 3: must be None with task.target = 'search'"),
    ({"query": "inner", "length": 2}, "task.length = 2: must be at least 3"),
    ({"dead_ends": 1, "min_length": 2}, "task.min_length = 2: must be at least 3"),
    ({"siblings": 3}, "task.siblings = 3: must be between 1 and task.degree = 2"),
    ({"layout": "arm"}, "task.layout = 'arm'"),
    ({"dead_ends": -1}, "task.dead_ends = -1"),
    ({"dead_ends": 30}, "task.num_nodes"),
])
def test_a_variant_that_can_not_be_is_refused_by_name(fields, said):
  with pytest.raises(UserError) as error:
    PathStar(**{"num_nodes": 50} | fields)
  assert said in str(error.value)


@pytest.mark.parametrize("fields, line, said", [
    ({"min_length": 3}, "0,1|1,2|0,3|3,4|4,5/0,2=0,1,2", "arms of 3 and 4 nodes"),
    ({"min_length": 4}, "0,1|1,2|0,3|3,4/0,2=0,1,2", "fewer than 4 nodes"),
    ({"query": "inner", "length": 3}, "0,1|1,2|0,3|3,4/0,2=0,1,2", "is not the arm from 0 through 2"),
    ({"layout": "edges_twice", "length": 3}, "0,1|1,2|0,3|3,4/0,2=0,1,2", "does not stand twice"),
    ({"layout": "arms", "length": 3}, "0,1|0,3|1,2|3,4/0,2=0,1,2", "don't stand arm by arm"),
    ({"layout": "arms", "length": 3}, "1,2|0,1|0,3|3,4/0,2=0,1,2", "don't stand arm by arm"),
    ({"layout": "query_first", "length": 3}, "0,1|1,2|0,3|3,4/0,2=0,1,2", "not of the form start,goal/u,v"),
])
def test_a_line_that_is_not_of_the_variant_is_refused(fields, line, said):
  with pytest.raises(UserError, match="line 1: ") as error:
    PathStar(**{"num_nodes": 20} | fields).from_text([line])
  assert said in str(error.value)
