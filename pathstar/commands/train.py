"""Trains one run; the same command again resumes it."""

from collections.abc import Sequence

from pathstar.commands import cli
from pathstar.devices import compiled
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.sweeps.folder import sweep_of
from pathstar.training.train import train


def main(argv: Sequence[str]) -> int:
  """`pathstar train`."""
  parser = cli.Parser("train", description="Trains one run; the same command again resumes it.")
  args, loaded = cli.parse(parser, argv, workdir="folder of the run")
  compiled.keep()
  folder, config = workdir.reach(args.workdir), loaded.resolve()
  if found := sweep_of(folder if workdir.is_remote(folder) else folder.resolve()):  # its checkpoints are its pack's, not here
    raise UserError(f"workdir = {args.workdir!r}: is a run of the sweep in {found[0]}; go on with pathstar sweep --workdir={found[0]}, or "
                    "choose another workdir")
  for result in train([config], [folder], folder / "checkpoints"):
    scores = (("exact match on test", "eval/test/exact_match"), ("on train", "eval/train/exact_match"),
              ("follows a wrong arm", "eval/test/cheat_accuracy"))
    print(f"{folder}: {result['status']} at step {result['steps']}"
          + "".join(f"  {name} {result[tag]:.3f}" + f" (chance {config.task.chance:.3g})" * (number == 0)
                    for number, (name, tag) in enumerate(scores) if tag in result))
  return 0
