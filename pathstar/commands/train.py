"""Trains one run; the same command again resumes it."""

import argparse
from collections.abc import Sequence

from pathstar.commands import cli
from pathstar.storage import workdir
from pathstar.training.train import train


def main(argv: Sequence[str]) -> int:
  """`pathstar train`."""
  parser = argparse.ArgumentParser("pathstar train", description="Trains one run; the same command again resumes it.")
  args, loaded = cli.parse(parser, argv, workdir="folder of the run")
  folder = workdir.path(args.workdir)
  for result in train([loaded.resolve()], [folder], folder / "checkpoints"):
    scores = (("exact match on test", "eval/test/exact_match"), ("on train", "eval/train/exact_match"))
    print(f"{folder}: {result['status']} at step {result['steps']}"
          + "".join(f"  {name} {result[tag]:.3f}" for name, tag in scores if tag in result))
  return 0
