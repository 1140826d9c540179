"""What a result depends on besides its config: versions, devices, the generator of random numbers, and the commit of the code."""

import os
import pathlib
import platform
import shlex
import subprocess
import sys
from importlib import metadata

import jax

from pathstar.devices.random import GENERATOR

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "ml-collections", "tensorboard", "numpy")
_PACKAGE = pathlib.Path(__file__).parent.parent


def environment() -> dict:
  """As recorded in environment.json and sweep.json."""
  precision, called = jax.config.jax_default_matmul_precision, pathlib.Path(sys.argv[0]).name
  return {
      "python": platform.python_version(),
      **{name: metadata.version(name) for name in _PACKAGES},
      "cpu": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
      "devices": [f"{d.platform}:{d.device_kind}" for d in jax.devices()],
      "processes": jax.process_count(),
      "random": GENERATOR,
      "commit": commit(),
      "command": shlex.join(["pathstar" if called == "__main__.py" else called, *sys.argv[1:]]),  # as of `python -m pathstar`
      **({"matmul_precision": precision} if precision else {}),  # JAX_DEFAULT_MATMUL_PRECISION: of a GPU's float32 what it is by default
  }


def commit() -> str:
  """The git commit of this source tree, `+` if package or configs changed since, or "unknown" where it is not a checkout of its own."""
  # Whatever the surroundings say of git, and whatever project encloses an installed package.
  ours = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
  git = ["git", "-C", str(_PACKAGE)]
  run = lambda *words: subprocess.run([*git, *words], capture_output=True, text=True, check=True, env=ours).stdout.strip()
  try:
    if pathlib.Path(run("rev-parse", "--show-toplevel")).resolve() != _PACKAGE.parent.resolve() or not run("ls-files", "__init__.py"):
      return "unknown"
    head, changed = run("rev-parse", "--short=12", "HEAD"), run("status", "--porcelain", "-uno", "--", ".", ":/configs")
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return head + ("+" if changed else "")
