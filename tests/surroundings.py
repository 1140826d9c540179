"""Run by test_surroundings.py: trains packs, and their runs alone, whatever the environment says of JAX, and prints the losses as JSON."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from pathstar import config
from pathstar.devices.mesh import make_mesh
from pathstar.training import data
from pathstar.training.program import compile_program, pack_values


def losses(*configs):
  """(steps, R), and the sum of the initial parameters' magnitudes (R,)."""
  mesh = make_mesh("auto", len(configs), configs[0].train.batch_size)
  with jax.set_mesh(mesh):
    program = compile_program(configs, mesh)
    values = pack_values(configs)
    state = program.init(values)
    size = sum(np.abs(x).sum(axis=tuple(range(1, x.ndim))) for x in jax.device_get(jax.tree.leaves(state["params"])))
    source, found = data.TrainSource(configs, (slice(None),) * 3), []
    for record in range(len(source)):
      state, logged = program.steps(state, values, jax.tree.map(jnp.asarray, source[record]))
      found.append(logged["train/loss"])
  return np.array(found), size


def main(cases, alone):
  said = {}
  for name, fields in cases.items():
    runs = [config.resolve(config.override(config.default(), fields | {"seed": seed}), given=()) for seed in (0, 3)]
    together, size = losses(*runs)
    said[name] = {"together": together.tolist(), "start": size.tolist()}
    if alone:
      said[name]["alone"] = np.concatenate([losses(run)[0] for run in runs], axis=1).tolist()
  print(json.dumps(said))


main(json.loads(sys.argv[1]), sys.argv[2] == "alone")
