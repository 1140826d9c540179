"""Shows examples of a config's task, or exports them in the authors' file format."""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from pathstar.commands import cli
from pathstar.errors import UserError, choose, require
from pathstar.tasks import draw
from pathstar.training import data


def main(argv: Sequence[str]) -> int:
  """`pathstar sample`."""
  parser = argparse.ArgumentParser("pathstar sample", description="Shows or exports examples.")
  parser.add_argument("--n", type=int, default=5, help="how many")
  parser.add_argument("--split", default="train", help="train or test")
  parser.add_argument("--out", help="file to write the examples to, in the authors' format; must not exist")
  args, loaded = cli.parse(parser, argv)
  require(args.n >= 1, "--n", args.n, "an integer >= 1")
  choose("--split", args.split, ("train", "test"))
  resolved = loaded.resolve()
  batch = data.examples(resolved, resolved.seed, args.split, np.arange(args.n))
  lines = resolved.task.to_text(batch)
  if args.out:
    try:
      with pathlib.Path(args.out).open("x") as file:
        file.write("\n".join(lines) + "\n")
    except OSError as error:
      raise UserError(f"--out = {args.out!r}: can't be written ({error.strerror})") from None
    print(f"{args.n} examples of {resolved.task} written to {args.out}")
    return 0
  print("\n".join(lines))
  example = {name: value[0] for name, value in batch.items()}
  if "arms" in example:
    print(f"\nThe first one: from {example['start']} to {example['goal']}\n{draw.text(resolved.task, example)}")
  return 0
