"""pathstar: the pitfalls of next-token prediction, replicated. `pathstar.load(run_dir)` gives a finished run."""

__version__ = "0.2.0"


def load(run_dir):
  """Model, parameters, config and task of a run; see pathstar.run.Run."""
  from pathstar import run  # keeps `import pathstar` free of JAX

  return run.load(run_dir)
