"""Shows examples of a config's task, or exports them in the authors' file format."""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from pathstar import cli, config, draw
from pathstar.errors import UserError, choose, require


def main(argv: Sequence[str]) -> int:
  """`pathstar sample`."""
  parser = argparse.ArgumentParser("pathstar sample", description="Shows or exports examples.")
  parser.add_argument("--n", type=int, default=5, help="how many")
  parser.add_argument("--split", default="train", help="train or test")
  parser.add_argument("--out", help="file to write the examples to, in the authors' format; must not exist")
  args, fields, *_ = cli.parse(parser, argv)
  require(args.n >= 1, "--n", args.n, "an integer >= 1")
  choose("--split", args.split, ("train", "test"))
  resolved = config.resolve(fields)
  batch = resolved.task.examples(resolved.seed, args.split, np.arange(args.n))
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
    start, goal = example["prefix"][-3], example["prefix"][-2]
    print(f"\nThe first one: from {start} to {goal}\n{draw.text(resolved.task, example)}")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
