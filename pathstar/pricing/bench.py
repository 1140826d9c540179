"""Speed of a config's training step, data pipeline and evaluation, against what this device measurably can do.

    utilisation = 6 x non-embedding parameters x tokens per second / peak,

peak being the best float32 (or the model's dtype) product of two square matrices in the same run. Tokens count the whole input, prefix
included; that the last block is computed at the target alone is this code's gain, not a smaller numerator.
"""

import dataclasses
import time
from collections.abc import Callable

import jax
import numpy as np

from pathstar import config, evals
from pathstar.devices import random
from pathstar.devices.mesh import local_part, make_mesh
from pathstar.training import data
from pathstar.training.feed import device_batches
from pathstar.training.program import abstract_params, compile_program, pack_values


def seconds(call: Callable[[], object], repeats: int) -> list[float]:
  """Wall-clock seconds of each of `repeats` calls, after one that is not counted; each waits for its result."""
  jax.block_until_ready(call())
  return [_timed(call) for _ in range(repeats)]


def matmul_peak(dtype: str) -> float:
  """Best FLOP/s of a square matrix product on one device."""
  # An accelerator does a CPU's product in the time of a dispatch.
  size, times = (2048, 1) if jax.devices()[0].platform == "cpu" else (8192, 8)
  a = (jax.random.normal(jax.random.key(0), (size, size)) / size**0.5).astype(dtype)  # so that the powers of it stay as large
  products = jax.jit(lambda a: jax.lax.fori_loop(0, times, lambda _, b: a @ b, a))
  return times * 2 * size**3 / min(seconds(lambda: products(a), 10))


def block_parameters(resolved: config.Config) -> int:
  """Parameters in the blocks, each loop over them counted: what 6 N D counts."""
  params = abstract_params(resolved)["model"]
  blocks = {name: value for name, value in params.items() if name in ("body", "last")}
  return resolved.model.fields.num_loops * sum(x.size for x in jax.tree.leaves(blocks))


def measure(resolved: config.Config, repeats: int) -> dict:
  """All figures of one config, a pack of one, in one process."""
  steps = resolved.steps_per_call
  enough = steps * max(resolved.train.num_steps // steps, repeats + 1)  # dispatches that are timed, and the first
  resolved = dataclasses.replace(resolved, train=dataclasses.replace(resolved.train, num_steps=enough, steps_per_call=steps))
  configs = (resolved,)
  mesh = make_mesh(resolved.mesh, 1, resolved.train.batch_size)
  with jax.set_mesh(mesh):
    begin = time.perf_counter()
    program = compile_program(configs, mesh)
    values = pack_values(configs)
    state = program.init(values)
    batches = device_batches(configs, program.batch_sharding, 0)
    state, _ = jax.block_until_ready(program.steps(state, values, next(batches)))
    compile_seconds = time.perf_counter() - begin
    peak, step_times = 0.0, []
    for _ in range(repeats):  # peak and step in turn, so that both see the machine at its best
      peak = max(peak, matmul_peak(resolved.model.fields.dtype) * mesh.size)
      begin = time.perf_counter()
      state, _ = jax.block_until_ready(program.steps(state, values, next(batches)))
      step_times.append((time.perf_counter() - begin) / steps)
    test = data.eval_examples(resolved, "test")
    params = jax.tree.map(lambda x: x[0], state["params"])
    _, size = evals.chunks(len(test["target"]))
    whole = len(test["target"]) // size
    chunks = {k: v[:whole * size].reshape(whole, size, *v.shape[1:]) for k, v in test.items()}
    objective, model, metric = resolved.objective, resolved.model, evals.EVALS["exact_match"]
    read = {"logits": lambda p, c: objective.logits(model, p, c),
            "tokens": lambda p, c: objective.predict(model, p, c, random.evaluation_key(random.PREDICT, 0))}[metric.reads(resolved)]
    forward = jax.jit(lambda p, chunks: jax.lax.map(lambda c: objective.logits(model, p, c).sum(), chunks))
    match = jax.jit(lambda p, chunks: jax.lax.map(lambda c: metric.run(resolved, p, c, read(p, c))["exact_match"].mean(), chunks))
    jax.block_until_ready((match(params, chunks), forward(params, chunks)))  # the first is not counted
    pairs = [(_timed(lambda: match(params, chunks)), _timed(lambda: forward(params, chunks))) for _ in range(2)]
  source = data.TrainSource(configs, local_part(program.batch_sharding, (steps, 1, resolved.train.batch_size)))
  data_times = [_timed(lambda i=i: source[i]) / steps for i in range(20)]
  step, tokens = min(step_times), resolved.train.batch_size * resolved.input_length
  flops = 6 * block_parameters(resolved) * tokens / step
  return {
      "device": f"{jax.devices()[0].platform}:{jax.devices()[0].device_kind} x {mesh.size}",
      "parameters_in_blocks": block_parameters(resolved),
      "tokens_per_step": tokens,
      "compile_seconds": compile_seconds,
      "step_ms": 1e3 * step,
      "step_ms_median": 1e3 * float(np.median(step_times)),
      "examples_per_second": resolved.train.batch_size / step,
      "model_gflops_per_second": flops / 1e9,
      "matmul_peak_gflops_per_second": peak / 1e9,
      "utilisation": flops / peak,
      "data_ms_per_step": 1e3 * float(np.median(data_times)),
      "data_share_of_step": float(np.median(data_times)) / step,
      "eval_examples": whole * size,
      "eval_seconds": min(a for a, _ in pairs),
      "eval_over_forward": float(np.median([a / b for a, b in pairs])),
  }


def _timed(call: Callable[[], object]) -> float:
  begin = time.perf_counter()
  jax.block_until_ready(call())
  return time.perf_counter() - begin
