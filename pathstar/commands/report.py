"""Tables, figures and verdicts of finished runs; draws a report or a benchmark again from its CSV files."""

import pathlib
from collections.abc import Sequence

from pathstar.commands import cli
from pathstar.errors import UserError, require
from pathstar.pricing import compare
from pathstar.reports import kept, report, scoreboard, summary
from pathstar.reports.collect import MAX_POINTS, Collected, collect
from pathstar.reports.csv_files import is_of_runs, read_report
from pathstar.storage import workdir


def main(argv: Sequence[str]) -> int:
  """`pathstar report`."""
  parser = cli.Parser("report", description="Tables and figures of finished runs.")
  parser.add_argument("--workdir", action="append", default=[], help="folder of a sweep, of a run, or of a report "
                      "(which may be --out itself, to be added to), or several (--workdir=A --workdir=B); without it, redraw --out from "
                      "its CSV files")
  parser.add_argument("--out", help="folder to write to (default: WORKDIR/report); alone: a report or benchmark to draw again")
  cli.add_only(parser)
  parser.add_argument("--all", action="store_true", help="every point of the curves, not about 200 of each")
  parser.add_argument("--panels", type=int, default=report.PANELS, help=f"settings that figures show (default: {report.PANELS})")
  parser.add_argument("--quiet", action="store_true", help="say where the report is, and nothing of what is in it")
  parser.add_argument("--scoreboard", help="folder of reports, results/: write its README, a section a claim, and print their table")
  args = parser.parse_args(argv)
  require(args.panels >= 1, "--panels", args.panels, "an integer >= 1")
  if args.scoreboard and (args.workdir or args.out):
    raise UserError(f"--scoreboard = {args.scoreboard!r}: must be alone; it is made of the reports in that folder")
  if (args.only or args.all) and not args.workdir:
    raise UserError(f"--{'only' if args.only else 'all'}: needs --workdir; what is drawn again is all that the CSV files have")
  if args.scoreboard:
    root = pathlib.Path(args.scoreboard)
    page, reports = f"{root.as_posix()}/README.md", scoreboard.read(root)
    scoreboard.write(root, reports)
    print(f"{scoreboard.overview(reports, page)}\nscoreboard: {page}")
    return 0
  if not (args.workdir or args.out):
    raise UserError("report: give --workdir, --out, both, or --scoreboard")
  if not args.out and len(args.workdir) > 1:
    raise UserError("report: of several --workdir needs --out")
  for folder in map(pathlib.Path, args.workdir):
    if kept.is_report(folder) and not args.out:
      raise UserError(f"workdir = {str(folder)!r}: is a report; give --out, which may be the same, to add to it")
    if kept.is_report(folder) and args.only and folder.resolve() == pathlib.Path(args.out).resolve():
      raise UserError(f"--only {' '.join(args.only)}: would drop the other runs of --out = {args.out!r}, which is a --workdir too")
  out = pathlib.Path(args.out or pathlib.Path(args.workdir[0]) / "report")
  name = out.as_posix()
  if args.workdir:
    folders = [_local(folder) for folder in args.workdir]
    found = collect(folders, None if args.all else MAX_POINTS, args.only)
    _refuse_to_lose(out, found)
    report.write(out, name, found.runs, found.curves, report.provenance(folders), args.panels, found.configs)
  elif not (out / "runs.csv").exists():
    raise UserError(f"out = {args.out!r}: holds no runs.csv to draw from; give --workdir")
  elif is_of_runs(out):
    report.draw(out, name, args.panels)
  else:  # of `pathstar bench`
    compare.redraw(out)
  if args.quiet:
    pass
  elif is_of_runs(out):
    print("\n".join(summary.lines(read_report(out, "runs"))))
  else:
    print((out / "table.md").read_text())
  print(f"report: {out}/README.md")
  return 0


def _refuse_to_lose(out: pathlib.Path, found: Collected) -> None:
  """Raises UserError if the report that is there has runs that are not among these, and whose own folders are gone."""
  if not ((out / "runs.csv").exists() and is_of_runs(out)):
    return
  there = lambda row: (pathlib.Path(row.get("source", "")) / row.get("folder", "") / workdir.RESULT).exists()
  known = {row["run_id"] for row in found.runs}
  if lost := [row["run_id"] for row in read_report(out, "runs") if row["run_id"] not in known and not there(row)]:
    raise UserError(f"--out = {str(out)!r}: has {len(lost)} runs that are not among these, and whose folders are gone ({lost[0]}); "
                    f"--workdir={out} beside the others keeps them, else choose another --out")


def _local(name: str) -> pathlib.Path:
  if workdir.is_remote(name):
    raise UserError(f"workdir = {name!r}: is remote; fetch it to a local folder first (launch/tpu_pod.sh fetches what it ran)")
  folder = pathlib.Path(name)
  if not folder.is_dir():
    raise UserError(f"workdir = {name!r}: no such folder")
  return folder
