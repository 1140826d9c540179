"""Path-star examples, judged by an independent reading of their tokens."""

import itertools
import math

import hypothesis
import numpy as np
import pytest
import scipy.stats
from hypothesis import strategies as st

from pathstar.errors import UserError
from pathstar.tasks.path_star import PathStar

P_VALUE = 1e-5  # seeds are fixed: a sound generator passes always, a biased one fails by orders of magnitude


@st.composite
def tasks(draw):
  degree, length = draw(st.integers(1, 6)), draw(st.integers(2, 7))
  task = PathStar(degree, length, degree * (length - 1) + 1 + draw(st.integers(0, 30)))
  hypothesis.assume(task.num_problems() >= 200)  # below, a split may hold nothing
  return task


def read(task, prefix):
  """Token ids -> (listed edges, start, goal), by the format alone."""
  pipe, equals, slash = task.num_nodes, task.num_nodes + 1, task.num_nodes + 2
  count = task.degree * (task.length - 1)
  listed, (start, goal, end) = prefix[:-3].reshape(count, 3), prefix[-3:]
  assert listed[:-1, 2].tolist() == [pipe] * (count - 1) and listed[-1, 2] == slash and end == equals
  return [(int(u), int(v)) for u, v in listed[:, :2]], int(start), int(goal)


def arms_of(edges, start):
  """The arms that the edges form, each a tuple of nodes from the start."""
  following = {}
  for u, v in edges:
    following.setdefault(u, []).append(v)
  arms = []
  for node in following[start]:
    arm = [start, node]
    while arm[-1] in following:
      [node] = following[arm[-1]]
      arm.append(node)
    arms.append(tuple(arm))
  return arms


def canonical(task, prefix):
  """The problem, whatever the order of its edges: unordered arms and the goal."""
  edges, start, goal = read(task, prefix)
  return frozenset(arms_of(edges, start)), goal


def canonicals(task, *args):
  return [canonical(task, prefix) for prefix in task.examples(*args)["prefix"]]


@hypothesis.given(tasks(), st.integers(0, 2**31 - 1), st.sampled_from(["train", "test"]), st.integers(0, 2**40))
def test_every_example_is_a_path_star_graph_with_its_answer(task, seed, split, first):
  batch = task.examples(seed, split, np.arange(first, first + 20))
  for prefix, target, arms in zip(batch["prefix"], batch["target"], batch["arms"], strict=True):
    edges, start, goal = read(task, prefix)
    assert len(set(edges)) == len(edges) == task.num_edges
    found = arms_of(edges, start)
    assert len(found) == task.degree and {len(arm) for arm in found} == {task.length}
    nodes = [node for arm in found for node in arm[1:]]
    assert len({start, *nodes}) == len(nodes) + 1 == task.graph_nodes  # arms share nothing but the start
    assert all(0 <= node < task.num_nodes for node in (start, *nodes))
    assert [arm for arm in found if arm[-1] == goal] == [tuple(target)]
    assert sorted(found) == sorted(map(tuple, arms.tolist()))


@hypothesis.given(tasks())
def test_shapes_and_types_are_what_the_task_announces(task):
  batch = task.examples(0, "train", np.arange(3))
  assert {name: (x.dtype, x.shape) for name, x in batch.items()} == {
      "prefix": (np.int32, (3, task.prefix_length)),
      "target": (np.int32, (3, task.target_length)),
      "arms": (np.int32, (3, task.degree, task.length)),
      "start": (np.int32, (3,)), "goal": (np.int32, (3,)),
      "weight": (np.float32, (3, task.length)),
      "answer": (np.bool_, (3, task.length)),
  }
  assert batch["prefix"].max() < task.vocab_size and task.dummy == task.vocab_size - 1
  assert task.dummy not in batch["prefix"] and (batch["weight"] == 1).all() and batch["answer"].all()
  assert task.chance == (1 / task.degree if task.length > 2 else 1)  # of two nodes the goal is named


def test_edges_are_listed_in_uniformly_random_order():
  task = PathStar(2, 3, 20)
  counts = dict.fromkeys(itertools.permutations(range(4)), 0)
  batch = task.examples(7, "train", np.arange(24_000))
  for prefix, target in zip(batch["prefix"], batch["target"]):
    edges, start, _ = read(task, prefix)
    # Number the edges from the answer alone, so that nothing of the generator's own order is used.
    other = next(arm for arm in arms_of(edges, start) if arm != tuple(target))
    number = {edge: i for i, edge in enumerate([*itertools.pairwise(target), *itertools.pairwise(other)])}
    counts[tuple(number[edge] for edge in edges)] += 1
  assert scipy.stats.chisquare(list(counts.values())).pvalue > P_VALUE


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_goal_is_uniform_over_the_arms_however_they_are_told_apart(split):
  task = PathStar(5, 3, 40)
  batch = task.examples(3, split, np.arange(20_000))
  arms, target = batch["arms"], batch["target"]
  by_row = (arms[:, :, 1] == target[:, 1:2]).argmax(axis=1)
  by_branch = (arms[:, :, 1] < target[:, 1:2]).sum(axis=1)  # rank of its branch token's id
  by_end = (arms[:, :, -1] < target[:, -1:]).sum(axis=1)
  listed = np.array([[v for u, v in read(task, p)[0] if u == p[-3]] for p in batch["prefix"]])
  by_listing = (listed == target[:, 1:2]).argmax(axis=1)  # place of its first edge among the listed ones
  for place in (by_row, by_branch, by_end, by_listing):
    assert scipy.stats.chisquare(np.bincount(place, minlength=5)).pvalue > P_VALUE


def test_node_ids_are_uniform_at_every_place():
  task = PathStar(2, 3, 16)
  batch = task.examples(1, "train", np.arange(16_000))
  for place in range(3):
    assert scipy.stats.chisquare(np.bincount(batch["target"][:, place], minlength=16)).pvalue > P_VALUE


@hypothesis.given(tasks(), st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.data())
def test_an_example_depends_on_its_index_alone(task, index, data):
  whole = task.examples(5, "train", np.array(index))
  order = data.draw(st.permutations(range(len(index))))
  cut = data.draw(st.integers(0, len(index)))
  parts = [order[:cut], order[cut:]]
  for part in filter(None, parts):
    shuffled = task.examples(5, "train", np.array(index)[part])
    for name, value in shuffled.items():
      np.testing.assert_array_equal(value, whole[name][part])


@hypothesis.given(tasks())
def test_a_seed_for_each_index_gives_the_examples_of_those_seeds(task):
  mixed = task.examples(np.array([3, 4, 3]), "train", np.array([0, 0, 1]))
  alone = [task.examples(seed, "train", np.array([index])) for seed, index in ((3, 0), (4, 0), (3, 1))]
  for name, value in mixed.items():
    np.testing.assert_array_equal(value, np.concatenate([x[name] for x in alone]))


def test_the_test_split_is_one_for_all_seeds_and_the_training_set_is_not():
  task = PathStar(3, 4, 30)
  index = np.arange(200)
  test, train = (canonicals(task, 0, split, index) for split in ("test", "train"))
  assert canonicals(task, 1, "test", index) == test
  assert not set(canonicals(task, 1, "train", index)) & set(train)


@pytest.mark.parametrize("degree, length, num_nodes", [(2, 3, 6), (1, 3, 9), (3, 2, 6)])
def test_train_and_test_divide_the_whole_of_a_small_space_between_them(degree, length, num_nodes):
  task = PathStar(degree, length, num_nodes)
  space = set()
  for nodes in itertools.permutations(range(num_nodes), task.graph_nodes):
    arms = [(nodes[0], *nodes[1 + k * (length - 1):1 + (k + 1) * (length - 1)]) for k in range(degree)]
    space |= {(frozenset(arms), arm[-1]) for arm in arms}
  assert task.num_problems() == len(space)
  draws = 20 * len(space)  # each problem of a split is missed with probability below e^-20
  train = {problem for seed in (0, 1) for problem in canonicals(task, seed, "train", np.arange(draws))}
  test = set(canonicals(task, 0, "test", np.arange(draws // 4)))
  assert not train & test
  assert train | test == space
  assert scipy.stats.binomtest(len(test), len(space), 1 / 8).pvalue > P_VALUE


@pytest.mark.parametrize("degree, length, num_nodes", [(2, 4, 10), (4, 3, 9)])
def test_no_test_problem_is_ever_trained_on(degree, length, num_nodes):
  task = PathStar(degree, length, num_nodes)
  test = set(canonicals(task, 0, "test", np.arange(10_000)))
  train = set(canonicals(task, 0, "train", np.arange(30_000)))
  assert len(test) > 5000 and not test & train


def test_examples_never_change():
  # Published numbers stand on these very examples: a change here makes them incomparable.
  task = PathStar(2, 4, 10)
  assert task.to_text(task.examples(0, "test", np.arange(2))) == [
      "9,5|3,9|6,0|0,8|3,6|5,2/3,8=3,6,0,8", "2,1|5,2|8,6|9,8|6,4|9,5/9,4=9,8,6,4"]
  assert task.to_text(task.examples(1, "train", np.array([10**12]))) == ["5,0|6,5|8,4|4,1|0,3|6,8/6,3=6,5,0,3"]


def test_tokens_of_the_authors_format_are_as_documented():
  task = PathStar(2, 3, 5)
  line = "4,1|0,2|4,0|1,3/4,2=4,0,2"
  batch = task.from_text([line])
  pipe, equals, slash = 5, 6, 7
  assert batch["prefix"].tolist() == [[4, 1, pipe, 0, 2, pipe, 4, 0, pipe, 1, 3, slash, 4, 2, equals]]
  assert batch["target"].tolist() == [[4, 0, 2]]
  assert sorted(batch["arms"][0].tolist()) == [[4, 0, 2], [4, 1, 3]]
  assert task.to_text(batch) == [line]


@hypothesis.given(tasks())
def test_text_and_back_is_the_same_batch(task):
  batch = task.examples(0, "test", np.arange(8))
  lines = task.to_text(batch)
  again = task.from_text(["", *(line + "\n" for line in lines), "  "])  # blank lines and line ends are no matter
  for name in ("prefix", "target", "weight", "answer"):
    np.testing.assert_array_equal(again[name], batch[name])
    assert again[name].dtype == batch[name].dtype
  for here, there in zip(again["arms"].tolist(), batch["arms"].tolist()):
    assert sorted(here) == sorted(there)  # a file does not number the arms
  assert task.to_text(again) == lines


GOOD = "4,1|0,2|4,0|1,3/4,2=4,0,2"  # G(2, 3) with 5 nodes
MALFORMED = {
    "4,1|0,2|4,0|1,3/4,2": "not of the form",  # no answer
    "4,1|0,2|4,0|1,3=4,0,2": "not of the form",  # no question
    "4,1|0,2|4,0|1,3/4=4,0,2": "not of the form",  # no goal
    "4,1|0,2|4,0|1/4,2=4,0,2": "not of the form",  # half an edge
    "4,1|0,2|4,0|1,3,2/4,2=4,0,2": "not of the form",
    "4,1|0,2|4,0|1,x/4,2=4,0,2": "not of the form",
    "4,1|0,2||4,0|1,3/4,2=4,0,2": "not of the form",
    "4,1|0,2|4,0|1,3/4,2=4,0,": "not of the form",
    "a path, please": "not of the form",
    "4,1|0,2|4,0|1,5/4,2=4,0,2": "unknown node 5: ids run from 0 to 4 (task.num_nodes = 5)",
    "4,1|0,2|4,0|1,-3/4,2=4,0,2": "unknown node -3",
    "4,1|0,2|4,0|1,3/4,9=4,0,9": "unknown node 9",
    "4,1|0,2|4,0|1,2/4,2=4,0,2": "duplicate node 2",
    "4,1|0,4|4,0|1,3/4,3=4,1,3": "duplicate node 4",  # an edge back to the start
    "4,1|4,1|0,2|1,3/4,3=4,1,3": "duplicate node 1",  # one edge twice
    "4,1|1,0|0,2|2,3/4,3=4,1,0": "wrong degree: the start 4 has 1 arms, the task has degree 2",
    "4,1|4,0|4,2|1,3/4,3=4,1,3": "wrong degree: the start 4 has 3 arms",
    "4,1|4,0|1,2|1,3/4,3=4,1,3": "wrong degree: node 1 branches",
    "4,1|4,0|0,2/4,2=4,0,2": "wrong length: the arm through 1 has fewer than 3 nodes",
    "4,1|4,0|0,2|2,3/4,3=4,0,2": "wrong length",
    "4,1|0,2|4,0|1,3/4,2=4,1,2": "broken path: 4,1,2 is not the arm from 4 to 2",
    "4,1|0,2|4,0|1,3/4,2=4,1,3": "broken path",  # an arm, but not the goal's
    "4,1|0,2|4,0|1,3/4,3=4,0,2": "broken path",
    "4,1|0,2|4,0|1,3/4,2=4,0": "broken path",
    "4,1|0,2|4,0|1,3/4,2=0,2": "broken path",
}


@pytest.mark.parametrize("line", MALFORMED)
def test_a_malformed_line_is_refused_with_its_number_and_reason(line):
  with pytest.raises(UserError) as error:
    PathStar(2, 3, 5).from_text([GOOD, "", line, GOOD])
  assert str(error.value).startswith("line 3: ") and MALFORMED[line] in str(error.value)


def test_an_edge_off_the_arms_is_refused():
  # Five edges among seven nodes: 5 -> 6 hangs in the air.
  with pytest.raises(UserError, match="line 1: 5 edges, of which 4 belong"):
    PathStar(2, 3, 7).from_text(["4,1|0,2|4,0|1,3|5,6/4,2=4,0,2"])


def test_a_file_without_examples_is_refused():
  with pytest.raises(UserError, match="no example"):
    PathStar(2, 3, 5).from_text(["", "\n"])


@pytest.mark.parametrize("fields, named", [
    ((0, 5, None), "task.degree = 0"),
    ((-2, 5, None), "task.degree = -2"),
    ((2, 1, None), "task.length = 1"),
    ((2, 5, 8), "task.num_nodes = 8: must be between 9"),
    ((10, 10, 50), "task.num_nodes = 50: must be between 91"),
    ((2, 5, 2**15 + 1), "task.num_nodes = 32769"),
])
def test_impossible_topologies_are_refused(fields, named):
  with pytest.raises(UserError) as error:
    PathStar(*fields)
  assert str(error.value).startswith(named)


@hypothesis.given(st.integers(1, 20), st.integers(2, 20))
def test_num_nodes_defaults_to_fifty_or_as_many_as_the_graph_needs(degree, length):
  assert PathStar(degree, length).num_nodes == max(50, degree * (length - 1) + 1)


def test_the_number_of_problems_counts_arms_without_order():
  assert PathStar(1, 2, 5).num_problems() == 20
  assert PathStar(3, 4, 10).num_problems() == math.factorial(10) // 2
