"""pathstar: the pitfalls of next-token prediction, replicated. `pathstar.load(run_dir)` gives a finished run."""

__version__ = "0.1.0"


def load(run_dir):
  """Model, parameters, config and task of a run; see pathstar.runs.Run."""
  from pathstar import runs  # keeps `import pathstar` free of JAX

  return runs.load(run_dir)
