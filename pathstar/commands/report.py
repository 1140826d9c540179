"""Tables, figures and verdicts of finished runs; draws a report or a benchmark again from its CSV files."""

import argparse
import pathlib
from collections.abc import Sequence

from pathstar.errors import UserError
from pathstar.pricing import compare
from pathstar.reports import report, scoreboard
from pathstar.reports.collect import collect
from pathstar.storage import workdir


def main(argv: Sequence[str]) -> int:
  """`pathstar report`."""
  parser = argparse.ArgumentParser("pathstar report", description="Tables and figures of finished runs.")
  parser.add_argument("--workdir", help="folder of a sweep or of a run; without it, redraw --out from its CSV files")
  parser.add_argument("--out", help="folder to write to (default: WORKDIR/report); alone: a report or benchmark to draw again")
  parser.add_argument("--scoreboard", help="folder of reports, results/: write its README, one line a claim of the paper")
  args = parser.parse_args(argv)
  if args.scoreboard:
    scoreboard.write(pathlib.Path(args.scoreboard))
    print(f"scoreboard: {args.scoreboard}/README.md")
    return 0
  if not (args.workdir or args.out):
    raise UserError("report: give --workdir, --out, both, or --scoreboard")
  out = pathlib.Path(args.out or pathlib.Path(args.workdir) / "report")
  name = out.as_posix() if args.out else pathlib.Path(args.workdir).name
  if args.workdir:
    if workdir.is_remote(args.workdir):
      raise UserError(f"workdir = {args.workdir!r}: is remote; fetch it to a local folder first (launch/tpu_pod.sh fetches what it ran)")
    folder = pathlib.Path(args.workdir)
    if not folder.is_dir():
      raise UserError(f"workdir = {args.workdir!r}: no such folder")
    report.write(out, name, *collect(folder), report.provenance(folder))
  elif (out / "curves.csv").exists():
    report.draw(out, name)
  elif (out / "runs.csv").exists():  # of `pathstar bench`
    compare.redraw(out)
  else:
    raise UserError(f"out = {args.out!r}: holds no runs.csv to draw from; give --workdir")
  print((out / "table.md").read_text())
  print(f"report: {out}/README.md")
  return 0
