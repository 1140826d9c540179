"""What a run or a sweep costs on hardware that is not here: arithmetic, memory, collectives, hours and chip-hours.

Without `--topology` only what can be counted. With it (v5e:16x16, h200:8, ...) and with the compiler's package, a real compile of the
training step for those devices, of the smallest and the largest pack of each mixer and objective: memory, collectives, and time, on TPUs by
the compiler's own clock (clock.py), on GPUs by what the program moves (traffic.py). What lies between the two is interpolated over the
arithmetic and marked `~`. Where nothing is compiled time is that of the model in cost.py.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence

from pathstar.devices.mesh import make_mesh
from pathstar.errors import UserError
from pathstar.pricing import instructions
from pathstar.pricing.cost import Layout, Work, layout, layouts, mesh_shape
from pathstar.pricing.topology import Compiled, Topology, compile_for, devices, missing
from pathstar.pricing.total import shape_of
from pathstar.reports.rows import by
from pathstar.sweeps.packs import Pack
from pathstar.training import flops
from pathstar.training.program import parameter_counts

_GIB = 2**30
_ROOT = pathlib.Path(__file__).parents[2]  # what places in the code are told from


def count_work(packs: Sequence[Pack], platform: str) -> list[Work]:
  """Counts every pack; the one of most arithmetic comes first."""
  found, counted = [], {}
  for number, pack in enumerate(packs, 1):
    first = pack.runs[0].config
    key = shape_of(first)
    if key not in counted:
      print(f"\rcounting {number}/{len(packs)}", end="", file=sys.stderr, flush=True)
      counted[key] = *parameter_counts(first).values(), flops.of_step(first, platform)
    found.append(Work(pack, *counted[key]))
  print(file=sys.stderr)
  return sorted(found, key=lambda w: -w.total_flops)


def compile_packs(works: Sequence[Work], chosen: Layout, everything: bool, give_up: bool) -> dict[str, Compiled]:
  """Pack id -> what the compiler says, of the ends of each kind or of everything; `give_up` at the first too large.

  Below a largest of its kind that does not fit, the next ones are compiled until one does: only what fits has a time.
  """
  kinds: dict[tuple, list[Work]] = {}
  for work in works:  # most arithmetic first
    kinds.setdefault(work.kind, []).append(work)
  for group in kinds.values():
    group.sort(key=lambda work: -work.step_flops)
  if everything:
    wanted = list(works)
  else:
    wanted = [group[0] for group in kinds.values()] + [group[-1] for group in kinds.values() if len(group) > 1]
  available, found = devices(chosen.part), {}
  while wanted:
    work = wanted.pop(0)
    name = work.pack.pack_id
    print(f"compiling {len(found) + 1}/{len(found) + 1 + len(wanted)} for {chosen.part.name}: {name}", end="", file=sys.stderr, flush=True)
    configs = [dataclasses.replace(run.config, mesh=chosen.spec) for run in work.pack.runs]
    mesh = make_mesh(chosen.spec, len(configs), work.config.train.batch_size, available)
    result = found[name] = compile_for(configs, mesh, chosen.part.chip)
    step = f"{1e3 * result.step_seconds:.3g} ms a step, " if result.step_seconds else ""
    print(f": {step}{_memory(result.peak_bytes, result.memory_bytes)} GiB, compiled in {result.seconds:.0f} s", file=sys.stderr)
    if give_up and not result.fits:
      break
    smaller = kinds[work.kind][kinds[work.kind].index(work) + 1:]
    if not result.fits and smaller and smaller[0] not in wanted and smaller[0].pack.pack_id not in found:
      wanted.insert(0, smaller[0])
  return found


def between(work: Work, works: Sequence[Work], known: Mapping[str, float]) -> float | None:
  """A figure of a pack: the known one, or on the line through the ends of those that are known of its kind; None: none is.

  Against arithmetic, in which attention's quadratic part has a smaller share than in memory: this overstates. If one alone is known, in
  proportion to it.
  """
  if work.pack.pack_id in known:
    return known[work.pack.pack_id]
  found = sorted((w.step_flops, known[w.pack.pack_id]) for w in works if w.kind == work.kind and w.pack.pack_id in known)
  if not found:
    return None
  (low, low_figure), (high, high_figure) = found[0], found[-1]
  if low == high:
    return low_figure * work.step_flops / low
  return low_figure + (work.step_flops - low) / (high - low) * (high_figure - low_figure)


def timed(works: Sequence[Work], chosen: Layout, compiled: Mapping[str, Compiled]) -> Layout:
  """The layout with the compiled program's time in place of the model's, for every pack of which it is known."""
  known = {name: result.step_seconds for name, result in compiled.items() if result.step_seconds}
  steps = [between(work, works, known) for work in works]
  hours = tuple(model if step is None else step * work.config.train.num_steps / 3600
                for work, step, model in zip(works, steps, chosen.pack_hours, strict=True))
  return dataclasses.replace(chosen, pack_hours=hours)


def rows(works: Sequence[Work], chosen: Layout | None, compiled: Mapping[str, Compiled]) -> list[dict]:
  """One row a pack, as in the JSON file, the slowest first; None where nothing is known."""
  found = []
  peaks = {name: result.peak_bytes for name, result in compiled.items()}
  for number, work in enumerate(works):
    result, num_runs = compiled.get(work.pack.pack_id), len(work.pack.runs)
    peak = between(work, works, peaks)
    peak = None if peak is None else int(peak)
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
    hardware = dict.fromkeys(("mesh", "chips", "memory_bytes", "fits", "step_ms", "share_of_peak", "hours", "chip_hours"))
    if chosen is not None:
      memory, hours = chosen.part.chip.memory, chosen.pack_hours[number]
      step = 3600 * hours / work.config.train.num_steps
      fits = result.fits if result else None if peak is None else peak <= memory
      hardware = {
          "mesh": mesh_shape(work, chosen.part, chosen.spec),
          "chips": chosen.part.num_chips,
          "memory_bytes": memory,
          "fits": fits,
          "step_ms": 1e3 * step,
          "share_of_peak": work.flops.matmul * num_runs / chosen.part.num_chips / chosen.part.chip.matmul / step,
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
        "ms a step": row["step_ms"] and f"{about}{row['step_ms']:.3g}",
        "of peak": row["share_of_peak"] and f"{about}{row['share_of_peak']:.0%}",
        "hours": row["hours"] and f"{row['hours']:.3g}",
        "chip-hours": row["chip_hours"] and f"{row['chip_hours']:.3g}",
    }
    if not lines:
      lines += ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    lines.append("| " + " | ".join("" if value is None else str(value) for value in shown.values()) + " |")
  return "\n".join(lines) + "\n"


def _memory(peak: int, memory: int) -> str:
  return f"{peak / _GIB:.2f} of {memory / _GIB:.2f}"


def soonest(works: Sequence[Work], possible: Sequence[Layout], everything: bool) -> tuple[Layout, dict[str, Compiled]]:
  """The layout by which the sweep is done first, and what was compiled for it.

  Three are compiled: one job on all chips, a job on each chip, and the model's first. If none of them fits, the others in its order.
  """
  alone, whole = (next((l for l in possible if l.part.num_chips == n), None)
                  for n in (pick(l.part.num_chips for l in possible) for pick in (min, max)))
  first = list(dict.fromkeys((possible[0], whole, alone)))
  best = None
  for chosen in [*first, *(l for l in possible if l not in first)]:
    if best and not best[0][0] and chosen not in first:
      break
    compiled = compile_packs(works, chosen, everything, give_up=True)
    chosen = timed(works, chosen, compiled)
    large = [row["pack"] for row in rows(works, chosen, compiled) if row["fits"] is False]
    print(f"{chosen}: too large, {large[0]}" if large else chosen, file=sys.stderr)
    if best is None or (bool(large), chosen.hours) < best[0]:
      best = (bool(large), chosen.hours), chosen, compiled
  return best[1:]


def on_hardware(works: Sequence[Work], whole: Topology, mesh: str | None, compile_which: str = "ends", utilisation: float | None = None,
                profiled: bool = False) -> tuple[list[dict], dict, list[str]]:
  """Rows, totals and what to say below them.

  Args:
    mesh: of every pack; None: the soonest is found.
    compile_which: of each kind of packs the `ends`, `all` or `none`.
    utilisation: share of the peak where nothing is compiled; None: the chip's.
    profiled: whether to say what the time of the slowest pack goes into.
  """
  reason = "nothing was compiled (--compile=none)" if compile_which == "none" else missing(whole)
  utilisation = utilisation or whole.chip.utilisation
  possible = layouts(works, whole, utilisation)
  if mesh is None and not possible:
    raise UserError(f"--find: {whole.name} can't be divided so that every pack uses all chips of its job; give --mesh")
  chosen = possible[0] if mesh is None else layout(works, whole, whole, mesh, utilisation)
  others = [] if mesh is None else [l for l in possible if l.hours < chosen.hours]
  if reason:
    compiled = {}
  elif mesh is None:
    chosen, compiled = soonest(works, possible, compile_which == "all")
  else:
    compiled = compile_packs(works, chosen, compile_which == "all", give_up=False)
    chosen = timed(works, chosen, compiled)
  found = rows(works, chosen, compiled)
  notes = [str(chosen), _how(works, chosen, compiled, utilisation)]
  too_large = [row["pack"] for row in found if row["fits"] is False]
  if too_large:
    notes.append(f"{len(too_large)} packs do NOT fit the memory, {too_large[0]} the first; less of it is taken with "
                 "--config.model.remat=true, a smaller --max_pack, or a --mesh with more data or model")
  if others:
    notes.append(f"sooner by the model, if it fits (--find compiles it): {others[0].num_jobs} jobs of {others[0].part.num_chips} chips")
  if reason:
    notes.append(reason)
  if profiled and not reason:
    notes.append(profile(found, compiled, "ns" if whole.chip.platform == "gpu" else "cycles"))
  total = {"jobs": chosen.num_jobs, "topology_of_a_job": chosen.part.name, "mesh": chosen.spec, "hours": chosen.hours,
           "chip_hours": chosen.chip_hours, "flops": sum(w.total_flops for w in works), "utilisation": utilisation}
  return found, total, notes


def _how(works: Sequence[Work], chosen: Layout, compiled: Mapping[str, Compiled], utilisation: float) -> str:
  """Where the hours come from."""
  chip, seconds = chosen.part.chip, 3600 * chosen.chip_hours
  share = sum(w.flops.matmul * len(w.pack.runs) * w.config.train.num_steps for w in works) / chip.matmul / seconds
  if not any(result.step_seconds for result in compiled.values()):
    return f"at {utilisation:.0%} of the chips' peak, which is assumed; for the rest of the model see pathstar/pricing/cost.py"
  source = "what the program moves (pathstar/pricing/traffic" if chip.platform == "gpu" else "the compiler's clock (pathstar/pricing/clock"
  return f"by {source}.py), products at {share:.0%} of the chips' peak; evaluations, input, compiling and start-up come on top"


def profile(found: Sequence[dict], compiled: Mapping[str, Compiled], unit: str, most: int = 20) -> str:
  """Markdown: what the time of the slowest compiled pack goes into; what the same line asks for in every layer is one row."""
  name = next((row["pack"] for row in found if row["pack"] in compiled and compiled[row["pack"]].parts), None)
  if name is None:
    return "no profile: what was compiled does not fit"
  parts = compiled[name].parts
  alike = by(parts, lambda part: (part.result.lstrip("(").partition("{")[0], "/".join(part.operation.split("/")[-3:]), part.place))
  lines = [f"\n{name}: {len(parts)} instructions; the costliest, of one call of the program\n",
           f"| share | {unit} | times | result | operation | place |", "|---|---|---|---|---|---|"]
  for (result, operation, place), group in sorted(alike.items(), key=lambda item: -instructions.cycles(item[1]))[:most]:
    place, took = pathlib.Path(place) if place else "", instructions.cycles(group)
    place = place.relative_to(_ROOT) if place and place.is_relative_to(_ROOT) else place
    lines.append(f"| {took / instructions.cycles(parts):.1%} | {took:,} | {sum(part.times for part in group)} | {result} | "
                 f"{operation} | {place} |")
  return "\n".join(lines)
