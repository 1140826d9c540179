"""Shows examples of a config's task, draws the first of them, or exports them in the authors' file format."""

import pathlib
from collections.abc import Callable, Sequence
from typing import BinaryIO

import numpy as np

from pathstar.commands import cli
from pathstar.errors import UserError, choose, require
from pathstar.tasks import draw
from pathstar.training import data


def main(argv: Sequence[str]) -> int:
  """`pathstar sample`."""
  parser = cli.Parser("sample", description="Shows, draws or exports examples.")
  parser.add_argument("--n", type=int, default=5, help="how many")
  parser.add_argument("--split", default="train", help="train or test")
  parser.add_argument("--out", help="file to write the examples to, in the authors' format; must not exist")
  parser.add_argument("--picture", help="file to draw the first one into, as in task.png; must not exist")
  args, loaded = cli.parse(parser, argv)
  require(args.n >= 1, "--n", args.n, "an integer >= 1")
  choose("--split", args.split, ("train", "test"))
  form = pathlib.Path(args.picture or "task.png").suffix.lstrip(".")
  choose("ending of --picture", form, ("png", "svg", "pdf"))
  resolved = loaded.resolve()
  batch = data.examples(resolved, resolved.seed, args.split, np.arange(args.n))
  lines = resolved.task.to_text(batch)
  example = {name: value[0] for name, value in batch.items()}
  if args.out:
    _new("--out", args.out, lambda file: file.write(("\n".join(lines) + "\n").encode()))
    print(f"{args.n} examples of {resolved.task} written to {args.out}")
  if args.picture:
    _new("--picture", args.picture, lambda file: draw.figure(resolved.task, example).savefig(file, format=form, bbox_inches="tight"))
  if args.out:
    return 0
  print("\n".join(lines))
  if "arms" in example:
    print(f"\nThe first one: from {example['start']} to {example['goal']}\n{draw.text(resolved.task, example)}")
  return 0


def _new(name: str, path: str, write: Callable[[BinaryIO], object]) -> None:
  """Writes a file that must not exist."""
  try:
    with pathlib.Path(path).open("xb") as file:
      write(file)
  except OSError as error:
    raise UserError(f"{name} = {path!r}: can't be written ({error.strerror})") from None
