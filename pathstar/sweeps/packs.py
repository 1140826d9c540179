"""A sweep's cells as packs, and the names of runs.

Cells that differ in values alone (`Config.value_fields`) train together as one program; nobody writes packs by hand. A run's id names
every field in which runs of its architecture, method and topology differ, so that curves are found by name.

A sweep of more than 200 runs puts them in groups, runs/<group>/<run_id>/, each with its own table of hyperparameters: TensorBoard
turns sluggish at that number, so point it at one group, `tensorboard --logdir=D/runs/<group>`. The group is the topology, and
where one topology has more than 200 runs the architecture and then the method too.
"""

import collections
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from pathstar import config
from pathstar.errors import UserError, listed, require, shown
from pathstar.grid import Cell

_GROUP_SIZE = 200  # runs that TensorBoard shows at ease
_NAME_BYTES = 215  # of a run's name before its seed: a file system allows 255, and a pack's name is a little longer


@dataclasses.dataclass(frozen=True)
class PlannedRun:
  """One cell, validated. Its folder is runs/<path>: its id, below its group in a large sweep."""

  run_id: str
  config: config.Config
  path: str
  everything: Mapping[str, object] = dataclasses.field(default_factory=dict, compare=False, repr=False)  # fields, in use or not
  grows: bool = dataclasses.field(default=True, compare=False, repr=False)  # no other cell is this one with another number of steps


@dataclasses.dataclass(frozen=True)
class Pack:
  """Runs that train as one program.

  Attributes:
    parent: the pack that it was split from, from whose checkpoint it goes on.
    whole: paths of all its runs, if a command asks for some of them alone.
  """

  pack_id: str
  runs: tuple[PlannedRun, ...]
  parent: "Pack | None" = dataclasses.field(default=None, compare=False, repr=False)
  whole: tuple[str, ...] = dataclasses.field(default=(), compare=False, repr=False)

  @property
  def paths(self) -> tuple[str, ...]:
    """Of all its runs, in the order of its state."""
    return self.whole or tuple(run.path for run in self.runs)


def pack(runs: Sequence[PlannedRun]) -> Pack:
  """The pack of these runs, named after the first."""
  return Pack(f"{runs[0].run_id}-x{len(runs)}", tuple(runs))


def part(runs: Sequence[PlannedRun], parent: Pack, pack_id: str | None = None, whole: Sequence[str] = ()) -> Pack:
  """A pack of some runs of a larger one: its mesh shares out no more runs than there are."""
  fewer = lambda mesh: re.sub(r"\brun=(\d+)", lambda match: f"run={math.gcd(int(match[1]), len(runs))}", mesh)
  fitting = [dataclasses.replace(run, config=dataclasses.replace(run.config, mesh=fewer(run.config.mesh))) for run in runs]
  made = pack(fitting)
  return dataclasses.replace(made, pack_id=pack_id or made.pack_id, parent=parent, whole=tuple(whole))


def run_id(run: config.Config, told_by: Sequence[str] = ()) -> str:
  """Deterministic, readable name: architecture, method, topology, fields `told_by`, seed, and eight digits of the config's hash."""
  return name_of(run, run.identity, told_by)


def name_of(run: config.Config, fields: Mapping[str, object], told_by: Sequence[str]) -> str:
  """The id of a run that is told from others by `fields` alone."""
  digest = hashlib.sha256(json.dumps(dict(fields), sort_keys=True).encode()).hexdigest()[:8]
  last = collections.Counter(name.rpartition(".")[2] for name in told_by)
  label = lambda name: name if last[name.rpartition(".")[2]] > 1 else name.rpartition(".")[2]
  shown = lambda value: "+".join(map(str, value)) if isinstance(value, tuple) else value
  told = "-".join([kind_of(run), *(_clean(f"{label(name)}={shown(fields[name])}") for name in told_by)])
  return f"{_cut(told)}-s{run.seed}-{digest}"


def kind_of(run: config.Config) -> str:
  return _clean(f"{run.architecture}-{run.method}-{run.task.slug}")


def _clean(words: str) -> str:
  """What may stand in the name of a folder."""
  return re.sub(r"[^\w.=+-]", "_", words)


def _cut(name: str) -> str:
  """As much of a name as a folder's may have; what tells runs apart is the hash behind it."""
  return name.encode()[:_NAME_BYTES].decode(errors="ignore")


def work(run: config.Config) -> int:
  """How much a run has to compute, roughly and up to a factor: to order packs and to share out time."""
  fields = run.model.fields
  tokens = run.train.num_steps * run.train.batch_size * (run.task.prefix_length + run.task.target_length)
  return tokens * fields.num_layers * fields.num_loops * fields.width**2


def plan(base: ConfigDict, cells: Sequence[Cell], max_pack: int | None = None, given: Iterable[str] = (),
         only: Sequence[str] = ()) -> list[Pack]:
  """Validates every cell and groups them into packs of at most `max_pack` runs, the largest pack first.

  Args:
    base: what the cells start from.
    cells: dotted overrides; an empty one is the base itself.
    max_pack: at most this many runs in a pack.
    given: fields of the base that the command line sets: they win over the cells, and each must be used by one.
    only: `FIELD=VALUE,...`: the part of the cells that is planned.

  Raises:
    UserError: every impossible cell, listed at once; or a given field that no cell uses, or that makes cells equal.
  """
  require(max_pack is None or max_pack >= 1, "max_pack", max_pack, "an integer >= 1")
  cells = list(cells) if isinstance(cells, Iterator) else cells
  require(isinstance(cells, list | tuple) and all(isinstance(cell, Mapping) for cell in cells), "sweep()", cells,
          "a list of cells, {field: value}, as product({field: [values]}) gives it")
  if not cells:
    raise UserError("sweep() = []: the sweep has no cells; a list of values in its grid is empty")
  resolved, everything, errors = {}, {}, []
  won = {name: number for name in sorted(given) if (number := sum(name in cell for cell in cells))}
  for number, cell in enumerate(cells):
    try:
      cell = {name: value for name, value in cell.items() if name not in won}
      one = config.resolve(config.override(base, cell), given=cell)
      if run_id(one) in resolved:
        raise UserError("the same config as an earlier cell" + "".join(
            f"; --config.{name} wins over the {times} cells that set it, and may be what makes them equal" for name, times in won.items()))
      resolved[run_id(one)] = one
      everything[run_id(one)] = config.flatten(base.to_dict()) | {name: config.cast_field(name, value) for name, value in cell.items()}
    except UserError as error:
      errors.append(f"cell {number} {shown(dict(cell))}: {error}")
  if errors:
    raise UserError(f"{len(errors)} of {len(cells)} cells are impossible:\n  {listed(errors)}")
  config.check_used(base, given, resolved.values())
  runs = config.selected(_placed(list(resolved.values())), only, lambda run: run.config.fields)
  but_steps = lambda one: tuple(str(value) for name, value in one.identity.items() if name != "train.num_steps")
  alike = collections.Counter(map(but_steps, resolved.values()))
  return packed([dataclasses.replace(run, everything=everything[run_id(run.config)], grows=alike[but_steps(run.config)] == 1)
                 for run in runs], max_pack)


def packed(runs: Sequence[PlannedRun], max_pack: int | None) -> list[Pack]:
  """The runs in packs of one shape each, the largest pack first."""
  shapes: dict[str, list[PlannedRun]] = {}
  for run in runs:
    shape = {k: v for k, v in run.config.fields.items() if k not in run.config.value_fields} | {"": run.config.measured}
    shapes.setdefault(json.dumps(shape, sort_keys=True), []).append(run)
  packs = []
  for runs in shapes.values():
    packs += [pack(some) for some in lots(runs, max_pack or len(runs))]
  return sorted(packs, key=lambda p: -sum(work(run.config) for run in p.runs))


def lots(members: Sequence, size: int) -> list[Sequence]:
  """Parts of at most `size`, as even as can be, so that packs of one shape are one program and compile once."""
  number = -(-len(members) // size)
  bounds = [len(members) * i // number for i in range(number + 1)]
  return [members[a:b] for a, b in zip(bounds, bounds[1:])]


def _placed(runs: Sequence[config.Config]) -> list[PlannedRun]:
  """The runs with their ids, and with their places: one folder, or the coarsest groups of at most 200 runs."""
  kinds = collections.defaultdict(list)
  for run in runs:
    kinds[kind_of(run)].append(run.fields)
  told = {kind: config.varied(members) for kind, members in kinds.items()}
  names = [run_id(run, told[kind_of(run)]) for run in runs]
  return [PlannedRun(name, run, f"{group}/{name}".lstrip("/")) for name, run, group in zip(names, runs, groups_of(runs))]


def groups_of(runs: Sequence[config.Config]) -> list[str]:
  """The group of each run; "" for all where one folder is enough."""
  for depth in range(4):
    groups = [_cut(_clean("-".join((run.task.slug, run.architecture, run.method)[:depth]))) for run in runs]
    if max(collections.Counter(groups).values(), default=0) <= _GROUP_SIZE:
      break
  return groups


def shard(packs: Sequence[Pack], spec: str) -> list[Pack]:
  """`i/n`: every n-th pack of the plan, from the i-th on; i counts from 0. Raises UserError."""
  match = re.fullmatch(r"(\d+)/(\d+)", spec)
  require(match is not None and int(match[1]) < int(match[2]), "shard", spec, "i/n with 0 <= i < n, as in 0/4")
  return list(packs[int(match[1])::int(match[2])])
