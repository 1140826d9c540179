"""Runs all cells of a config's grid, or says how far that is."""

import argparse
import os
import pathlib
import shlex
from collections.abc import Sequence

import pathstar
from pathstar.commands import cli
from pathstar.config import Loaded, flatten, varied
from pathstar.devices import hosts
from pathstar.errors import UserError
from pathstar.pricing import total
from pathstar.reports import summary
from pathstar.reports.collect import collect
from pathstar.reports.csv_files import as_read
from pathstar.storage import workdir
from pathstar.sweeps import status as sweep_status
from pathstar.sweeps.execute import check_meshes, execute, foreseen
from pathstar.sweeps.folder import PLAN, Reconciled, all_finished, finished, prepare, reconcile
from pathstar.sweeps.packs import Pack, plan, shard
from pathstar.sweeps.redo import check as check_redo
from pathstar.sweeps.redo import redo
from pathstar.tasks.files import FILE_FIELDS
from pathstar.training import tensorboard

_MAX_VALUES = 12  # of a field that --dry_run shows
_SLURM = pathlib.Path(pathstar.__file__).parent.parent / "launch" / "slurm.sh"


def main(argv: Sequence[str]) -> int:
  """`pathstar sweep`."""
  if "--status" in argv:  # needs no config
    return _status(argv)
  parser = cli.Parser("sweep", description="Runs all cells of a config's sweep; the same command again "
                                   "skips what is finished, resumes what is not and retries what failed.")
  parser.add_argument("--dry_run", action="store_true", help="print the plan and stop")
  parser.add_argument("--status", action="store_true", help="how far the sweep in --workdir is, as a table; needs no --config")
  parser.add_argument("--max_pack", type=int, help="at most this many runs in one program; a pack that was planned larger "
                      "is split if it has not saved yet")
  cli.add_only(parser)
  parser.add_argument("--redo", metavar="RUN", action="append", default=[], help="train this run again from the start, by itself, and "
                      "keep what is left of it aside; may be given several times")
  parser.add_argument("--shard", metavar="i/n", help="run every n-th pack alone, from the i-th on (from 0)")
  parser.add_argument("--backend", choices=("local", "slurm"), default="local",
                      help="here, or as a SLURM array job through launch/slurm.sh")
  parser.add_argument("--slurm", metavar="OPTIONS", default="", help="options of launch/slurm.sh, as in "
                      "--slurm='--shards=4 --sbatch=\"--gpus=1 --time=12:00:00\"'")
  args, loaded = cli.parse(parser, argv, workdir="folder of the sweep")
  if args.slurm and args.backend != "slurm":
    raise UserError(f"--slurm = {args.slurm!r}: needs --backend=slurm")
  if args.redo and (args.dry_run or args.backend == "slurm"):
    raise UserError(f"--redo = {args.redo[0]!r}: must be without --dry_run and --backend=slurm; it trains here and now")
  folder = workdir.reach(args.workdir)
  cells = loaded.sweep()
  planned = lambda only: plan(loaded.config, cells, args.max_pack, loaded.given, only)
  asked, grid = planned(args.only), lambda: planned([]) if args.only else ()
  found = reconcile(folder, asked, grid)
  share = lambda packs: shard(packs, args.shard) if args.shard else packs
  if args.backend == "slurm":
    _submit(args, loaded, argv)
  if args.dry_run:
    return _print(folder, [leaf for one in share(found.packs) for leaf in foreseen(folder, one, args.max_pack)], found)
  check_redo(found.packs, args.redo)
  here = {name for one in share(found.packs) for run in one.runs for name in (run.run_id, run.path)}
  if elsewhere := [name for name in args.redo if name not in here]:
    raise UserError(f"--redo = {elsewhere[0]!r}: is not in --shard = {args.shard!r}; give it to the share that has its pack")
  hosts.devices()
  check_meshes([one for one in share(found.packs) if not all_finished(folder, one)])
  with hosts.together():
    if hosts.is_first():
      packs = prepare(folder, asked, grid)
      redo(folder, packs, args.redo)
  if found.raised:
    print(f"{len(found.raised)} runs go on, from {_steps(found)} steps")
  if found.added and len(found.added) < len(found.packs):
    print(f"{sum(len(one.runs) for one in found.added)} of {sum(len(one.runs) for one in found.packs)} runs are new in {folder}")
  packs = share(reconcile(folder, asked).packs)  # as the folder has them by now
  status = execute(folder, packs, args.max_pack)
  if hosts.is_first() and not workdir.is_remote(args.workdir):
    _say(folder, packs)
  return status


def _say(folder: pathlib.Path, packs: Sequence[Pack]) -> None:
  """What came of it, and where to look."""
  done = [folder / "runs" / run.path for one in packs for run in one.runs if finished(folder, run)]
  where = shlex.quote(str(folder))
  more = [f"table and figures: {cli.program('pathstar')} report --workdir={where}",
          f"curves: {cli.program('tensorboard')} --logdir {where}",
          f"and open {tensorboard.address(run.config.method for one in packs for run in one.runs)}"]
  try:
    print("\n".join(["", *summary.lines(as_read(collect(done)[0]), more)]))
  except UserError:  # nothing finished, or nothing that can be read, which is said
    print("\n".join(["", *more]))


def _steps(found: Reconciled) -> str:
  return " and ".join(map(str, sorted(set(found.raised.values()))))


def _print(folder: pathlib.Path, packs: Sequence[Pack], found: Reconciled) -> int:
  for one in packs:
    state = "finished" if all_finished(folder, one) else "to do"
    if one.runs[0].path in found.raised:
      state += f", on from {found.raised[one.runs[0].path]} steps"
    elif one in found.added and (folder / PLAN).exists() and state == "to do":
      state += ", new"
    print(f"{one.pack_id}: {state}\n  " + "\n  ".join(run.path for run in one.runs))
  runs = [run for one in packs for run in one.runs]
  done = sum(finished(folder, run) for run in runs)
  new = sum(len(one.runs) for one in packs if one in found.added)
  longer = sum(run.path in found.raised for run in runs)
  print(f"\n{len(runs)} runs in {len(packs)} packs: {done} finished, {len(runs) - done} to do"
        + (f", {new} of them new in {folder}" if new and (folder / PLAN).exists() else "")
        + (f", {longer} of them from {_steps(found)} steps on" if longer else ""))
  for name in ["seed", *varied([run.config.fields for run in runs])]:
    values = list(dict.fromkeys(str(run.config.fields[name]) for run in runs if name in run.config.fields))
    if len(values) == 1 and name != "seed":  # one mixer or objective has it, and the others do not
      continue
    print(f"  {name}: {', '.join(values[:_MAX_VALUES])}" + f", ... ({len(values)} in all)" * (len(values) > _MAX_VALUES))
  steps = lambda run: run.config.train.num_steps - (found.raised[run.path] if run.path in found.raised else 0)
  amount, exact = total.of_runs((run.config, steps(run)) for run in runs if not finished(folder, run))
  print(f"  FLOPs to do: {'' if exact else 'about '}{amount:.3g} (memory and hours: pathstar plan with the same --config)")
  return 0


def _submit(args: argparse.Namespace, loaded: Loaded, argv: Sequence[str]) -> None:
  """Becomes launch/slurm.sh with the same options."""
  if not _SLURM.exists():
    raise UserError("--backend = 'slurm': needs a checkout of the repository, whose launch/slurm.sh it calls")
  if args.distributed:
    raise UserError("--distributed: is for --backend=local; launch/slurm.sh says it where a job has several processes")
  if args.shard:
    raise UserError("--shard: is for --backend=local; with slurm the shards are --slurm=\"--shards=4\"")
  config = os.path.abspath(loaded.module.__file__) + (f":{loaded.arg}" if loaded.arg else "")
  options = [f"--config={config}", f"--workdir={workdir.absolute(args.workdir)}", *shlex.split(args.slurm),
             *([f"--max_pack={args.max_pack}"] if args.max_pack else []), *(f"--only={word}" for word in args.only),
             *(["--dry_run"] if args.dry_run else []), *([f"--mesh={args.mesh}"] if args.mesh else []),
             *(_from_anywhere(word, loaded) for word in argv if word.startswith("--config."))]
  os.execvp("bash", ["bash", str(_SLURM), *options])


def _from_anywhere(word: str, loaded: Loaded) -> str:
  """An override; where it names a file, as one that a job in another folder finds."""
  name = word.removeprefix("--config.").partition("=")[0]
  file = flatten(loaded.config)[name] if name in FILE_FIELDS else None
  return f"--config.{name}={workdir.absolute(file)}" if file is not None else word


def _status(argv: Sequence[str]) -> int:
  """`pathstar sweep --status`."""
  parser = cli.Parser("sweep --status", description="How far a sweep is.")
  parser.add_argument("--status", action="store_true", required=True)
  parser.add_argument("--workdir", required=True, action="append", default=[],
                      help="folder of the sweep, or several (--workdir=A --workdir=B)")
  cli.add_only(parser)
  args, ignored = parser.parse_known_args(argv)
  if wrong := [word for word in ignored if not word.startswith("--config")]:
    raise UserError(f"--status takes --workdir and --only alone, not {' '.join(wrong)}")
  places = [name if workdir.is_remote(name) else str(pathlib.Path(name).resolve()) for name in args.workdir]
  if twice := [name for number, name in enumerate(args.workdir) if places[number] in places[:number]]:
    raise UserError(f"--workdir = {twice[0]!r}: is given twice")
  print(sweep_status.show([workdir.reach(name) for name in args.workdir], args.only))
  return 0
