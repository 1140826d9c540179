"""What is measured. An evaluation is a module with

    applies(config) -> bool                                     which tasks and objectives it is defined for
    run(config, params, batch, logits_BxLxV) -> {name: (B,)}    one value an example; the mean is reported

where `batch` has its target in the order of the objective and `logits` come from one pass of `objective.logits`, shared by all.
Those in DECODED get `tokens_BxL`, what the model really produces, in place of logits. A module may also define

    derive(config, means) -> {name: scalar}                     what follows from the means of its metrics

Add one = one file + one line here.
Names appear as `eval/<split>/<name>` in TensorBoard and metrics.jsonl.
"""

import jax
import jax.numpy as jnp

from pathstar.evals import branch_token, clever_hans, exact_match, generated, positions, snowballing, verifier
from pathstar.objectives import base

ONE_PASS = (exact_match, snowballing, positions, branch_token, clever_hans)  # every eval.every steps
DECODED = (generated, verifier)  # every eval.decode_every steps
_MAX_CHUNK = 500  # examples per forward pass


def chunk_size(num_examples: int) -> int:
  """Examples evaluated together: the largest divisor of `num_examples` up to a limit that bounds memory."""
  return max(n for n in range(1, min(num_examples, _MAX_CHUNK) + 1) if num_examples % n == 0)


def evaluate(config, params, batch: dict) -> dict[str, jax.Array]:
  """Mean over a batch of every applicable metric that needs no decoding, as scalars. Pure; jit and vmap it.

  Args:
    config: a resolved Config.
    params: {"model": ..., "objective": ...}.
    batch: arrays with leading axis N, from `data.eval_examples`.
  """
  return _over_chunks(config, ONE_PASS, params, batch, lambda chunk: config.objective.logits(config.model, params, chunk))[0]


def decode(config, params, batch: dict) -> tuple[dict[str, jax.Array], jax.Array]:
  """As `evaluate`, of the evaluations that decode token by token; and the answers (N, A), in the order of the path."""
  predict = lambda chunk: config.objective.predict(config.model, params, chunk, jax.random.key(0))
  metrics, tokens_NxL = _over_chunks(config, DECODED, params, batch, predict)
  return metrics, base.path_order(generated.answer(config.task, tokens_NxL), config.order)


def _over_chunks(config, modules, params, batch, model_output):
  """Means of the modules' metrics, and the model's output for the whole batch, computed chunk by chunk."""
  modules = [module for module in modules if module.applies(config)]

  def one_chunk(chunk):
    chunk = base.reorder(chunk, config.order)
    output = model_output(chunk)
    values = {}
    for module in modules:
      values |= module.run(config, params, chunk, output)
    return {name: value.astype(jnp.float32).mean() for name, value in values.items()}, output

  size = chunk_size(len(batch["target"]))
  chunks = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), batch)
  values, output = jax.lax.map(one_chunk, chunks)
  means = {name: value.mean() for name, value in values.items()}
  for module in modules:
    if hasattr(module, "derive"):
      means |= module.derive(config, means)
  return means, output.reshape(-1, *output.shape[2:])
