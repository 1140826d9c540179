"""A graph in the weights: what is trained on, and what is held out."""

import numpy as np
import pytest

from pathstar.config import resolve
from pathstar.errors import UserError
from pathstar.tasks.in_weights import InWeights


def test_all_edges_are_trained_on_in_both_directions_and_the_paths_of_three_quarters_of_the_leaves():
  task = InWeights(20, 4)
  lines = task.to_text(task.examples(0, "train", np.arange(20_000)))
  edges = {tuple(map(int, line[5:].split("="))) for line in lines if line.startswith("edge")}
  paths = {tuple(map(int, line.split("=")[1].split(","))) for line in lines if line.startswith("path")}
  tested = {tuple(map(int, line.split("=")[1].split(","))) for line in task.to_text(task.examples(0, "test", np.arange(5)))}
  assert len(tested) == 5 and len(paths) == 15 and not paths & tested
  of_paths = {edge for path in paths | tested for edge in zip(path, path[1:])}
  assert len(of_paths) == 60 and edges == of_paths | {(v, u) for u, v in of_paths}
  assert all(path[0] == 0 for path in paths | tested) and {n for path in paths | tested for n in path} == set(range(task.num_nodes))


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_share_of_paths_is_as_asked(share):
  batch = InWeights(40, 5, path_share=share).examples(3, "train", np.arange(20_000))
  assert abs(batch["answer"][:, 1].mean() - share) < 0.02
  assert not batch["weight"][~batch["answer"]].any()


def test_another_choice_holds_out_other_leaves_of_the_same_graph():
  tested = [set(InWeights(40, 3, held_out=k).examples(0, "test", np.arange(10))["target"][:, -1]) for k in (0, 1)]
  assert len(tested[0]) == len(tested[1]) == 10 and tested[0] != tested[1]


@pytest.mark.parametrize("line, said", [
    ("edge 1=8", "no edge"), ("edge 4=5", "no edge"), ("edge 3=3", "two nodes"), ("path 3=0,1,2,3", "is not the end of an arm"),
    ("path 4=0,1,2,3", "broken path"), ("path 99=", "unknown node 99"), ("leaf 3=", "not of the form"), ("edge 1=", "two nodes"),
    ("path 0=", "node 0 is not the end"),
])
def test_a_malformed_line_is_refused_with_its_number_and_reason(line, said):
  with pytest.raises(UserError, match="line 2: ") as error:
    InWeights(2, 5).from_text(["path 8=", line])
  assert said in str(error.value)


def test_a_test_split_has_no_more_problems_than_leaves_are_held_out():
  made = lambda number: resolve({"task.name": "in_weights", "task.degree": 100, "data.num_test": number, "eval.num_examples": 10})
  batch = made(25).task.examples(0, "test", np.arange(25))
  assert len(np.unique(batch["prefix"][:, 1])) == 25
  with pytest.raises(UserError, match="data.num_test = 26: must be at most 25"):
    made(26)
  fields = {"task.name": "in_weights", "task.degree": 100, "data.num_test": 25, "eval.num_examples": 10}
  most = made(25).task.num_problems() - 25
  assert resolve(fields | {"data.num_train": most}).data.num_train == most
  with pytest.raises(UserError, match=f"data.num_train = {most + 1}: must be at most {most}"):
    resolve(fields | {"data.num_train": most + 1})


def test_a_graph_of_twenty_thousand_nodes_is_a_config_like_any_other():
  config = resolve({"task.name": "in_weights", "task.degree": 5000, "task.length": 5, "data.num_test": 1250, "eval.num_examples": 1000})
  batch = config.task.examples(0, "train", np.arange(64))
  assert config.task.num_nodes == 20_001 and batch["target"].max() == config.task.dummy
