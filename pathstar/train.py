"""Training, top to bottom: one or several runs that differ in values alone (a pack) as one program.

Every leaf of the state has a leading run axis R, the step is vmapped over it, and the mesh axis `run` shards it. A single run is
a pack of one. `steps_per_call` optimiser steps are one dispatch; its numbers are fetched while the next one runs.
"""

import argparse
import contextlib
import dataclasses
import functools
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pathstar import cli, data, draw, evals, hosts, metrics, optimizer, partition, workdir
from pathstar.checkpoint import Checkpoints
from pathstar.config import Config, resolve
from pathstar.metrics import Recorder
from pathstar.objectives import base
from pathstar.progress import Progress

EXIT_STOPPED = 75  # EX_TEMPFAIL: stopped by a signal after a checkpoint; the same command goes on from there


class Stopped(Exception):
  """SIGTERM or SIGINT came: a checkpoint is saved and the same command resumes."""


@dataclasses.dataclass(frozen=True)
class Program:
  """A pack's compiled functions. `state` and `values` have a leading run axis."""

  init: Callable  # values -> state
  block: Callable  # (state, values, batches (K, R, B, ...)) -> (state, metrics of the block (R,)); consumes its state
  evaluate: Callable  # (params, examples (R, N, ...)) -> metrics (R,)
  decode: Callable  # (params, examples (R, N, ...)) -> metrics (R,), answers (R, N, A) in the order of the path
  abstract_state: Any
  state_shardings: Any
  batch_sharding: Any
  mesh: Any


def init_state(config: Config, values: dict) -> dict:
  """One run's state at step 0, with flax's boxes. A pure function of the seed."""
  model_key, objective_key = jax.random.split(jax.random.key(values["seed"]))
  params = {"model": config.model.init(model_key), "objective": config.objective.init(objective_key)}
  opt = optimizer.build(config.optimizer, 0.0, 0.0).init(params)
  return {"params": params, "opt": opt, "step": jnp.int32(0), "diverged_at": jnp.int32(-1)}


def train_step(config: Config, state: dict, batch: dict, values: dict) -> tuple[dict, dict]:
  """One optimiser step of one run. A run that is not finite freezes at its first bad step; others never notice."""
  key = jax.random.fold_in(jax.random.key(values["seed"]), state["step"])
  batch = base.reorder(batch, config.order)
  loss_fn = lambda params: config.objective.loss(config.model, params, batch, key)
  (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(state["params"])
  rate = values["learning_rate"] * optimizer.schedule(config.optimizer, config.train.num_steps)(state["step"])
  update = optimizer.build(config.optimizer, rate, values["weight_decay"]).update
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
      "train/accuracy": jnp.mean(aux.correct_BxL, where=aux.weight_BxL > 0, dtype=jnp.float32),
      "train/grad_norm": grad_norm,
      "train/learning_rate": rate,
  }


def compile_program(configs: Sequence[Config], mesh) -> Program:
  """The functions of a pack on a mesh; each is compiled when first called."""
  platform = mesh.devices.flat[0].platform  # a mesh may be of devices that are not here (pathstar plan)
  config = dataclasses.replace(configs[0], model=configs[0].model.on(platform))
  runs = functools.partial(jax.vmap, spmd_axis_name="run")
  init = runs(functools.partial(init_state, config))
  boxed = jax.eval_shape(init, pack_values(configs))
  shardings = partition.state_shardings(mesh, boxed, config.mesh)
  over_runs = partition.sharding(mesh, "run")
  batches = partition.sharding(mesh, None, "run", "batch")

  def block(state, values, batch_KxRxB):
    step = runs(functools.partial(train_step, config))
    state, logged = jax.lax.scan(lambda state, batch: step(state, batch, values), state, batch_KxRxB)
    return state, jax.tree.map(lambda x_KxR: x_KxR.mean(axis=0), logged) | {"diverged_at": state["diverged_at"]}

  # Devices of one CPU are its cores: a program for several must not spread over all of them.
  options = {"xla_cpu_multi_thread_eigen": False} if platform == "cpu" and mesh.size > 1 else None
  evaluate = runs(functools.partial(evals.evaluate, config))
  decode = runs(functools.partial(evals.decode, config))
  return Program(
      # Random numbers compile slowly on CPU and run once.
      init=jax.jit(lambda values: nn.meta.unbox(init(values)), out_shardings=shardings, compiler_options=(
          {"xla_backend_optimization_level": 0} if platform == "cpu" else None)),
      block=jax.jit(block, donate_argnums=0, in_shardings=(shardings, over_runs, batches), out_shardings=(shardings, over_runs),
                    compiler_options=options),
      evaluate=jax.jit(evaluate, compiler_options=options),
      decode=jax.jit(decode, compiler_options=options),
      abstract_state=nn.meta.unbox(boxed),
      state_shardings=shardings,
      batch_sharding=batches,
      mesh=mesh,
  )


def abstract_inputs(configs: Sequence[Config], program: Program) -> tuple[Any, dict, dict]:
  """Shapes and shardings of what `program.block` takes: `program.block.lower(*...)` needs no device and no data."""
  config, mesh = configs[0], program.mesh
  place = lambda x, target, shape: jax.ShapeDtypeStruct(shape, x.dtype, sharding=target)
  state = jax.tree.map(lambda x, s: place(x, s, x.shape), program.abstract_state, program.state_shardings)
  values = {name: place(x, partition.sharding(mesh, "run"), x.shape) for name, x in pack_values(configs).items()}
  one = data.TrainSource(tuple(configs[:1]), (slice(1), slice(1), slice(1)))[0]
  shape = (config.steps_per_call, len(configs), config.train.batch_size)
  return state, values, {k: place(x, program.batch_sharding, shape + x.shape[3:]) for k, x in one.items()}


def pack_values(configs: Sequence[Config]) -> dict[str, np.ndarray]:
  """What the runs of a pack differ in, as arrays (R,)."""
  return {
      "seed": np.array([c.seed for c in configs], np.int32),
      "learning_rate": np.array([c.optimizer.learning_rate for c in configs], np.float32),
      "weight_decay": np.array([c.optimizer.weight_decay for c in configs], np.float32),
  }


def train(configs: Sequence[Config], folders: Sequence[pathlib.Path], checkpoint_folder: pathlib.Path) -> list[dict]:
  """Trains a pack, resuming from its newest checkpoint, and returns the result of each run, as in its result.json.

  Of several processes all call this, and all but the first return an empty list.

  Args:
    configs: the runs; they differ in `config.VALUE_FIELDS` alone.
    folders: a folder for each run.
    checkpoint_folder: where the pack's checkpoints go.

  Raises:
    UserError: a folder is in use, belongs to something else, or holds a run with another config.
    Stopped: a signal came; a checkpoint is saved.
  """
  config, steps_per_call = configs[0], configs[0].steps_per_call
  num_steps = config.train.num_steps
  with contextlib.ExitStack() as stack:
    with hosts.together():
      for run_config, folder in zip(configs, folders, strict=True) if hosts.is_first() else ():
        stack.enter_context(workdir.lock(workdir.make(folder)))
        workdir.claim(folder, run_config.fields)
    mesh = partition.make_mesh(config.mesh, len(configs), config.train.batch_size)
    stack.enter_context(jax.set_mesh(mesh))
    program = compile_program(configs, mesh)
    values = partition.over_runs(mesh, pack_values(configs))

    checkpoints = stack.enter_context(contextlib.closing(Checkpoints(checkpoint_folder, config.train.keep_checkpoints)))
    restored = checkpoints.restore(program.abstract_state, program.state_shardings)
    start_step, state, extra = restored or (0, program.init(values), {"train_seconds": 0.0})
    if start_step and hosts.is_first():
      print(f"resuming from step {start_step}", file=sys.stderr, flush=True)

    examples = eval_inputs(configs, mesh)
    batches = device_batches(configs, program.batch_sharding, start_step)

    title = folders[0].name + (f" (+{len(configs) - 1})" if len(configs) > 1 else "")
    progress = stack.enter_context(contextlib.closing(
        Progress(title, start_step, num_steps, config.train.batch_size * len(configs))))
    recorder = stack.enter_context(contextlib.closing(Recorder(configs, folders, start_step, progress)))
    signalled = stack.enter_context(stop_on_signals())
    stopped = checkpoints.preempted if hosts.several() else signalled.is_set
    begin = time.monotonic()
    if start_step == 0:
      recorder.push(0, evaluate(program, state["params"], examples, decode=True))

    for step in range(start_step + steps_per_call, num_steps + 1, steps_per_call):
      state, logged = program.block(state, values, next(batches))
      found = dict(logged) if step % config.train.log_every == 0 else {}
      if (decode := _due(step, config.eval.decode_every, num_steps)) or _due(step, config.eval.every, num_steps):
        found |= evaluate(program, state["params"], examples, decode) | {"diverged_at": logged["diverged_at"]}
      recorder.push(step, found, after=logged)
      all_diverged = bool((recorder.diverged_at >= 0).all())
      stop = stopped()
      if step % config.train.checkpoint_every == 0 or step == num_steps or stop or all_diverged:
        recorder.flush()  # before the checkpoint: what is on disk must reach at least as far
        checkpoints.save(step, state, {"train_seconds": extra["train_seconds"] + time.monotonic() - begin})
      if all_diverged:
        break
      if stop:
        checkpoints.wait()
        raise Stopped(f"stopped by a signal at step {step} of {num_steps}; the same command resumes")

    recorder.flush()
    checkpoints.wait()
    seconds = (extra["train_seconds"] + time.monotonic() - begin) / len(configs)
    _, answer_RxNxA = program.decode(state["params"], examples["test"])
    answer_RxA, diverged_at = jax.device_get(hosts.everywhere((answer_RxNxA[:, 0], state["diverged_at"])))
    example = {name: x[0] for name, x in data.eval_examples(config, "test").items()}  # the same for every seed
    results = []
    for run, folder in enumerate(folders) if hosts.is_first() else ():
      recorder.picture(run, num_steps, draw.figure(config.task, example, answer_RxA[run]))
      results.append(_result(configs[run], folder, int(diverged_at[run]), seconds))
  with hosts.together():  # no process goes on before the results are there
    for folder, result in zip(folders, results, strict=False):
      workdir.write_json(folder / workdir.RESULT, result)
  return results


def eval_inputs(configs: Sequence[Config], mesh) -> dict[str, dict]:
  """The fixed examples of each split for each run (R, N, ...), on the devices."""
  stacked = lambda split: jax.tree.map(lambda *x: np.stack(x), *(data.eval_examples(c, split) for c in configs))
  return {split: partition.over_runs(mesh, stacked(split)) for split in ("test", "train")}


def evaluate(program: Program, params, examples: dict[str, dict], decode: bool) -> dict[str, jax.Array]:
  """All metrics of each run (R,) by tag, on both splits."""
  found = {}
  for split, batch in examples.items():
    values = program.evaluate(params, batch) | (program.decode(params, batch)[0] if decode else {})
    found |= {f"eval/{split}/{name}": value for name, value in values.items()}
  return found


def _due(step: int, every: int | None, num_steps: int) -> bool:
  return step == num_steps or (every is not None and step % every == 0)


def device_batches(configs: Sequence[Config], sharding, start_step: int) -> Iterator[dict]:
  """The input of each dispatch as global arrays, of which this process made its own part."""
  config = configs[0]
  shape = (config.steps_per_call, len(configs), config.train.batch_size)
  for batch in data.train_batches(tuple(configs), partition.local_part(sharding, shape), start_step):
    yield {name: partition.put(sharding, shape, array) for name, array in batch.items()}


def _result(config: Config, folder: pathlib.Path, diverged_at: int, seconds: float) -> dict:
  """result.json: how the run ended and its last evaluation; a diverged run has no scores."""
  parameters = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(jax.eval_shape(config.model.init, jax.random.key(0))))
  ended = {"status": "done", "steps": config.train.num_steps, "train_seconds": round(seconds, 2), "parameters": parameters}
  if diverged_at >= 0:
    return ended | {"status": "diverged", "steps": diverged_at}
  last = metrics.read(folder)[-1]
  return ended | {name: value for name, value in last.items() if name.startswith("eval/")}


_stop: threading.Event | None = None  # of the outermost `stop_on_signals`


@contextlib.contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
  """An event that SIGTERM or SIGINT sets; a second signal acts at once. Inside another one, it is that one's event.

  With several processes it is never set: SIGTERM to any of them is then caught by JAX, so that all stop after the same
  dispatch (see `Checkpoints.preempted`).
  """
  global _stop
  if _stop is not None or hosts.several() or threading.current_thread() is not threading.main_thread():
    yield _stop or threading.Event()
    return
  event = _stop = threading.Event()

  def handle(number, frame):
    event.set()
    signal.signal(number, before[number])

  before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield event
  finally:
    _stop = None
    for number, handler in before.items():
      signal.signal(number, handler)


def main(argv: Sequence[str]) -> int:
  """`pathstar train`."""
  parser = argparse.ArgumentParser("pathstar train", description="Trains one run; the same command again resumes it.")
  args, config, *_ = cli.parse(parser, argv, workdir="folder of the run")
  folder = workdir.path(args.workdir)
  for result in train([resolve(config)], [folder], folder / "checkpoints"):
    scores = (("exact match on test", "eval/test/exact_match"), ("on train", "eval/train/exact_match"))
    print(f"{folder}: {result['status']} at step {result['steps']}"
          + "".join(f"  {name} {result[tag]:.3f}" for name, tag in scores if tag in result))
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
