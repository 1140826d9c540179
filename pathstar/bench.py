"""Speed of a config's training step, data pipeline and evaluation, against what this device measurably can do.

    utilisation = 6 x non-embedding parameters x tokens per second / peak,

peak being the best float32 (or the model's dtype) product of two 2048 x 2048 matrices in the same run. Tokens count the whole input,
prefix included; that the last block is computed at the target alone is this code's gain, not a smaller numerator.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from pathstar import cli, config, data, evals, partition, scaling, train
from pathstar.errors import UserError, require

_PEAK_SIZE = 2048


def seconds(call: Callable[[], object], repeats: int) -> list[float]:
  """Wall-clock seconds of each of `repeats` calls, after one that is not counted; each waits for its result."""
  jax.block_until_ready(call())
  return [_timed(call) for _ in range(repeats)]


def matmul_peak(dtype: str) -> float:
  """Best FLOP/s of a square matrix product on one device."""
  a = jax.random.normal(jax.random.key(0), (_PEAK_SIZE, _PEAK_SIZE)).astype(dtype)
  product = jax.jit(lambda a: a @ a)
  return 2 * _PEAK_SIZE**3 / min(seconds(lambda: product(a), 10))


def block_parameters(resolved: config.Config) -> int:
  """Parameters in the blocks, each loop over them counted: what 6 N D counts."""
  params = jax.eval_shape(resolved.model.init, jax.random.key(0))
  blocks = {name: value for name, value in params.items() if name in ("body", "last")}
  return resolved.model.fields.num_loops * sum(x.size for x in jax.tree.leaves(blocks))


def measure(resolved: config.Config, repeats: int) -> dict:
  """All figures of one config, a pack of one, in one process."""
  configs = (resolved,)
  steps = resolved.steps_per_call
  mesh = partition.make_mesh(resolved.mesh, 1, resolved.train.batch_size)
  with jax.set_mesh(mesh):
    begin = time.perf_counter()
    program = train.compile_program(configs, mesh)
    values = train.pack_values(configs)
    state = program.init(values)
    batches = train.device_batches(configs, program.batch_sharding, 0)
    state, _ = jax.block_until_ready(program.block(state, values, next(batches)))
    compile_seconds = time.perf_counter() - begin
    peak, step_times = 0.0, []
    for _ in range(repeats):  # peak and step in turn, so that both see the machine at its best
      peak = max(peak, matmul_peak(resolved.model.fields.dtype) * mesh.size)
      begin = time.perf_counter()
      state, _ = jax.block_until_ready(program.block(state, values, next(batches)))
      step_times.append((time.perf_counter() - begin) / steps)
    test = data.eval_examples(resolved, "test")
    params = jax.tree.map(lambda x: x[0], state["params"])
    size = evals.chunk_size(len(test["target"]))
    chunks = {k: v.reshape(-1, size, *v.shape[1:]) for k, v in test.items()}
    forward = jax.jit(lambda p, chunks: jax.lax.map(lambda c: resolved.objective.logits(resolved.model, p, c).sum(), chunks))
    match = jax.jit(lambda p, chunks: jax.lax.map(
        lambda c: evals.exact_match.run(resolved, p, c, resolved.objective.logits(resolved.model, p, c))["exact_match"].mean(), chunks))
    jax.block_until_ready((match(params, chunks), forward(params, chunks)))  # the first is not counted
    pairs = [(_timed(lambda: match(params, chunks)), _timed(lambda: forward(params, chunks))) for _ in range(2)]
  source = data.TrainSource(configs, partition.local_part(program.batch_sharding, (steps, 1, resolved.train.batch_size)))
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
      "eval_examples": len(test["target"]),
      "eval_seconds": min(a for a, _ in pairs),
      "eval_over_forward": float(np.median([a / b for a, b in pairs])),
  }


def _timed(call: Callable[[], object]) -> float:
  begin = time.perf_counter()
  jax.block_until_ready(call())
  return time.perf_counter() - begin


def _numbers(name: str, text: str) -> list[int]:
  words = [n for n in text.split(",") if n]
  for n in words:
    require(n.isdigit() and int(n) >= 1, name, text, "integers >= 1 with commas between")
  return [*map(int, words)]


def _compare(fields, args) -> int:
  """`--mixers` and `--packs`: see scaling.py."""
  mixers = args.mixers.split(",") if args.mixers else [fields.model.mixer]
  lengths, packs = _numbers("--lengths", args.lengths or ""), _numbers("--packs", args.packs or "1")
  rows = []
  measured = (rows.append(row) or row for row in scaling.compare(fields, mixers, lengths, args.repeats, packs))
  for line in scaling.table(measured):
    print(line, flush=True)
  if args.out:
    scaling.write(pathlib.Path(args.out), rows)
  return 0


def main(argv: Sequence[str]) -> int:
  """`pathstar bench`."""
  parser = argparse.ArgumentParser("pathstar bench", description=__doc__.splitlines()[0])
  parser.add_argument("--repeats", type=int, default=8, help="timed dispatches")
  parser.add_argument("--json", help="file to write the figures to as well")
  parser.add_argument("--mixers", help="compare the training step of these instead, in turn: attention,s5_gated,mamba")
  parser.add_argument("--packs", help="compare the training step of packs of so many runs instead, in turn: 1,8,32")
  parser.add_argument("--lengths", help="with --mixers: on random tokens of these lengths: 32,128,512,2048")
  parser.add_argument("--out", help="with --mixers or --packs: folder to write tables and a figure to as well")
  if any(word.startswith("--packs") for word in argv):
    partition.cores_as_devices()
  args, fields, *_ = cli.parse(parser, argv)
  if args.mixers or args.packs:
    return _compare(fields, args)
  if args.lengths or args.out:
    raise UserError("--lengths and --out: must come with --mixers")
  figures = measure(config.resolve(fields), args.repeats)
  for name, value in figures.items():
    print(f"{name:32} {value:,.4g}" if isinstance(value, float) else f"{name:32} {value}")
  if args.json:
    with open(args.json, "w") as file:
      json.dump(figures, file, indent=2)
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
