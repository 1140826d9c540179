"""Fixtures of all tests: a config small enough for any test, models trained for a moment, and finished runs made up."""

import contextlib
import json
import math
import os
import pathlib

# Set before jax is imported, and in the environment, so that the processes that tests start have them too. Tiny programs compile
# several times faster without optimisations, and twice as fast again by XLA's older code for fusions; the second time not at all.
CACHE = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "xla"
os.environ |= {
    "MPLBACKEND": "agg",
    "JAX_PLATFORMS": "cpu",
    "JAX_NUM_CPU_DEVICES": "1",  # whatever the number of cores
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
    "JAX_COMPILATION_CACHE_DIR": str(CACHE),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import config
from pathstar.devices.mesh import make_mesh
from pathstar.storage import workdir
from pathstar.training import data, metrics, signals
from pathstar.training.program import compile_program, pack_values

# Shapes that only broadcast by accident are bugs: here they are errors.
jax.config.update("jax_numpy_rank_promotion", "raise")
# A busy machine is no failure, and neither is chance: the same examples every time.
hypothesis.settings.register_profile("pathstar", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("pathstar")

# The files that take longest, those with slow tests and then the others: first, so that no core waits for another at the end (xdist:
# --no-loadscope-reorder).
LONGEST = (
    "test_mesh.py", "test_registered.py", "test_kills.py", "test_surroundings.py", "test_growth.py", "test_job_signals.py", "test_slurm.py",
    "test_multihost.py", "test_plan.py", "test_clock.py", "test_tour.py", "test_data.py", "test_bucket.py", "test_damaged_files.py",
    "test_sweep_faults.py", "test_figures.py", "test_wheel.py", "test_resume.py", "test_objectives.py", "test_train.py", "test_lm.py",
    "test_report.py", "test_kept.py",
)
TINY = {
    "task.degree": 2, "task.length": 4, "task.num_nodes": 12,
    "data.num_train": 500, "data.num_test": 200,
    "model.num_layers": 1, "model.width": 16, "model.num_heads": 2,
    "optimizer.learning_rate": 3e-3, "optimizer.warmup_steps": 4, "optimizer.schedule": "cosine",
    "train.batch_size": 8, "train.num_steps": 20, "train.steps_per_call": 5, "train.log_every": 5,
    "train.checkpoint_every": 10,
    "eval.every": 10, "eval.num_examples": 40,
}


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def _signals_stay_with_pytest(monkeypatch):
  """A command takes its process's signals for good: here that would be those of all tests after it."""
  monkeypatch.setattr(signals, "listen", lambda job: None)


class Killed(BaseException):
  """Stands in for kill -9: no command catches it."""


@pytest.fixture
def killed_at(monkeypatch):
  """killed_at(step): in this context what trains must die when it comes to write the metrics of a step."""

  @contextlib.contextmanager
  def within(step):
    push = metrics.Recorder.push

    def dying(recorder, now, *args, **more):
      if now == step:
        raise Killed
      push(recorder, now, *args, **more)

    with monkeypatch.context() as patch, pytest.raises(Killed):
      patch.setattr(metrics.Recorder, "push", dying)
      yield

  return within


@pytest.fixture(scope="session")
def tiny():
  """tiny(overrides) -> a validated Config of a model that compiles and steps in no time."""

  def make(overrides=None, **more):
    return config.resolve(config.override(config.default(), TINY | (overrides or {}) | more), given=())

  make.fields = TINY
  return make


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
  """A config file with the tiny config, as a user would write it."""
  file = tmp_path_factory.mktemp("configs") / "tiny.py"
  file.write_text(f"from pathstar.config import default, override\n\n"
                  f"def get_config(arg=''):\n  return override(default(), {TINY!r})\n")
  return file


@pytest.fixture(scope="session")
def steps():
  """steps(configs) -> (initial state, final state, loss of every dispatch (N, R)) by the program that training uses."""

  def run(*configs):
    mesh = make_mesh("auto", len(configs), configs[0].train.batch_size)
    with jax.set_mesh(mesh):
      program = compile_program(configs, mesh)
      values = pack_values(configs)
      state = program.init(values)
      first = jax.device_get(state)
      source = data.TrainSource(configs, (slice(None),) * 3)
      losses = []
      for record in range(len(source)):
        state, logged = program.steps(state, values, jax.tree.map(jnp.asarray, source[record]))
        losses.append(logged["train/loss"])
      return first, jax.device_get(state), np.array(losses), jax.device_get(logged)

  return run


@pytest.fixture(scope="session")
def fit(steps):
  """fit(configs) -> parameters with leading run axis after the configs' training, by the program that training uses."""
  return lambda *configs: steps(*configs)[1]["params"]


@pytest.fixture
def made(tiny, tmp_path):
  """made(cells, folder) writes finished runs with made-up metrics: exact match and curves follow from the seed and `score(cell)`."""
  def make(cells, folder="runs", score=lambda cell: 0.5, steps=20):
    for cell in cells:
      one = config.resolve(config.override(config.default(), tiny.fields | cell), given=())
      place = workdir.make(tmp_path / folder / "-".join(f"{k}={v}" for k, v in cell.items()).replace("/", "_"))
      value = score(cell)
      scores = {f"eval/{split}/{name}": value for split in ("test", "train") for name in ("exact_match", "branch_accuracy", "loss")}
      scores |= {"eval/test/cheat_accuracy": 1.0, "eval/test/legal_mass": 1.0, "eval/test/branch_entropy": math.log(2),
                 "eval/test/snowball_prediction": 0.3, "eval/test/token_error": 0.1, "eval/test/own/metric": 0.25,
                 "eval/test/length": 99.0, "eval/test/position_bias": 0.125}
      scores |= {f"eval/test/position_{k}/{name}": value for k in range(one.task.answer_length) for name in ("accuracy", "loss")}
      workdir.write_json(place / workdir.CONFIG, dict(one.fields))
      rows = [{"step": step} | scores | ({"train/loss": 1.0, "train/accuracy": 0.5} if step else {}) for step in range(0, steps + 1, 10)]
      (place / workdir.METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
      workdir.write_json(place / workdir.RESULT, {"status": "done", "steps": steps, "train_seconds": 1.0, "parameters": 100,
                                                  "parameters_used": 100, **scores})
    return tmp_path / folder

  return make
