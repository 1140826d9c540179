"""Programs of packs that train one after another: while one trains, the next one is compiled, so that no device waits for that."""

import threading
from collections.abc import Sequence

import jax

from pathstar.config import Config
from pathstar.devices import hosts
from pathstar.devices.mesh import make_mesh
from pathstar.training import signals
from pathstar.training.program import Program, abstract_examples, abstract_inputs, compile_program


class Ahead:
  """Makes programs when they are wanted, and the `following` one, if there is one to come, in a thread from `begin` on."""

  def __init__(self):
    self.following: Sequence[Config] | None = None
    self._thread, self._made, self._configs = None, None, None

  def program(self, configs: Sequence[Config]) -> Program:
    """The program of a pack: the one that was begun, if it is this pack's. Raises what making it raises."""
    thread, self._thread = self._thread, None
    if thread is not None:
      thread.join()
      if self._configs == list(configs) and self._made is not None:
        return self._made
    return _program(configs)

  def begin(self) -> None:
    """To be called when all of the present program is compiled."""
    if self._thread is None and self.following and not hosts.several():  # processes of a job must compile the same in the same order
      self._configs, self._made = list(self.following), None
      self._thread = threading.Thread(target=self._make, args=(self._configs,), name=signals.COMPILER)
      self._thread.start()

  def _make(self, configs: Sequence[Config]) -> None:
    try:
      program = _program(configs)
      with jax.set_mesh(program.mesh):  # a thread's own
        compile_all(program, configs)
    except Exception:  # it is raised again, and then told, when it is that pack's turn
      return
    self._made = program


def compile_all(program: Program, configs: Sequence[Config]) -> None:
  """Compiles a pack's functions, which then are called without a delay. Needs no data and no memory of a device."""
  state, values, batches = abstract_inputs(configs, program)
  examples = abstract_examples(configs, program)
  program.init.lower(values).compile()
  program.evaluate.lower(values, state["params"], examples).compile()
  program.generate.lower(values, state["params"], examples).compile()
  program.steps.lower(state, values, batches).compile()


def _program(configs: Sequence[Config]) -> Program:
  return compile_program(configs, make_mesh(configs[0].mesh, len(configs), configs[0].train.batch_size))
