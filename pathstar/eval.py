"""Evaluates a run's newest checkpoint, on the test split or on a file in the authors' format."""

import argparse
import functools
import json
import pathlib
import sys
from collections.abc import Sequence

import jax

from pathstar import cli, data, evals, runs
from pathstar.errors import UserError


def main(argv: Sequence[str]) -> int:
  """`pathstar eval`."""
  parser = argparse.ArgumentParser("pathstar eval", description="Evaluates a checkpoint.")
  parser.add_argument("--workdir", required=True, help="folder of the run")
  parser.add_argument("--data", help="examples in the authors' format, one a line (default: the run's test split)")
  parser.add_argument("--no_decode", action="store_true", help="leave out what decodes token by token")
  args = parser.parse_args(argv)
  run = runs.load(args.workdir)
  batch = data.eval_examples(run.config, "test") if args.data is None else _read(run.task, args.data)
  values = jax.jit(functools.partial(evals.evaluate, run.config))(run.params, batch)
  if not args.no_decode:
    values |= jax.jit(functools.partial(evals.decode, run.config))(run.params, batch)[0]
  result = {"step": run.step, "examples": len(batch["target"]), **{name: float(value) for name, value in values.items()}}
  print(json.dumps(result, indent=2))
  return 0


def _read(task, path: str) -> dict:
  try:
    lines = pathlib.Path(path).read_text().splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f"--data = {path!r}: can't be read ({error})") from None
  try:
    return task.from_text(lines)
  except UserError as error:
    raise UserError(f"{path}: {error}") from None


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
