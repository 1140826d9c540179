"""What is measured. An evaluation is a module with

    applies(config) -> bool                               where it is defined: it asks properties of task and objective
    run(config, params, batch, output) -> {name: (B,)}    one value an example; the mean over the defined ones, those not NaN, is reported

where `batch` has its target in the order of the objective and, as `chunk`, a number for random.evaluation_key, and `output` is logits_BxLxV
of one pass of `objective.logits`, shared by all.
A module may also define

    reads(config) -> "logits" | "tokens"                  tokens: `output` is tokens_BxL, what the model really produces
    derive(config, means) -> {name: scalar}               what follows from the means of its metrics
    METRICS, GROUP                                        what it gives, as a regular expression, and the group in which TensorBoard
                                                          shows it; a metric that METRICS doesn't match is then an error
    Fields                                                a frozen dataclass of config fields under `eval.`: config.evals[its name]

Add one = one file + one line here. A name belongs to one evaluation. Names appear as `eval/<split>/<name>` in metrics.jsonl and, at the
end of a run, result.json and runs.csv; in TensorBoard as `<GROUP>/<split>/<name>`. What reads logits is measured every eval.every
steps, the others every eval.decode_every.
"""

import re

import jax
import jax.numpy as jnp

from pathstar.devices import random
from pathstar.errors import UserError
from pathstar.evals import branch_token, clever_hans, exact_match, generated, groups, loss, positions, snowballing, verifier

EVALS = {
    "exact_match": exact_match,
    "loss": loss,
    "snowballing": snowballing,
    "positions": positions,
    "branch_token": branch_token,
    "clever_hans": clever_hans,
    "generated": generated,
    "groups": groups,
    "verifier": verifier,
}
_MAX_CHUNK = 500  # examples per forward pass


def reads(module, config) -> str:
  """What an evaluation reads: logits | tokens."""
  return module.reads(config) if hasattr(module, "reads") else "logits"


def evaluation_of(metric: str) -> str | None:
  """The evaluation that declares a metric; None if none does."""
  return next((name for name, module in EVALS.items() if hasattr(module, "METRICS") and re.fullmatch(module.METRICS, metric)), None)


def chunks(num_examples: int) -> tuple[int, int]:
  """How many chunks of examples are evaluated one after another, to bound memory, and examples in each; the last may have some to spare."""
  number = -(-num_examples // _MAX_CHUNK)
  number = next((n for n in range(number, 2 * number) if num_examples % n == 0), number)
  return number, -(-num_examples // number)


def of_logits(config, params, batch: dict) -> dict[str, jax.Array]:
  """Mean over a batch of every metric that one pass gives, as scalars. Pure; jit and vmap it.

  Args:
    config: a resolved Config.
    params: {"model": ..., "objective": ...}.
    batch: arrays with leading axis N, from `data.eval_examples`.

  Raises:
    UserError: a metric that two evaluations give, or one that is not a value an example.
  """
  return _over_chunks(config, "logits", params, batch, lambda chunk, _: config.objective.logits(config.model, params, chunk))[0]


def of_tokens(config, params, batch: dict) -> tuple[dict[str, jax.Array], jax.Array]:
  """As `of_logits`, of what the model produces; and the answers (N, A), in the order of the path."""
  predict = lambda chunk, key: config.objective.predict(config.model, params, chunk, key)
  means, (tokens_NxL, batch) = _over_chunks(config, "tokens", params, batch, predict)
  answer_NxA = generated.answer(config.task, tokens_NxL)
  return means, config.objective.along_path(answer_NxA, batch)


def _over_chunks(config, read: str, params, batch, model_output):
  """Means of the metrics, and the model's output for the whole batch beside the batch in the objective's order, chunk by chunk."""
  modules = {name: EVALS[name] for name, what in config.measured if what == read}
  num_examples = len(batch["target"])
  number, size = chunks(num_examples)
  spare = number * size - num_examples

  def one_chunk(numbered):
    place, chunk = numbered
    chunk = config.objective.in_order(chunk)
    output = model_output(chunk, random.evaluation_key(random.PREDICT, place))
    counts_B = place * size + jnp.arange(size) < num_examples
    owner, plain, partial = {}, {}, {}
    for name, module in modules.items():
      for metric, value_B in module.run(config, params, chunk | {"chunk": place}, output).items():
        _own(owner, metric, name)
        if jnp.shape(value_B) != (size,):
          raise UserError(f"evaluation {name}: {metric} is of shape {jnp.shape(value_B)}: must be one value an example, ({size},)")
        value_B = jnp.asarray(value_B).astype(jnp.float32)
        value_B = jnp.where(counts_B, value_B, jnp.nan) if spare else value_B
        plain[metric] = value_B.mean()
        partial[metric] = jnp.where(jnp.isnan(value_B), 0, value_B).mean(), jnp.sum(jnp.isnan(value_B))
    return plain, partial, (output, chunk)

  def derived(means):
    owner = dict.fromkeys(means, "another evaluation")
    for name, module in modules.items():
      for metric, value in module.derive(config, means).items() if hasattr(module, "derive") else ():
        _own(owner, metric, name)
        means[metric] = value
    return means

  fill = lambda x: jnp.concatenate([x, x[:spare]]) if spare else x
  chunked = jax.tree.map(lambda x: fill(x).reshape(number, size, *x.shape[1:]), batch)
  plain, partial, outputs = jax.lax.map(one_chunk, (jnp.arange(number), chunked))
  plain = derived({name: mean_C.mean() for name, mean_C in plain.items()})
  partial = derived({name: _over_defined(*found, number * size) for name, found in partial.items()})
  # Where everything is defined, the plain mean, to the last bit.
  means = {name: jnp.where(jnp.isnan(mean), partial[name], mean) for name, mean in plain.items()}
  return means, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:num_examples], outputs)


def together(*measured: dict) -> dict:
  """All metrics of what was measured apart. Raises UserError on a name that is in two."""
  found: dict = {}
  for values in measured:
    if twice := found.keys() & values.keys():
      raise UserError(f"metric {sorted(twice)[0]!r}: is given by an evaluation of logits and by one of tokens; a name belongs to one")
    found |= values
  return found


def _own(owner: dict[str, str], metric: str, name: str) -> None:
  if metric in owner:
    raise UserError(f"metric {metric!r}: is given by evaluation {owner[metric]} and by {name}; a name belongs to one")
  if not re.fullmatch(getattr(EVALS[name], "METRICS", ".*"), metric):
    raise UserError(f"metric {metric!r}: is given by evaluation {name}, whose METRICS, {EVALS[name].METRICS!r}, does not match it")
  owner[metric] = name


def _over_defined(mean_C, missing_C, number: int):
  """Mean of the defined ones of `number` values, from the means of chunks with the others as 0; NaN where there are none."""
  missing = missing_C.sum()
  return mean_C.mean() / jnp.where(missing == number, jnp.nan, 1 - missing / number)
