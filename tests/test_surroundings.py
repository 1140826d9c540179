"""What the environment says of JAX changes no number: the generator is fixed, and wider types are not used."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from pathstar import models
from pathstar.devices import random

CASES = {mixer: {"model.mixer": mixer} for mixer in models.MIXERS}
CASES["draws"] = {"objective.name": "masked_diffusion"}  # its loss draws at every step
SURROUNDINGS = {"plain": {}, "rbg": {"JAX_DEFAULT_PRNG_IMPL": "rbg"}, "x64": {"JAX_ENABLE_X64": "1"}}
SURROUNDINGS["rbg"]["JAX_THREEFRY_PARTITIONABLE"] = "0"


@pytest.fixture(scope="module")
def found(tiny):
  """Losses of every case in all surroundings, each in a process of its own."""
  script = pathlib.Path(__file__).parent / "surroundings.py"
  fields = tiny.fields | {"train.steps_per_call": 1, "train.num_steps": 10, "model.s5_state": 8, "model.mamba_state": 4}
  cases = json.dumps({name: fields | more for name, more in CASES.items()})
  said = {}
  for name, variables in SURROUNDINGS.items():
    argv = [sys.executable, script, cases, "alone" if name == "plain" else "together"]
    done = subprocess.run(argv, env=os.environ | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said[name] = json.loads(done.stdout.splitlines()[-1])
  return said


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_packs_equal_single_runs(found, case):
  here = found["plain"][case]
  np.testing.assert_allclose(here["together"], here["alone"], rtol=1e-4)
  assert here["start"][0] != here["start"][1]  # seeds differ


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_another_default_generator_changes_nothing(found, case):
  for name, numbers in found["rbg"][case].items():
    assert numbers == found["plain"][case][name], name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_wider_types_change_nothing_but_rounding(found, case):
  np.testing.assert_allclose(found["x64"][case]["start"], found["plain"][case]["start"], rtol=1e-5)
  np.testing.assert_allclose(found["x64"][case]["together"], found["plain"][case]["together"], rtol=1e-3)


def test_streams_never_overlap():
  """Neither of one seed nor of two, however far a run goes."""
  bits = lambda key: tuple(jax.random.key_data(key).tolist())
  keys = []
  for seed in (0, 1, 7):
    model, objective = random.model_key(seed), random.objective_key(seed)
    keys += [model, objective, *jax.random.split(model, 5), *jax.random.split(objective, 3)]
    keys += [random.step_key(seed, step) for step in range(20)]
  keys += [random.evaluation_key(purpose, chunk) for purpose in (random.PREDICT, random.SAMPLE) for chunk in range(5)]
  assert len({bits(key) for key in keys}) == len(keys)
  assert str(jax.random.key_impl(keys[0])) == random.GENERATOR


def test_the_initial_values_of_published_runs_are_kept():
  seed = jax.random.key(3, impl=random.GENERATOR)
  for want, key in zip(jax.random.split(seed), (random.model_key(3), random.objective_key(3))):
    np.testing.assert_array_equal(jax.random.key_data(want), jax.random.key_data(key))
