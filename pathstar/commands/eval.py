"""Evaluates a run's newest checkpoint, on examples of the test split or of a file in the authors' format."""

import csv
import functools
import json
import math
import os
import sys
from collections.abc import Sequence

import jax

from pathstar import evals, run
from pathstar.commands import cli
from pathstar.errors import UserError
from pathstar.tasks import files
from pathstar.training import data


def main(argv: Sequence[str]) -> int:
  """`pathstar eval`."""
  parser = cli.Parser("eval", description="Evaluates a checkpoint.")
  parser.add_argument("--workdir", required=True, help="folder of the run")
  parser.add_argument("--data", help="examples in the authors' format, one a line (default: those of the test split that training scores)")
  parser.add_argument("--out", help="file to write to, as CSV, each question of --data, the model's answer, the right one, and whether "
                      "it is right or wrong; must not exist")
  parser.add_argument("--no_decode", action="store_true", help="leave out what decodes token by token")
  args = parser.parse_args(argv)
  if args.out and args.data is None:
    raise UserError("--out: says what becomes of each line of --data, which is not given")
  if args.out and os.path.exists(args.out):
    raise UserError(f"--out = {args.out!r}: can't be written (File exists)")
  loaded = run.load(args.workdir)
  batch = data.eval_examples(loaded.config, "test") if args.data is None else files.read(loaded.task, args.data, "--data")
  means = jax.jit(functools.partial(evals.of_logits, loaded.config))(loaded.params, batch)
  if not args.no_decode:
    means = evals.together(means, jax.jit(functools.partial(evals.of_tokens, loaded.config))(loaded.params, batch)[0])
  scores = {name: float(mean) for name, mean in means.items() if math.isfinite(mean)}
  result = {"step": loaded.step, "examples": len(batch["target"]), **scores}
  if loaded.diverged_at is not None:
    result["diverged_at"] = loaded.diverged_at
    print(f"warning: {args.workdir} diverged at step {loaded.diverged_at}; these are scores of the parameters that it was left with",
          file=sys.stderr)
  print(json.dumps(result, indent=2))
  if args.out:
    _write(loaded, batch, args.out)
  return 0


def _write(loaded: run.Run, batch: dict, out: str) -> None:
  """One row an example."""
  lines = loaded.task.to_text(batch)
  told = [_parts(line) for line in loaded.predict(lines)]
  rows = [(*_parts(line), answer) for line, (_, answer) in zip(lines, told, strict=True)]
  try:
    with open(out, "x", newline="") as file:
      table = csv.writer(file, lineterminator="\n")
      table.writerow(("question", "answer", "right_answer", "verdict"))
      table.writerows((question, answer, right, "right" if answer == right else "wrong") for question, right, answer in rows)
  except OSError as error:
    raise UserError(f"--out = {out!r}: can't be written ({error.strerror})") from None
  print(f"{sum(answer == right for _, right, answer in rows)} of {len(rows)} are right, in {out}", file=sys.stderr)


def _parts(line: str) -> tuple[str, str]:
  """A line as its question, up to and with `=`, and the answer."""
  question, equals, answer = line.partition("=")  # the answer may have one too: it is a token of sums
  return question + equals, answer
