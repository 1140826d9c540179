"""What may be declared as a config field, and what is said of what may not."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pathstar import config, objectives
from pathstar.config import registry
from pathstar.config.declare import cast, declared
from pathstar.errors import UserError
from pathstar.objectives.next_token import NextToken
from pathstar.reports import registered
from pathstar.sweeps.packs import plan


@dataclasses.dataclass(frozen=True)
class Everything(NextToken):
  """Every kind of field; annotations are postponed in this file."""

  whole: int = 1
  real: float | None = None
  yes: bool = False
  word: str | None = "a"
  sizes: tuple[int, ...] = (1, 2)
  pair: tuple[float, float] = (0.5, 1.0)
  names: tuple[str, ...] | None = None


@pytest.fixture
def register(monkeypatch):
  """register(name, objective), for this test."""
  def add(name, objective):
    monkeypatch.setitem(objectives.OBJECTIVES, name, objective)
    registry.clear()

  yield add
  monkeypatch.undo()
  registry.clear()


@pytest.fixture
def everything(register):
  register("everything", Everything)
  return lambda fields: config.resolve(config.override(config.default(), {"objective.name": "everything"} | fields))


@pytest.mark.parametrize("name, given, value", [
    ("whole", "3", 3), ("real", "0.5", 0.5), ("real", "None", None), ("yes", "true", True), ("word", "None", None), ("word", "b", "b"),
    ("sizes", "1,2,4,8", (1, 2, 4, 8)), ("sizes", (3,), (3,)), ("sizes", [3, 4], (3, 4)), ("sizes", "()", ()), ("sizes", "(1, 2)", (1, 2)),
    ("pair", "1,2", (1.0, 2.0)), ("names", "a,b", ("a", "b")), ("names", None, None),
])
def test_every_kind_of_field_is_read_from_text_and_from_python(everything, name, given, value):
  made = everything({f"objective.{name}": given})
  got = getattr(made.objective, name)
  assert got == value and type(got) is type(value)
  again = config.recorded(json.loads(json.dumps(dict(made.fields))))  # as config.json has it
  assert dict(again.fields) == dict(made.fields) and again.objective == made.objective
  assert not config.differences(made, json.loads(json.dumps(dict(made.fields))))


@pytest.mark.parametrize("name, given, said", [
    ("sizes", "1,x", "objective.sizes = 'x': must be of type int"), ("pair", "1", "objective.pair = '1': must be of type tuple of 2 float"),
    ("sizes", None, "must be of type tuple of int, written with commas between"), ("sizes", 3, "objective.sizes = 3"),
    ("whole", None, "objective.whole = None: must be of type int"),
])
def test_other_values_are_refused(everything, name, given, said):
  with pytest.raises(UserError) as error:
    everything({f"objective.{name}": given})
  assert said in str(error.value)


def test_a_tuple_tells_runs_apart_by_name(everything, tiny):


  base = config.override(config.default(), tiny.fields)
  runs = [run.run_id for pack in plan(base, [{"objective.name": "everything", "objective.sizes": sizes} for sizes in ((1,), (1, 2))])
          for run in pack.runs]
  assert any("-sizes=1+2-" in run for run in runs) and any("-sizes=1-" in run for run in runs)


def test_a_part_of_a_grid_is_told_by_a_tuple(everything):
  fields = [{"objective.sizes": (1, 2)}, {"objective.sizes": [1, 2]}, {"objective.sizes": (4,)}]  # a list: as read from JSON
  assert config.selected(fields, ["objective.sizes=1,2"], dict) == fields[:2]
  assert config.selected(fields, ["objective.sizes=1,2;4"], dict) == fields
  with pytest.raises(UserError, match=r"--only objective.sizes = '\(1,\)': must be one of \(1, 2\), \(4,\)"):
    config.selected(fields, ["objective.sizes=1"], dict)


def one(annotation, **default):
  """A class with one field of its own."""
  return dataclasses.make_dataclass("Made", [("own", annotation, *([dataclasses.field(**default)] if default else []))])


@pytest.mark.parametrize("owner, said", [
    (one(int), "Made.own (types): a config field needs a default"),
    (one(list, default_factory=list), "a config field needs a default, which is no list"),
    (one(dict | None, default=None), "may be int, float, bool or str"),
    (one(int | str, default=1), "may be int, float, bool or str"),
    (one(tuple[int, str], default=(1, "a")), "a tuple of one of them"),
    (one(int, default=None), "Made.own (types) = None: must be of type int"),
])
def test_what_can_not_be_a_field_is_said_in_one_line(owner, said):
  with pytest.raises(UserError) as error:
    declared(owner)
  assert said in str(error.value) and "\n" not in str(error.value)


def test_a_field_declared_in_two_ways_names_both_places(register):
  @dataclasses.dataclass(frozen=True)
  class Clash(NextToken):
    k: int = 7

  register("clash", Clash)
  with pytest.raises(UserError, match=r"'objective.k' is declared twice, as int = 2 by MultiToken.k .* and int = 7 by Clash.k"):
    config.schema()


def test_numbers_never_change_value():
  for value, kind in ((3.5, int), (True, int), ("1e400", float), (float("inf"), float)):
    with pytest.raises(UserError):
      cast("x", value, declared(one(kind, default=kind(1)))["own"].kind)


def test_a_class_whose_decorator_was_forgotten_is_told_so(register):
  class Forgotten(NextToken):
    values = ("mine",)
    mine: float = 1.0

  register("forgotten", Forgotten)
  with pytest.raises(UserError, match=r"Forgotten \(.*\): must have @dataclasses.dataclass"):
    config.schema()


def test_where_a_registered_thing_comes_from_is_not_inherited(register):
  register("everything", Everything)
  with pytest.raises(UserError, match="objective everything: source and year: must be said by Everything itself"):
    registered.markdown()
