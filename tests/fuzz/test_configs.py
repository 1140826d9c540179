"""Whatever values fields are given: every field is in use and a number that the devices hold, or one line says why not."""

import datetime
import math

import numpy as np
import pytest

from pathstar import config
from pathstar.config import registry
from pathstar.errors import UserError

pytestmark = pytest.mark.slow

TRIALS = 5000
WORDS = ["", " ", "None", "nan", "inf", "-inf", "1e39", "-1e39", "1e-50", "1e400", "two", "true", "0x10", "1_000", "1__0", "٣", "½", "²",
         "1,2", "(1,2)", "[]", "a\nb", "\x00", "é", "x" * 500, "run=0", "run=²", "data=2,fsdp", "fsdp", "auto", "auto,fsdp", "auto,run=2",
         "run=1,run=1", "model=1", "data=3", "1e3", "3.0", "-0", "0.0", "1e10", "9" * 5000, "9" * 400]
VALUES = [None, True, False, 0, 1, -1, 2, 3, 7, 10**3, 10**6, 2**15, 2**16, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**40, 10**400,
          10**5000, -2**31, -2**63, 0.0, -0.0, 0.5, 1.0, 2.0, 1e-3, 1e-7, 1e-38, 1e-45, 1e-46, 1e-50, 5e-324, 1e38, 3.4e38, 3.5e38, 1e39,
          1e300, -1e39, math.inf, -math.inf, math.nan, [], [1], [1, 2], (), (1,), {}, {"a": 1}, b"x", object(), 1j, np.float32(0.5),
          np.int64(3), np.array([1, 2]), np.array(3), np.array([]), int, len, range(3), set(), np.bool_(True), datetime.date(2024, 1, 1)]
CHOICES = {"task.name": list(registry.tasks.TASKS), "objective.name": list(registry.objectives.OBJECTIVES),
           "model.mixer": list(registry.models.MIXERS), "task.target": ["path", "search", "lookahead"],
           "objective.order": ["forward", "reversed"], "model.positions": ["rope", "both", "none"], "optimizer.name": ["adamw", "muon"],
           "model.init": ["mimetic", "gpt2", "normal"], "model.dtype": ["bfloat16"]}


def value(chance, name):
  if name in CHOICES and chance.random() < 0.7:
    return chance.choice(CHOICES[name])
  kind = chance.random()
  if kind < 0.3:
    return chance.choice(WORDS)
  if kind < 0.8:
    return chance.choice(VALUES)
  return chance.randint(-5, 70) if kind < 0.9 else chance.uniform(-2, 2) * 10.0**chance.randint(-50, 50)


def changes(chance):
  names, found = list(config.schema()), {}
  for _ in range(chance.choice([1, 1, 1, 2, 3])):
    name = chance.choice(names)
    if chance.random() < 0.05:  # no field
      name = chance.choice([name + "s", name[:-1], "x." + name, name.replace(".", "_"), "", ".", "a.b.c", "model", name + ".x", " " + name])
    found[name] = value(chance, name)
  if chance.random() < 0.5:
    selector = chance.choice(list(CHOICES))
    found.setdefault(selector, chance.choice(CHOICES[selector]))
  return found


def holds(field):
  if isinstance(field, float):
    return field == 0 or np.finfo(np.float32).tiny <= abs(field) <= float(np.finfo(np.float32).max)
  return not isinstance(field, int) or -2**31 <= field < 2**31


def test_fields_of_any_value_are_used_or_refused_by_name(tiny, trials):
  base, resolved = config.override(config.default(), tiny.fields), 0
  for trial, chance in trials(TRIALS, TRIALS):
    given = changes(chance)
    try:
      made = config.resolve(config.override(base, given), given=given)
    except UserError as error:
      said = str(error)
      assert len(said.splitlines()) == 1 and len(said) < 500, (trial, said)
      named = [name for name in (*config.schema(), *given) if name in said or name.rpartition(".")[2] in said]
      assert named or "unknown config field" in said, (trial, said)
    else:
      resolved += 1
      assert given.keys() <= made.fields.keys() and all(map(holds, made.fields.values())), (trial, made.fields)
  assert TRIALS / 20 < resolved < TRIALS / 2  # both happen
