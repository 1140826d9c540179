"""Grids of runs: an algebra of dotted overrides, cells grouped into packs, and their execution.

A config file's sweep is plain Python:

    def sweep(arg=""):
      return product({"task.degree": [2, 5], "seed": range(5)},
                     zipped({"objective.name": ["next_token", "teacherless"], "train.num_steps": [1000, 4000]}))

Cells that differ in values alone (config.VALUE_FIELDS) train together as one program; nobody writes packs by hand. A sweep's folder
holds sweep.json, runs/<run_id>/ and packs/<pack_id>/checkpoints/. The same command again skips what is finished.
"""

import argparse
import dataclasses
import hashlib
import itertools
import json
import pathlib
import random
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence

from ml_collections import ConfigDict

from pathstar import cli, config, tensorboard, workdir
from pathstar.errors import UserError

Cell = dict[str, object]  # dotted field -> value


def product(*parts: Mapping[str, Iterable] | Iterable[Cell]) -> list[Cell]:
  """Every combination. A mapping of lists stands for all combinations of their values."""
  lists = [[{name: value} for value in values] for part in parts if isinstance(part, Mapping) for name, values in part.items()]
  lists += [list(part) for part in parts if not isinstance(part, Mapping)]
  return [dict(itertools.chain.from_iterable(cell.items() for cell in cells)) for cells in itertools.product(*lists)]


def zipped(columns: Mapping[str, Sequence]) -> list[Cell]:
  """Lists of equal length taken side by side."""
  lengths = {name: len(values) for name, values in columns.items()}
  if len(set(lengths.values())) > 1:
    raise UserError(f"zipped: lists must be equally long, they are {lengths}")
  return [dict(zip(columns, row)) for row in zip(*columns.values())]


def chain(*parts: Iterable[Cell]) -> list[Cell]:
  """One list of cells after the other."""
  return list(itertools.chain(*parts))


def subsample(cells: Sequence[Cell], number: int, seed: int = 0) -> list[Cell]:
  """`number` cells at random, in their order."""
  keep = set(random.Random(seed).sample(range(len(cells)), min(number, len(cells))))
  return [cell for i, cell in enumerate(cells) if i in keep]


@dataclasses.dataclass(frozen=True)
class Run:
  """One cell, validated."""

  run_id: str
  config: config.Config


@dataclasses.dataclass(frozen=True)
class Pack:
  """Runs that train as one program."""

  pack_id: str
  runs: tuple[Run, ...]


def run_id(run: config.Config) -> str:
  """Deterministic, readable name: architecture, method, topology, seed, and four digits of the config's hash."""
  fields = {name: value for name, value in run.fields.items() if name not in config.FREE_FIELDS}
  digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:4]
  return f"{run.architecture}-{run.method}-{run.task.slug}-s{run.seed}-{digest}"


def plan(base: ConfigDict, cells: Sequence[Cell], max_pack: int | None = None) -> list[Pack]:
  """Validates every cell and groups them into packs of at most `max_pack` runs.

  Raises:
    UserError: every impossible cell, listed at once.
  """
  runs, errors = {}, []
  for number, cell in enumerate(cells):
    try:
      resolved = config.resolve(config.override(base, cell))
      if run_id(resolved) in runs:
        raise UserError("the same config as an earlier cell")
      runs[run_id(resolved)] = resolved
    except UserError as error:
      errors.append(f"cell {number} {cell}: {error}")
  if errors:
    raise UserError(f"{len(errors)} of {len(cells)} cells are impossible:\n  " + "\n  ".join(errors))
  groups: dict[str, list[Run]] = {}
  for name, resolved in runs.items():
    shape = {k: v for k, v in resolved.fields.items() if k not in config.VALUE_FIELDS}
    groups.setdefault(json.dumps(shape, sort_keys=True), []).append(Run(name, resolved))
  packs = []
  for group in groups.values():
    size = max_pack or len(group)
    for first in range(0, len(group), size):
      members = tuple(group[first:first + size])
      packs.append(Pack(f"{members[0].run_id}-x{len(members)}", members))
  return packs


def finished(folder: pathlib.Path, pack: Pack) -> bool:
  return all((folder / "runs" / run.run_id / workdir.RESULT).exists() for run in pack.runs)


def prepare(folder: pathlib.Path, packs: Sequence[Pack]) -> None:
  """Writes the frozen plan and TensorBoard's table of hyperparameters, or checks that the folder holds this very plan."""
  listed = {pack.pack_id: [run.run_id for run in pack.runs] for pack in packs}
  file = workdir.make(folder) / "sweep.json"
  if file.exists():
    if json.loads(file.read_text())["packs"] != listed:
      raise UserError(f"workdir = {str(folder)!r}: holds another sweep (its packs differ from this command's); choose another workdir")
    return
  # A start that died right here left its events.
  foreign = [p.name for p in folder.iterdir() if not p.name.startswith((".", "events.out."))]
  if foreign:
    raise UserError(f"workdir = {str(folder)!r}: not empty and not a sweep's folder (it holds {sorted(foreign)[0]!r})")
  # Before the first run starts: TensorBoard never shows a hyperparameter that it has not seen here.
  fields = [run.config.fields for pack in packs for run in pack.runs]
  events = tensorboard.Events(folder)
  events.hparams_domains({name: [f[name] for f in fields] for name in fields[0]})
  events.close()
  workdir.write_json(file, {"packs": listed, **workdir.environment()})


def run_packs(folder: pathlib.Path, packs: Sequence[Pack]) -> list[str]:
  """Runs what is not finished; returns the ids of packs that crashed, whose traceback stands in packs/<id>/error.txt."""
  from pathstar import train  # the slow import, not needed for a dry run

  crashed = []
  for number, pack in enumerate(packs, 1):
    if finished(folder, pack):
      print(f"[{number}/{len(packs)}] {pack.pack_id}: finished before", flush=True)
      continue
    print(f"[{number}/{len(packs)}] {pack.pack_id}", flush=True)
    pack_folder = workdir.make(folder / "packs" / pack.pack_id)
    try:
      train.train([run.config for run in pack.runs], [folder / "runs" / run.run_id for run in pack.runs],
                  pack_folder / "checkpoints")
    except (train.Stopped, KeyboardInterrupt):
      raise
    except Exception as error:
      crashed.append(pack.pack_id)
      workdir.write_text(pack_folder / "error.txt", traceback.format_exc())
      print(f"{pack.pack_id}: crashed ({type(error).__name__}: {error}); traceback in {pack_folder / 'error.txt'}",
            file=sys.stderr, flush=True)
  return crashed


def main(argv: Sequence[str]) -> int:
  """`pathstar sweep`."""
  parser = argparse.ArgumentParser("pathstar sweep", description="Runs all cells of a config's sweep; the same command again "
                                   "skips what is finished and resumes what is not.")
  parser.add_argument("--dry_run", action="store_true", help="print the plan and stop")
  parser.add_argument("--max_pack", type=int, help="at most this many runs in one program")
  args, base, module, arg = cli.parse(parser, argv, workdir="folder of the sweep")
  if not hasattr(module, "sweep"):
    raise UserError(f"--config = {args.config!r}: has no function sweep(arg='')")
  packs = plan(base, module.sweep(arg), args.max_pack)
  folder = pathlib.Path(args.workdir)
  if args.dry_run:
    for pack in packs:
      print(f"{pack.pack_id}: {'finished' if finished(folder, pack) else 'to do'}\n  " + "\n  ".join(r.run_id for r in pack.runs))
    return 0
  prepare(folder, packs)
  crashed = run_packs(folder, packs)
  print(f"{len(packs) - len(crashed)} of {len(packs)} packs finished in {folder}" + (f"; crashed: {', '.join(crashed)}" if crashed else ""))
  return 1 if crashed else 0


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
