"""Run by test_mesh.py: trains on meshes of eight simulated devices and prints what it found as JSON."""

import json
import pathlib
import sys

import jax
import numpy as np

jax.config.update("jax_num_cpu_devices", 8)

from pathstar import config  # noqa: E402
from pathstar.devices.collectives import collectives  # noqa: E402
from pathstar.devices.mesh import make_mesh, over_runs  # noqa: E402
from pathstar.training.checkpoint import Checkpoints  # noqa: E402
from pathstar.training.feed import device_batches, eval_inputs  # noqa: E402
from pathstar.training.program import abstract_inputs, compile_program, pack_values  # noqa: E402

ALL = ("run=8", "data=8", "data=4,model=2", "run=2,data=2,model=2")
# Every program takes seconds to compile. The last mesh has all axes; s5_gated holds all of s5 but its gate.
MESHES = {"attention": (*ALL, "data=8,fsdp"), "s5": ALL[-1:], "s5_gated": (ALL[0], ALL[-1]), "mamba": (ALL[0], ALL[-1])}
RUNS = 8


def pack(fields, spec):
  return tuple(config.resolve(config.override(config.default(), fields | {"seed": seed, "mesh": spec}), given=()) for seed in range(RUNS))


def trained(fields, spec, state=None):
  """Losses (steps, R) of a pack on a mesh, its state at the beginning and the end, and the collectives of its step."""
  configs = pack(fields, spec)
  mesh = make_mesh(spec, RUNS, configs[0].train.batch_size)
  with jax.set_mesh(mesh):
    program = compile_program(configs, mesh)
    block = program.steps.lower(*abstract_inputs(configs, program)).compile()
    values = over_runs(mesh, pack_values(configs))
    state = program.init(values) if state is None else jax.device_put(state, program.state_shardings)
    start, losses = jax.device_get(state), []
    for batch in device_batches(configs, program.batch_sharding, 0):
      state, logged = block(state, values, batch)
      losses.append(logged["train/loss"])
  return np.array(losses), start, state, collectives(block.as_text(), mesh), program


def evaluating(configs, program):
  """The collectives of a pack's evaluations."""
  with jax.set_mesh(program.mesh):
    batch = eval_inputs(configs, program.mesh)["test"]
    state, values, _ = abstract_inputs(configs, program)
    lowered = (function.lower(values, state["params"], batch) for function in (program.evaluate, program.generate))
    return [collectives(one.compile().as_text(), program.mesh) for one in lowered]


def restored_equal(state, program, folder):
  """Whether a checkpoint comes back bit for bit on the mesh of another program."""
  checkpoints = Checkpoints(folder, 2)
  checkpoints.save(1, state, {})
  checkpoints.wait()
  _, restored, _ = checkpoints.restore(program.abstract_state, program.state_shardings)
  checkpoints.close()
  same = jax.tree.map(lambda a, b, s: np.array_equal(a, b) and b.sharding == s, jax.device_get(state), restored, program.state_shardings)
  return all(jax.tree.leaves(same))


def share(program):
  """Numbers of the state on one device over those of the whole."""
  whole = sum(x.size for x in jax.tree.leaves(program.abstract_state))
  here = jax.tree.map(lambda x, s: np.prod(s.shard_shape(x.shape)), program.abstract_state, program.state_shardings)
  return float(sum(jax.tree.leaves(here)) / whole)


def main(fields, folder):
  found = {}
  for mixer in MESHES:
    here = fields | {"model.mixer": mixer, "model.num_layers": 2 if mixer == "attention" else 1}
    alone, start, *_ = trained(here, "run=1")
    for spec in MESHES[mixer]:
      # Random numbers take long to compile: drawn on each mesh for one mixer, and handed on for the others.
      losses, began, state, collectives, program = trained(here, spec, None if mixer == "attention" else start)
      same = jax.tree.leaves(jax.tree.map(np.array_equal, start, began))
      found[f"{mixer} on {spec}"] = {
          "error": float(np.abs(losses / alone - 1).max()), "losses": len(losses), "learned": float((alone[0] - alone[-1]).mean()),
          "collectives": collectives, "start": all(same)}
      if spec == "run=8":
        found[f"evaluations of {mixer}"] = evaluating(pack(here, spec), program)
      if spec == "run=2,data=2,model=2" and mixer == "attention":
        kept = state
  sharded = trained(fields | {"train.num_steps": 1, "train.steps_per_call": 1}, "data=8,fsdp")[-1]
  found["restored"] = restored_equal(kept, sharded, folder)
  found["share"] = share(sharded)
  print(json.dumps(found))


main(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]))
