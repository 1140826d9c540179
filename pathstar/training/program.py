"""A pack's program: one or several runs that differ in values alone, as functions compiled for a mesh.

Every leaf of the state has a leading run axis R, which the mesh axis `run` shards. A single run is a pack of one. `steps_per_call`
optimiser steps are one dispatch. What is written here is of one run; `mesh.each_run` makes it that of a pack.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pathstar import evals
from pathstar.config import Config
from pathstar.devices import random
from pathstar.devices.mesh import each_run, logical_sharding, runs_apart, state_shardings
from pathstar.training import data, optimizer


@dataclasses.dataclass(frozen=True)
class Program:
  """A pack's compiled functions. `state` and `values` (see `pack_values`) have a leading run axis."""

  init: Callable  # values -> state
  steps: Callable  # (state, values, batches (K, R, B, ...)) -> (state, their mean metrics (R,)); consumes its state
  evaluate: Callable  # (values, params, examples (R, N, ...)) -> metrics of one pass (R,)
  generate: Callable  # (values, params, examples (R, N, ...)) -> metrics of what is produced (R,), answers (R, N, A) along the path
  abstract_state: Any
  state_shardings: Any
  batch_sharding: Any
  mesh: Any
  apart: bool  # each device takes its runs one after another


def init_state(config: Config, values: dict) -> dict:
  """One run's state at step 0, with flax's boxes. A pure function of the seed."""
  seed, config = values["seed"], config.with_values(values)
  params = {"model": config.model.init(random.model_key(seed)),
            "objective": config.objective.init(random.objective_key(seed), config.model)}
  opt = optimizer.build(config.optimizer, 0.0, 0.0).init(params)
  return {"params": params, "opt": opt, "step": jnp.int32(0), "diverged_at": jnp.int32(-1)}


def train_step(config: Config, state: dict, batch: dict, values: dict) -> tuple[dict, dict]:
  """One optimiser step of one run. A run that is not finite freezes at its first bad step; others never notice."""
  key = random.step_key(values["seed"], state["step"])
  objective = config.with_values(values).objective
  batch = objective.in_order(batch)
  loss_fn = lambda params: objective.loss(config.model, params, batch, key, state["step"])
  (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
  rate = values["optimizer.learning_rate"] * optimizer.schedule(config.optimizer, config.train.num_steps)(state["step"])
  update = optimizer.build(config.optimizer, rate, values["optimizer.weight_decay"]).update
  updates, opt = update(grads, state["opt"], state["params"])
  grad_norm = optax.tree.norm(grads)
  finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
  healthy = finite & (state["diverged_at"] < 0)
  moved = {"params": optax.apply_updates(state["params"], updates), "opt": opt}
  kept = {name: state[name] for name in moved}
  step = state["step"] + 1
  state = jax.tree.map(lambda new, old: jnp.where(healthy, new, old), moved, kept) | {
      "step": step,
      "diverged_at": jnp.where(finite | (state["diverged_at"] >= 0), state["diverged_at"], step),
  }
  return state, {
      "train/loss": loss,
      **{f"train/loss_{name}": term for name, term in aux.terms.items()},
      "train/accuracy": jnp.mean(aux.correct_BxL, where=aux.weight_BxL > 0, dtype=jnp.float32),
      "train/grad_norm": grad_norm,
      "train/learning_rate": rate,
  }


def train_steps(config: Config, state: dict, values: dict, batch_KxB: dict) -> tuple[dict, dict]:
  """The K steps of a dispatch of one run, and the means of their metrics."""
  step = lambda state, batch: train_step(config, state, batch, values)
  state, logged = jax.lax.scan(step, state, batch_KxB)
  return state, jax.tree.map(lambda x_K: x_K.mean(axis=0), logged) | {"diverged_at": state["diverged_at"]}


@jax.jit
def at_the_end(step: int, diverged_at_R: jax.Array, loss_R: jax.Array) -> jax.Array:
  """`diverged_at` after the last step, by the evaluation there: a step tells of the parameters before it, and none follows."""
  return jnp.where((diverged_at_R < 0) & ~jnp.isfinite(loss_R), step, diverged_at_R)


def compile_program(configs: Sequence[Config], mesh) -> Program:
  """The functions of a pack on a mesh; each is compiled when first called."""
  platform = mesh.devices.flat[0].platform  # a mesh may be of devices that are not here (pathstar plan)
  config = configs[0]
  init = jax.vmap(functools.partial(init_state, config), spmd_axis_name="run")
  boxed = jax.eval_shape(init, pack_values(configs))
  shardings = state_shardings(mesh, boxed, config.mesh)
  apart = runs_apart(mesh, config.train.batch_size * config.input_length * config.model.width)
  over_runs = logical_sharding(mesh, "run")
  batches = logical_sharding(mesh, None, "run", "batch")

  # Devices of one CPU are its cores: a program for several must not spread over all of them.
  options = {"xla_cpu_multi_thread_eigen": False} if platform == "cpu" and mesh.size > 1 else None
  measure = lambda of: jax.jit(
      each_run(mesh, lambda values, params, examples: of(config.with_values(values), params, examples), apart), compiler_options=options)
  return Program(
      # Random numbers compile slowly on CPU and run once.
      init=jax.jit(lambda values: nn.meta.unbox(init(values)), out_shardings=shardings, compiler_options=(
          {"xla_backend_optimization_level": 0} if platform == "cpu" else None)),
      steps=jax.jit(each_run(mesh, functools.partial(train_steps, config), apart, (0, 0, 1)), donate_argnums=0,
                    in_shardings=(shardings, over_runs, batches), out_shardings=(shardings, over_runs), compiler_options=options),
      evaluate=measure(evals.of_logits),
      generate=measure(evals.of_tokens),
      abstract_state=nn.meta.unbox(boxed),
      state_shardings=shardings,
      batch_sharding=batches,
      mesh=mesh,
      apart=apart,
  )


def abstract_inputs(configs: Sequence[Config], program: Program) -> tuple[Any, dict, dict]:
  """Shapes and shardings of what `program.steps` takes: `program.steps.lower(*...)` needs no device and no data."""
  config, mesh = configs[0], program.mesh
  place = lambda x, target, shape: jax.ShapeDtypeStruct(shape, x.dtype, sharding=target)
  state = jax.tree.map(lambda x, s: place(x, s, x.shape), program.abstract_state, program.state_shardings)
  values = {name: place(x, logical_sharding(mesh, "run"), x.shape) for name, x in pack_values(configs).items()}
  one = data.TrainSource(tuple(configs[:1]), (slice(1), slice(1), slice(1)))[0]
  shape = (config.steps_per_call, len(configs), config.train.batch_size)
  return state, values, {k: place(x, program.batch_sharding, shape + x.shape[3:]) for k, x in one.items()}


def abstract_examples(configs: Sequence[Config], program: Program) -> dict:
  """Shapes and shardings of the examples that `program.evaluate` and `program.generate` take."""
  target = logical_sharding(program.mesh, "run")
  place = lambda x: jax.ShapeDtypeStruct((len(configs), *x.shape), x.dtype, sharding=target)
  return jax.tree.map(place, data.eval_examples(configs[0], "test"))


def pack_values(configs: Sequence[Config]) -> dict[str, np.ndarray]:
  """What the runs of a pack may differ in, by config field, as arrays (R,)."""
  return {name: np.array([c.fields[name] for c in configs], np.int32 if name == "seed" else np.float32)
          for name in configs[0].value_fields}


def abstract_params(config: Config) -> dict:
  """Shapes of one run's parameters."""
  return nn.meta.unbox(jax.eval_shape(functools.partial(init_state, config), {"seed": jnp.int32(0)}))["params"]


def parameter_counts(config: Config) -> dict[str, int]:
  """`parameters`: all that is trained, heads of the objective included; `parameters_used`: what inference keeps."""
  params = abstract_params(config)
  count = lambda tree: sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))
  return {"parameters": count(params), "parameters_used": count(config.objective.kept(params))}
