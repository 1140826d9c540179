"""What a run or a sweep costs on hardware that is not here: arithmetic, memory, collectives, hours and chip-hours.

Without `--topology` only what can be counted. With it (v5e:16x16, h200:8, ...) time by the model in cost.py and, where
the compiler's package is installed, a real compile of the training step for those devices: of the smallest and the
largest pack of each mixer and objective. Memory between the two is interpolated over the arithmetic and marked `~`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence

from pathstar.devices.mesh import make_mesh
from pathstar.errors import UserError
from pathstar.pricing import flops
from pathstar.pricing.cost import Layout, Work, layout, layouts, mesh_shape
from pathstar.pricing.topology import Compiled, Topology, compile_for, devices, missing
from pathstar.sweeps.packs import Pack
from pathstar.training.program import parameter_counts

_GIB = 2**30


def count_work(packs: Sequence[Pack], platform: str) -> list[Work]:
  """Counts every pack; the one of most arithmetic comes first."""
  found, counted = [], {}
  for number, pack in enumerate(packs, 1):
    first = pack.runs[0].config
    # Orders of the target and seeds do not change what there is to compute.
    same = (*first.value_fields, "objective.order")
    key = tuple((name, value) for name, value in first.fields.items() if name not in same)
    if key not in counted:
      print(f"\rcounting {number}/{len(packs)}", end="", file=sys.stderr, flush=True)
      counted[key] = *parameter_counts(first).values(), flops.of_step(first, platform)
    found.append(Work(pack, *counted[key]))
  print(file=sys.stderr)
  return sorted(found, key=lambda w: -w.total_flops)


def compile_packs(works: Sequence[Work], chosen: Layout, everything: bool, give_up: bool) -> dict[str, Compiled]:
  """Pack id -> what the compiler says, of the ends of each kind or of everything; `give_up` at the first too large."""
  kinds: dict[tuple, list[Work]] = {}
  for work in works:  # most arithmetic first
    kinds.setdefault(work.kind, []).append(work)
  for group in kinds.values():
    group.sort(key=lambda work: work.step_flops)
  ends = [group[-1] for group in kinds.values()] + [group[0] for group in kinds.values() if len(group) > 1]
  wanted, available, found = works if everything else ends, devices(chosen.part), {}
  for number, work in enumerate(wanted, 1):
    name = work.pack.pack_id
    print(f"compiling {number}/{len(wanted)} for {chosen.part.name}: {name}", end="", file=sys.stderr, flush=True)
    configs = [dataclasses.replace(run.config, mesh=chosen.spec) for run in work.pack.runs]
    mesh = make_mesh(chosen.spec, len(configs), work.config.train.batch_size, available)
    found[name] = compile_for(configs, mesh, chosen.part.chip)
    result = found[name]
    print(f": {_memory(result.peak_bytes, result.memory_bytes)} GiB, {result.seconds:.0f} s", file=sys.stderr)
    if give_up and not result.fits:
      break
  return found


def peak_bytes(work: Work, works: Sequence[Work], compiled: Mapping[str, Compiled]) -> int | None:
  """Peak memory of a device: compiled, or between the compiled packs of its kind; None: none of them is.

  In proportion to arithmetic, in which attention's quadratic part has a smaller share than in memory: this overstates.
  """
  if work.pack.pack_id in compiled:
    return compiled[work.pack.pack_id].peak_bytes
  known = sorted((w.step_flops, compiled[w.pack.pack_id].peak_bytes) for w in works if w.kind == work.kind and w.pack.pack_id in compiled)
  if not known:
    return None
  (low, low_bytes), (high, high_bytes) = known[0], known[-1]
  share = (work.step_flops - low) / (high - low) if high > low else 0.0
  return int(low_bytes + share * (high_bytes - low_bytes))


def rows(works: Sequence[Work], chosen: Layout | None, compiled: Mapping[str, Compiled]) -> list[dict]:
  """One row a pack, as in the JSON file, the slowest first; None where nothing is known."""
  found = []
  for number, work in enumerate(works):
    result, num_runs = compiled.get(work.pack.pack_id), len(work.pack.runs)
    peak = peak_bytes(work, works, compiled)
    row = {
        "pack": work.pack.pack_id,
        "runs": num_runs,
        "parameters": work.parameters,
        "parameters_used": work.parameters_used,
        "tokens": work.tokens * work.config.train.num_steps * num_runs,
        "flops_per_step": work.step_flops,
        "flops": work.total_flops,
        "compiled": result is not None,
        "compile_seconds": result and round(result.seconds, 1),
        "peak_bytes": peak,
        "collectives": result and result.collectives,
    }
    hardware = dict.fromkeys(("mesh", "chips", "memory_bytes", "fits", "hours", "chip_hours"))
    if chosen is not None:
      memory, hours = chosen.part.chip.memory, chosen.pack_hours[number]
      hardware = {
          "mesh": mesh_shape(work, chosen.part, chosen.spec),
          "chips": chosen.part.num_chips,
          "memory_bytes": memory,
          "fits": result.fits if result else None if peak is None else peak <= memory,
          "hours": hours,
          "chip_hours": hours * chosen.part.num_chips,
      }
    found.append(row | hardware)
  return sorted(found, key=lambda row: -(row["hours"] or row["flops"]))


def markdown(found: Sequence[dict]) -> str:
  """Markdown of `rows`."""
  lines = []
  for row in found:
    about = "" if row["compiled"] else "~"
    mesh = row["mesh"] and (" ".join(f"{axis}={n}" for axis, n in row["mesh"].items() if n > 1) or "one device")
    crossed = row["collectives"] and ", ".join(f"{number} over {axes}" for axes, number in row["collectives"].items())
    shown = {
        "pack": row["pack"],
        "runs": row["runs"],
        "parameters": f"{row['parameters']:,}",
        "used": f"{row['parameters_used']:,}",
        "tokens": f"{row['tokens']:.3g}",
        "FLOPs a step": f"{row['flops_per_step']:.3g}",
        "FLOPs": f"{row['flops']:.3g}",
        "mesh": mesh,
        "chips": row["chips"],
        "peak of memory, GiB": row["peak_bytes"] and about + _memory(row["peak_bytes"], row["memory_bytes"]),
        "fits": None if row["fits"] is None else about + ("yes" if row["fits"] else "NO"),
        "collectives": "none" if row["collectives"] == {} else crossed,
        "compiled in, s": row["compile_seconds"] and f"{row['compile_seconds']:.0f}",
        "hours": row["hours"] and f"{row['hours']:.3g}",
        "chip-hours": row["chip_hours"] and f"{row['chip_hours']:.3g}",
    }
    if not lines:
      lines += ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    lines.append("| " + " | ".join("" if value is None else str(value) for value in shown.values()) + " |")
  return "\n".join(lines) + "\n"


def _memory(peak: int, memory: int) -> str:
  return f"{peak / _GIB:.2f} of {memory / _GIB:.2f}"


def on_hardware(works: Sequence[Work], whole: Topology, args: argparse.Namespace) -> tuple[list[dict], dict, list[str]]:
  """Rows, totals and what to say below them."""
  reason = "nothing was compiled (--compile=none)" if args.compile == "none" else missing(whole)
  possible = layouts(works, whole, args.utilisation)
  spec = args.mesh or works[0].config.mesh
  if args.find and not possible:
    raise UserError(f"--find: {args.topology} can't be divided so that every pack uses all chips of its job; give --mesh")
  for chosen in possible if args.find else [layout(works, whole, whole, spec, args.utilisation)]:
    compiled = {} if reason else compile_packs(works, chosen, args.compile == "all", give_up=args.find)
    found = rows(works, chosen, compiled)
    too_large = [row["pack"] for row in found if row["fits"] is False]
    if not too_large:
      break
    print(f"{chosen}: too large, {too_large[0]}", file=sys.stderr)
  notes = [str(chosen), f"at {args.utilisation:.0%} of the chips' peak; for the rest of the model see pathstar/pricing/cost.py"]
  if too_large:
    notes.append(f"{len(too_large)} packs do NOT fit the memory, {too_large[0]} the first; less of it is taken with "
                 "--config.model.remat=true, a smaller --max_pack, or a --mesh with more data or model")
  if not args.find and possible and possible[0].hours < chosen.hours:
    notes.append(f"sooner, if it fits (--find compiles it): {possible[0]}")
  if reason:
    notes.append(reason)
  total = {"jobs": chosen.num_jobs, "topology_of_a_job": chosen.part.name, "mesh": chosen.spec, "hours": chosen.hours,
           "chip_hours": chosen.chip_hours, "flops": sum(w.total_flops for w in works)}
  return found, total, notes
