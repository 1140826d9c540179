"""What is measured. An evaluation is a module with

    applies(config) -> bool                                     which tasks and objectives it is defined for
    run(config, params, batch, logits_BxLxV) -> {name: (B,)}    one value an example; the mean is reported

where `batch` has its target in the order of the objective and `logits` come from one pass of `objective.logits`, shared by all.
Add one = one file + one line here. Names appear as `eval/<split>/<name>` in TensorBoard and metrics.jsonl.
"""

import jax
import jax.numpy as jnp

from pathstar.evals import branch_token, clever_hans, exact_match, generated, positions
from pathstar.objectives import base

ONE_PASS = (exact_match, positions, branch_token, clever_hans)  # every eval.every steps
DECODED = (generated,)  # every eval.decode_every steps
_MAX_CHUNK = 500  # examples per forward pass


def chunk_size(num_examples: int) -> int:
  """Examples evaluated together: the largest divisor of `num_examples` up to a limit that bounds memory."""
  return max(n for n in range(1, min(num_examples, _MAX_CHUNK) + 1) if num_examples % n == 0)


def evaluate(config, params, batch: dict, decode: bool) -> dict[str, jax.Array]:
  """Mean of every applicable metric over a batch of examples, as scalars. Pure; jit and vmap it.

  Args:
    config: a resolved Config.
    params: {"model": ..., "objective": ...}.
    batch: arrays with leading axis N, from `data.eval_examples`.
    decode: also run the evaluations that decode token by token.
  """
  modules = [m for m in ONE_PASS + (DECODED if decode else ()) if m.applies(config)]

  def one_chunk(chunk):
    chunk = base.reorder(chunk, config.order)
    logits = config.objective.logits(config.model, params, chunk)
    metrics = {}
    for module in modules:
      metrics |= module.run(config, params, chunk, logits)
    return {name: value.astype(jnp.float32).mean() for name, value in metrics.items()}

  size = chunk_size(len(batch["target"]))
  chunks = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), batch)
  return jax.tree.map(lambda x: x.mean(), jax.lax.map(one_chunk, chunks))
