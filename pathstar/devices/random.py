"""Random numbers: one generator whatever the machine says, and streams that never overlap.

A run's numbers are functions of its seed alone. Each use has a child of the seed's key of its own (`jax.random.split(key, 2)` gives
the children 0 and 1), so that no draw of one is ever a draw of another. Evaluations draw the same numbers for every run: what is
compared differs in the models alone.
"""

import jax

GENERATOR = "threefry2x32"  # vectorises over the runs of a pack, which JAX's `rbg` does not
jax.config.update("jax_threefry_partitionable", True)  # its numbers depend on it, and the environment could say otherwise
_MODEL, _OBJECTIVE, _STEP, _EVALUATION = range(4)


def _stream(seed, child: int) -> jax.Array:
  return jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), child)


def model_key(seed) -> jax.Array:
  """For the initial parameters of the model."""
  return _stream(seed, _MODEL)


def objective_key(seed) -> jax.Array:
  """For the initial parameters of the objective."""
  return _stream(seed, _OBJECTIVE)


def step_key(seed, step) -> jax.Array:
  """For what the loss draws at a training step."""
  return jax.random.fold_in(_stream(seed, _STEP), step)


PREDICT, SAMPLE = range(2)  # what an evaluation draws for: the objective's own decoding, the samples of the verifier


def evaluation_key(purpose: int, chunk) -> jax.Array:
  """For what an evaluation draws on a chunk of examples."""
  return jax.random.fold_in(jax.random.fold_in(_stream(0, _EVALUATION), purpose), chunk)
