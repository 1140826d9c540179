"""Exact match of each kind of example that the task tells apart, such as the lengths of its arms or the place of the named node."""

import jax.numpy as jnp

from pathstar.evals import exact_match

GROUP, METRICS = "kinds", r"\w+_\d+/exact_match"
reads = exact_match.reads


def applies(config) -> bool:
  return bool(getattr(config.task, "groups", {}))


def run(config, params, batch, output) -> dict:
  """`NAME_K/exact_match` (B,) for each value K of each of `task.groups`; undefined for other examples."""
  right_B = exact_match.run(config, params, batch, output)["exact_match"]
  return {f"{name}_{value}/exact_match": jnp.where(batch[name] == value, right_B, jnp.nan)
          for name, values in config.task.groups.items() for value in values}
