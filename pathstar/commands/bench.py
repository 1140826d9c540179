"""Measures speed: of one config against what this device can do, or of several mixers, objectives, packs and lengths in turn."""

import pathlib
from collections.abc import Sequence

from pathstar.commands import cli
from pathstar.devices.mesh import cores_as_devices
from pathstar.errors import UserError, require
from pathstar.grid import product
from pathstar.pricing import bench, compare
from pathstar.reports.csv_files import begin
from pathstar.storage import workdir


def main(argv: Sequence[str]) -> int:
  """`pathstar bench`."""
  parser = cli.Parser("bench", description=bench.__doc__.splitlines()[0])
  parser.add_argument("--repeats", type=int, default=8, help="timed dispatches")
  parser.add_argument("--json", help="file to write the figures to as well")
  parser.add_argument("--mixers", help="compare the training step of these instead, in turn: attention,s5_gated,mamba")
  parser.add_argument("--objectives", help="compare the training step of these instead, in turn: next_token,multi_token,belief_state")
  parser.add_argument("--packs", help="compare the training step of packs of so many runs instead, in turn: 1,8,32")
  parser.add_argument("--lengths", help="with --mixers: on random tokens of these lengths: 32,128,512,2048")
  parser.add_argument("--out", help="with --mixers, --objectives or --packs: folder to write tables and a figure to as well")
  if any(word.startswith("--packs") for word in argv):
    cores_as_devices()
  args, loaded = cli.parse(parser, argv)
  require(args.repeats >= 1, "--repeats", args.repeats, "an integer >= 1")
  if args.json:
    workdir.require_writable(pathlib.Path(args.json), "--json")
  if args.mixers or args.objectives or args.packs:
    return _compare(loaded, args)
  if args.lengths or args.out:
    raise UserError(f"--{'lengths' if args.lengths else 'out'}: must come with --mixers, --objectives or --packs")
  figures = bench.measure(loaded.resolve(), args.repeats)
  for name, value in figures.items():
    print(f"{name:32} {value:,.4g}" if isinstance(value, float) else f"{name:32} {value}")
  if args.json:
    workdir.write_json(pathlib.Path(args.json), figures)
  return 0


def _compare(loaded, args) -> int:
  """`--mixers`, `--objectives` and `--packs`: see compare.py."""
  if args.json:
    raise UserError(f"--json = {args.json!r}: is of one config alone; with --mixers, --objectives or --packs give --out")
  if args.lengths and args.objectives:
    raise UserError("--lengths: random tokens are for next_token alone; must be left out with --objectives")
  objective = loaded.config.objective.name
  require(not args.lengths or objective == "next_token", "objective.name", objective, "next_token with --lengths, whose tokens are random")
  compared = {"model.mixer": args.mixers, "objective.name": args.objectives, "seed": True, "train.steps_per_call": args.lengths}
  for name, said in compared.items():
    if said and name in loaded.given:
      raise UserError(f"--config.{name}: must be left out; what is compared says it")
  each = lambda name, words: [{name: word} for word in words.split(",")] if words else [{}]
  ways = product(each("model.mixer", args.mixers), each("objective.name", args.objectives))
  lengths, packs = _numbers("--lengths", args.lengths or ""), _numbers("--packs", args.packs or "1")
  if args.out:
    begin(pathlib.Path(args.out), of_runs=False)
  rows = []
  measured = (rows.append(row) or row for row in compare.compare(loaded.config, ways, lengths, args.repeats, packs, loaded.given))
  for line in compare.markdown(measured):
    print(line, flush=True)
  if args.out:
    compare.write(pathlib.Path(args.out), rows)
  return 0


def _numbers(name: str, text: str) -> list[int]:
  words = text.split(",") if text else []
  for n in words:
    require(n.isdigit() and int(n) >= 1, name, text, "integers >= 1 with commas between")
  return [*map(int, words)]
