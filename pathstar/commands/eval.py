"""Evaluates a run's newest checkpoint, on the test split or on a file in the authors' format."""

import argparse
import codecs
import csv
import functools
import json
import math
import pathlib
import sys
from collections.abc import Sequence

import jax

from pathstar import evals, run
from pathstar.errors import UserError
from pathstar.training import data


def main(argv: Sequence[str]) -> int:
  """`pathstar eval`."""
  parser = argparse.ArgumentParser("pathstar eval", description="Evaluates a checkpoint.")
  parser.add_argument("--workdir", required=True, help="folder of the run")
  parser.add_argument("--data", help="examples in the authors' format, one a line (default: the run's test split)")
  parser.add_argument("--out", help="file to write each example of --data to, with the model's answer, and whether it is right (CSV); must "
                      "not exist")
  parser.add_argument("--no_decode", action="store_true", help="leave out what decodes token by token")
  args = parser.parse_args(argv)
  if args.out and args.data is None:
    raise UserError("--out: says what becomes of each line of --data, which is not given")
  loaded = run.load(args.workdir)
  batch = data.eval_examples(loaded.config, "test") if args.data is None else _read(loaded.task, args.data)
  means = jax.jit(functools.partial(evals.of_logits, loaded.config))(loaded.params, batch)
  if not args.no_decode:
    means = evals.together(means, jax.jit(functools.partial(evals.of_tokens, loaded.config))(loaded.params, batch)[0])
  scores = {name: float(mean) for name, mean in means.items() if not math.isnan(mean)}
  result = {"step": loaded.step, "examples": len(batch["target"]), **scores}
  print(json.dumps(result, indent=2))
  if args.out:
    _write(loaded, batch, args.out)
  return 0


def _write(loaded: run.Run, batch: dict, out: str) -> None:
  """One row an example."""
  right = loaded.task.to_text(batch)
  answers = loaded.predict(right)
  try:
    with open(out, "x", newline="") as file:
      rows = csv.writer(file, lineterminator="\n")
      rows.writerow(("example", "answer", "right"))
      rows.writerows((line, told, "right" if told == line else "wrong") for line, told in zip(right, answers, strict=True))
  except OSError as error:
    raise UserError(f"--out = {out!r}: can't be written ({error.strerror})") from None
  print(f"{sum(told == line for line, told in zip(right, answers))} of {len(right)} are right, in {out}", file=sys.stderr)


def _read(task, path: str) -> dict:
  try:
    content = pathlib.Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
  except (OSError, ValueError) as error:  # ValueError: a name that no file can have
    raise UserError(f"--data = {path!r}: can't be read ({error})") from None
  try:
    return task.from_text(_text(number, line) for number, line in enumerate(content.split(b"\n"), 1))
  except UserError as error:
    raise UserError(f"{path}: {error}") from None


def _text(number: int, line: bytes) -> str:
  try:
    return line.decode()
  except UnicodeDecodeError as error:
    raise UserError(f"line {number}: is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x})") from None
