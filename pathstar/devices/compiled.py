"""Programs that XLA has compiled, on disk, for the next process that wants the same ones."""

import os
import pathlib

import jax

_WORTH_S = 0.1  # a program that compiles faster is not kept


def keep(folder: pathlib.Path | None = None) -> None:
  """Keeps what this process compiles in `folder`, else in the user's cache, unless JAX was told a place (`JAX_COMPILATION_CACHE_DIR`).

  What is found there is used only if program, options, XLA's version and the machine's kind are the same.
  """
  if jax.config.jax_compilation_cache_dir is not None:
    return
  home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  jax.config.update("jax_compilation_cache_dir", str(folder or os.path.join(home, "pathstar", "compiled")))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_S)
