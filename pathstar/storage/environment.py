"""What a result depends on besides its config: versions, devices, the generator of random numbers, and the commit of the code."""

import os
import pathlib
import platform
import subprocess
import sys
from importlib import metadata

import jax

from pathstar.devices.random import GENERATOR

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "ml-collections", "tensorboard", "numpy")
_PACKAGE = pathlib.Path(__file__).parent.parent


def environment() -> dict:
  """As recorded in environment.json and sweep.json."""
  return {
      "python": platform.python_version(),
      **{name: metadata.version(name) for name in _PACKAGES},
      "cpu": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
      "devices": [f"{d.platform}:{d.device_kind}" for d in jax.devices()],
      "processes": jax.process_count(),
      "random": GENERATOR,
      "commit": commit(),
      "command": " ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]),
  }


def commit() -> str:
  """The git commit of this source tree, `+` if changed since, or "unknown" outside a checkout."""
  git = ["git", "-C", str(_PACKAGE)]
  try:
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run([*git, "status", "--porcelain", "-uno", "--", "."], capture_output=True, text=True, check=True).stdout
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return head + ("+" if changed else "")
