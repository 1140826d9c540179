"""pathstar: the pitfalls of next-token prediction, replicated. `pathstar.load(run_dir)` gives a run, `pathstar.load_sweep(dir)` rows."""

__version__ = "0.2.0"


def load(run_dir, step=None):
  """Model, parameters, config and task of a run at its newest checkpoint or that of a step; see pathstar.run.Run."""
  from pathstar import run  # keeps `import pathstar` free of JAX

  return run.load(run_dir, step)


def load_sweep(folder, only=()):
  """A row a run of a sweep, ready for a DataFrame; see pathstar.run.load_sweep."""
  from pathstar import run

  return run.load_sweep(folder, only)
