"""The program of the next pack is compiled while one trains: the same program, compiled once, and its errors told in its turn."""

import logging
import threading

import jax
import pytest

from pathstar.devices import compiled
from pathstar.errors import UserError
from pathstar.training import metrics, signals
from pathstar.training.ahead import Ahead
from pathstar.training.train import train


@pytest.fixture
def compilations():
  """Names of the threads that asked XLA for one of a pack's functions, as they do."""
  found = []

  class Listener(logging.Handler):
    def emit(self, record):
      said = record.getMessage()
      if said.startswith("Compiling") and ("of_device" in said or "lambda" in said):
        found.append(threading.current_thread().name)

  listener, logger = Listener(), logging.getLogger("jax")
  before = jax.config.jax_log_compiles, logger.propagate
  jax.config.update("jax_log_compiles", True)
  logger.addHandler(listener)
  logger.propagate = False
  yield found
  logger.removeHandler(listener)
  jax.config.update("jax_log_compiles", before[0])
  logger.propagate = before[1]


def _train(tmp_path, name, config, made=None):
  folder = tmp_path / name
  [result] = train([config], [folder], folder / "checkpoints", ahead=made)
  timeless = lambda found: {name: value for name, value in found.items() if not name.startswith("perf/") and name != "train_seconds"}
  return [timeless(row) for row in metrics.read(folder)], timeless(result)


@pytest.mark.slow
def test_what_was_compiled_ahead_is_not_compiled_again_and_trains_the_same(tiny, tmp_path, compilations):
  first, second, made = tiny(), tiny({"task.length": 5}), Ahead()
  alone = _train(tmp_path, "alone", second)
  made.following = [second]
  _train(tmp_path, "first", first, made)
  made.program([first])  # waits for the thread
  assert not signals.compiling()

  made.begin()
  compilations.clear()
  assert _train(tmp_path, "second", second, made) == alone
  assert compilations and set(compilations) == {signals.COMPILER}


def test_what_can_t_be_compiled_ahead_is_told_in_its_turn(tiny):
  impossible, made = tiny(mesh="run=1,data=8"), Ahead()
  made.following = [impossible]
  made.begin()
  with pytest.raises(UserError, match="mesh"):
    made.program([impossible])
  assert not signals.compiling()


def test_another_pack_than_the_one_expected_gets_its_own_program(tiny):
  made = Ahead()
  made.following = [tiny()]
  made.begin()
  assert made.program([tiny({"model.width": 32})]).abstract_state["params"]["model"]["embedding"].shape[-1] == 32


def test_programs_are_kept_in_the_user_s_cache_unless_jax_was_told_a_place(monkeypatch, tmp_path):
  names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
  before = {name: getattr(jax.config, name) for name in names}
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  try:
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == before["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", None)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "pathstar" / "compiled")
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
