"""Sweeps: a config's cells planned into packs, frozen in the sweep's folder, and run.

Cells that differ in values alone (config.VALUE_FIELDS) train together as one program; nobody writes packs by hand. A sweep's folder
holds sweep.json (the plan), runs/<run_id>/, and packs/<pack_id>/ with checkpoints/, and after a crash error.txt and split.json. The
same command again skips what is finished, resumes what is not and retries what failed.

A sweep of more than 200 runs puts them in groups, runs/<group>/<run_id>/, each with its own table of hyperparameters: TensorBoard
turns sluggish at that number, so point it at one group, `tensorboard --logdir=D/runs/<group>`. The group is the topology, and
where one topology has more than 200 runs the architecture and then the method too.

A run's id names every field in which runs of its architecture, method and topology differ, so that curves are found by name.
"""

import argparse
import collections
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from pathstar import cli, config, tensorboard, workdir
from pathstar.errors import UserError, require
from pathstar.grid import Cell, chain, product, subsample, zipped  # noqa: F401  (what config files import from here)

PLAN, SPLIT, ERROR = "sweep.json", "split.json", "error.txt"
_GROUP_SIZE = 200  # runs that TensorBoard shows at ease
_SLURM = pathlib.Path(__file__).parent.parent / "launch" / "slurm.sh"


@dataclasses.dataclass(frozen=True)
class Run:
  """One cell, validated. Its folder is runs/<path>: its id, below its group in a large sweep."""

  run_id: str
  config: config.Config
  path: str


@dataclasses.dataclass(frozen=True)
class Pack:
  """Runs that train as one program."""

  pack_id: str
  runs: tuple[Run, ...]


def pack(runs: Sequence[Run]) -> Pack:
  """The pack of these runs, named after the first."""
  return Pack(f"{runs[0].run_id}-x{len(runs)}", tuple(runs))


def part(runs: Sequence[Run]) -> Pack:
  """A pack of what is left of a larger one: its mesh shares out no more runs than there are."""
  fewer = lambda mesh: re.sub(r"\brun=(\d+)", lambda match: f"run={math.gcd(int(match[1]), len(runs))}", mesh)
  return pack([dataclasses.replace(run, config=dataclasses.replace(run.config, mesh=fewer(run.config.mesh))) for run in runs])


def run_id(run: config.Config, told_by: Sequence[str] = ()) -> str:
  """Deterministic, readable name: architecture, method, topology, fields `told_by`, seed, and eight digits of the config's hash."""
  fields = {name: value for name, value in run.fields.items() if name not in config.FREE_FIELDS}
  digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
  told = [re.sub(r"[^\w.=+-]", "_", f"{name.split('.')[-1]}={fields[name]}") for name in told_by]
  return "-".join([_kind(run), *told, f"s{run.seed}", digest])


def _kind(run: config.Config) -> str:
  return f"{run.architecture}-{run.method}-{run.task.slug}"


def _varied(runs: Sequence[config.Config]) -> list[str]:
  """The fields, but for the seed, in which runs of one kind differ."""
  names = (name for name in runs[0].fields if name != "seed" and name not in config.FREE_FIELDS)
  return sorted(name for name in names if any(run.fields[name] != runs[0].fields[name] for run in runs))


def work(run: config.Config) -> int:
  """How much a run has to compute, roughly and up to a factor: to order packs and to share out time."""
  fields = run.model.fields
  tokens = run.train.num_steps * run.train.batch_size * (run.task.prefix_length + run.task.target_length)
  return tokens * fields.num_layers * fields.num_loops * fields.width**2


def plan(base: ConfigDict, cells: Sequence[Cell], max_pack: int | None = None) -> list[Pack]:
  """Validates every cell and groups them into packs of at most `max_pack` runs, the largest pack first.

  Raises:
    UserError: every impossible cell, listed at once.
  """
  require(max_pack is None or max_pack >= 1, "max_pack", max_pack, "an integer >= 1")
  resolved, errors = {}, []
  for number, cell in enumerate(cells):
    try:
      one = config.resolve(config.override(base, cell))
      if run_id(one) in resolved:
        raise UserError("the same config as an earlier cell")
      resolved[run_id(one)] = one
    except UserError as error:
      errors.append(f"cell {number} {cell}: {error}")
  if errors:
    raise UserError(f"{len(errors)} of {len(cells)} cells are impossible:\n  " + "\n  ".join(errors))
  shapes: dict[str, list[Run]] = {}
  for run in _placed(list(resolved.values())):
    shape = {k: v for k, v in run.config.fields.items() if k not in config.VALUE_FIELDS}
    shapes.setdefault(json.dumps(shape, sort_keys=True), []).append(run)
  packs = []
  for runs in shapes.values():
    # As even as can be, so that packs of one shape are one program and compile once.
    number = -(-len(runs) // (max_pack or len(runs)))
    bounds = [len(runs) * i // number for i in range(number + 1)]
    packs += [pack(runs[a:b]) for a, b in zip(bounds, bounds[1:])]
  return sorted(packs, key=lambda p: -sum(work(run.config) for run in p.runs))


def _placed(runs: Sequence[config.Config]) -> list[Run]:
  """The runs with their ids, and with their places: one folder, or the coarsest groups of at most 200 runs."""
  kinds = collections.defaultdict(list)
  for run in runs:
    kinds[_kind(run)].append(run)
  varied = {kind: _varied(members) for kind, members in kinds.items()}
  names = [run_id(run, varied[_kind(run)]) for run in runs]
  for depth in range(4):
    groups = ["-".join((run.task.slug, run.architecture, run.method)[:depth]) for run in runs]
    if max(collections.Counter(groups).values(), default=0) <= _GROUP_SIZE:
      break
  return [Run(name, run, f"{group}/{name}".lstrip("/")) for name, run, group in zip(names, runs, groups)]


def prepare(folder: pathlib.Path, packs: Sequence[Pack]) -> None:
  """Writes the frozen plan and TensorBoard's tables of hyperparameters, or checks that the folder holds this very plan."""
  listed = {pack.pack_id: [run.path for run in pack.runs] for pack in packs}
  with workdir.lock(workdir.make(folder), wait=True):  # several processes may start at once
    file = folder / PLAN
    if file.exists():
      held = json.loads(file.read_text())["packs"]
      if held != listed:
        same_runs = sorted(sum(held.values(), [])) == sorted(sum(listed.values(), []))
        raise UserError(f"workdir = {str(folder)!r}: holds " + (
            f"this sweep in other packs (of at most {max(map(len, held.values()))} runs); give the same --max_pack" if same_runs else
            "another sweep (its runs differ from this command's); choose another workdir"))
      return
    # A start that died right here left its events and groups.
    foreign = [p.name for p in folder.iterdir() if not p.name.startswith((".", "events.out.")) and p.name not in ("logs", "runs")]
    if foreign:
      raise UserError(f"workdir = {str(folder)!r}: not empty and not a sweep's folder (it holds {sorted(foreign)[0]!r})")
    runs = [run for pack in packs for run in pack.runs]
    # Before the first run starts: TensorBoard never shows a hyperparameter that it has not seen here.
    for group in {"", *(os.path.dirname(run.path) for run in runs)}:
      fields = [run.config.fields for run in runs if group in ("", os.path.dirname(run.path))]
      place = workdir.make(folder / "runs" / group) if group else folder
      local = workdir.staging(place)
      events = tensorboard.Events(local)
      events.hparams_domains({name: [f[name] for f in fields] for name in fields[0]})
      events.close()
      workdir.publish(local, place)
    works = {pack.pack_id: work(pack.runs[0].config) for pack in packs}
    workdir.write_json(file, {"packs": listed, "work": works, **workdir.environment()})


def split_of(folder: pathlib.Path, pack_id: str) -> dict[str, list[str]]:
  """The packs that a pack was split into after it crashed, as in sweep.json; empty if it is whole."""
  file = folder / "packs" / pack_id / SPLIT
  return json.loads(file.read_text()) if file.exists() else {}


def pack_of(folder: pathlib.Path, packs: Mapping[str, list[str]], path: str) -> tuple[str, list[str]] | None:
  """(pack_id, paths of its runs) of the pack that the run at `path` trains in, splits followed; None if it is in none."""
  for pack_id, paths in packs.items():
    if path in paths:
      return pack_of(folder, split_of(folder, pack_id), path) or (pack_id, paths)
  return None


def shard(packs: Sequence[Pack], spec: str) -> list[Pack]:
  """`i/n`: every n-th pack of the plan, from the i-th on; i counts from 0. Raises UserError."""
  match = re.fullmatch(r"(\d+)/(\d+)", spec)
  require(match is not None and int(match[1]) < int(match[2]), "shard", spec, "i/n with 0 <= i < n, as in 0/4")
  return list(packs[int(match[1])::int(match[2])])


def finished(folder: pathlib.Path, run: Run) -> bool:
  return (folder / "runs" / run.path / workdir.RESULT).exists()


def all_finished(folder: pathlib.Path, pack: Pack) -> bool:
  return all(finished(folder, run) for run in pack.runs)


def main(argv: Sequence[str]) -> int:
  """`pathstar sweep`."""
  if "--status" in argv:  # needs no config
    from pathstar import status

    return status.main(argv)
  parser = argparse.ArgumentParser("pathstar sweep", description="Runs all cells of a config's sweep; the same command again "
                                   "skips what is finished, resumes what is not and retries what failed.")
  parser.add_argument("--dry_run", action="store_true", help="print the plan and stop")
  parser.add_argument("--status", action="store_true", help="how far the sweep in --workdir is, as a table; needs no --config")
  parser.add_argument("--max_pack", type=int, help="at most this many runs in one program")
  parser.add_argument("--shard", metavar="i/n", help="run every n-th pack alone, from the i-th on (from 0)")
  parser.add_argument("--backend", choices=("local", "slurm"), default="local",
                      help="here, or as a SLURM array job through launch/slurm.sh")
  parser.add_argument("--slurm", metavar="OPTIONS", default="", help="options of launch/slurm.sh, as in "
                      "--slurm='--shards=4 --sbatch=\"--gpus=1 --time=12:00:00\"'")
  args, base, module, arg = cli.parse(parser, argv, workdir="folder of the sweep")
  if not hasattr(module, "sweep"):
    raise UserError(f"--config = {args.config!r}: has no function sweep(arg='')")
  packs = plan(base, module.sweep(arg), args.max_pack)
  mine = shard(packs, args.shard) if args.shard else packs
  folder = workdir.path(args.workdir)
  if args.backend == "slurm":
    if not _SLURM.exists():
      raise UserError("--backend = 'slurm': needs a checkout of the repository, whose launch/slurm.sh it calls")
    if args.shard:
      raise UserError("--shard: is for --backend=local; with slurm the shards are --slurm=\"--shards=4\"")
    options = [f"--config={os.path.abspath(args.config)}", f"--workdir={workdir.absolute(args.workdir)}", *shlex.split(args.slurm),
               *([f"--max_pack={args.max_pack}"] if args.max_pack else []), *(["--dry_run"] if args.dry_run else []),
               *(word for word in argv if word.startswith(("--config.", "--mesh=")))]
    os.execvp("bash", ["bash", str(_SLURM), *options])
  if args.dry_run:
    for one in mine:
      state = "finished" if all_finished(folder, one) else "to do"
      print(f"{one.pack_id}: {state}\n  " + "\n  ".join(run.path for run in one.runs))
    return 0
  from pathstar import execute, hosts  # imports training, slow and not needed above

  execute.check_meshes([one for one in mine if not all_finished(folder, one)])
  with hosts.together():
    if hosts.is_first():
      prepare(folder, packs)
  return execute.main(folder, mine)


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
