"""Says what a config costs on hardware that is not here: the price of its sweep."""

import pathlib
from collections.abc import Sequence

from pathstar.commands import cli
from pathstar.errors import UserError, choose, require
from pathstar.pricing import price
from pathstar.pricing.topology import Topology, compile_only
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.sweeps.packs import plan


def main(argv: Sequence[str]) -> int:
  """`pathstar plan`. Exit status 1: a pack does not fit."""
  parser = cli.Parser("plan", description="What a config costs on hardware that is not here.")
  parser.add_argument("--topology", help="hardware, as in v5e:16x16 or h200:8; without it, only what can be counted")
  parser.add_argument("--mesh", help="mesh of every pack, as in run=5,data=4 (default: the config's)")
  parser.add_argument("--max_pack", type=int, help="at most this many runs in one program, as for `pathstar sweep`")
  parser.add_argument("--find", action="store_true",
                      help="the soonest of one job on everything, one on each chip, and the equal jobs that the model proposes")
  parser.add_argument("--profile", action="store_true", help="what the time of the slowest pack goes into, with its place in the code")
  parser.add_argument("--compile", default="ends", help="ends (default; smallest and largest of each kind), all, none")
  parser.add_argument("--utilisation", type=float, help="share of the peak to assume where nothing is compiled (default: the chip's)")
  cli.add_only(parser)
  parser.add_argument("--json", help="file to write the plan to as well")
  args, loaded = cli.parse(parser, argv)
  require(args.utilisation is None or 0 < args.utilisation <= 1, "--utilisation", args.utilisation, "above 0 and at most 1")
  choose("--compile", args.compile, ("ends", "all", "none"))
  whole = Topology(args.topology) if args.topology else None
  for name in ("mesh", "utilisation"):
    if getattr(args, name) is not None and whole is None:
      raise UserError(f"--{name}: needs --topology")
  if args.json:
    workdir.require_writable(pathlib.Path(args.json), "--json")
  if args.find and (whole is None or "mesh" in loaded.given):
    raise UserError("--find: needs --topology, and chooses the mesh itself")
  if args.profile and (args.compile == "none" or whole is None):
    raise UserError("--profile: needs --topology= and --compile=ends or all")
  compile_only()
  cells = loaded.sweep() if callable(getattr(loaded.module, "sweep", None)) else [{}]
  packs = plan(loaded.config, cells, args.max_pack, loaded.given, args.only)
  meshes = dict.fromkeys(run.config.mesh for pack in packs for run in pack.runs)
  if len(meshes) > 1 and whole and not (args.mesh or args.find):
    raise UserError(f"mesh = {', '.join(meshes)}: a plan is of one; give --mesh, or a part of the grid")
  works = price.count_work(packs, whole.chip.platform if whole else "tpu")
  if whole is None:
    found, total, notes = price.rows(works, None, {}), None, ["for hours and memory, give --topology=v5e:4x4 or another"]
  else:
    mesh = None if args.find else works[0].config.mesh  # that of --mesh, if it is given
    found, total, notes = price.on_hardware(works, whole, mesh, args.compile, args.utilisation, args.profile)
  print(price.markdown(found))
  print(f"{len(packs)} packs of {sum(len(p.runs) for p in packs)} runs, {sum(w.total_flops for w in works):.3g} FLOPs")
  print("\n".join(notes))
  if args.json:
    workdir.write_json(pathlib.Path(args.json), {"topology": args.topology, **environment(), "total": total, "packs": found})
  return 1 if any(row["fits"] is False for row in found) else 0
