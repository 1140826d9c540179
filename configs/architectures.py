"""Claim 8: none of it is due to the architecture. Each fails with next-token targets and solves the reversed path.

    pathstar sweep --config=configs/architectures.py:scale=cpu --workdir=runs/architectures
    pathstar sweep --config=configs/architectures.py:scale=paper --workdir=runs/architectures_paper

A transformer, Mamba, gated S5, and at CPU scale plain S5, forward and reversed. `s5` is the paper's layer, which is time-invariant;
`s5_gated` is the same recurrence between short convolutions and products. Expected: `exact_match` near 1/degree forward and near 1
reversed for all but `s5`, which can't look edges up. `mixers=mamba+s5_gated` chooses among them. cpu: G(2,5), 24 runs, about 30
minutes on two cores. paper: 26 hours on an H200 (by `pathstar plan --compile=none`, at 15 % of its peak; Mamba, at a
quarter of that, longer).
"""

from pathstar import presets
from pathstar.errors import choose
from pathstar.grid import product, zipped


def _arguments(arg: str):
  return presets.arguments(arg, num_seeds=3, mixers="")


def get_config(arg: str = ""):
  return presets.base(_arguments(arg).scale)


def sweep(arg: str = ""):
  args = _arguments(arg)
  known = presets.ARCHITECTURES[args.scale]
  mixers = args.mixers.split("+") if args.mixers else list(known)
  for mixer in mixers:
    choose("file argument mixers", mixer, known)
  if args.scale == "cpu":
    graphs = presets.topologies([(2, 5)], [10])
  else:
    graphs = presets.topologies([(2, 5), (5, 5)], presets.PAPER_NODES)
  orders = zipped({"objective.name": ["next_token", "next_token"], "objective.order": ["forward", "reversed"]})
  return product(graphs, presets.architectures(args.scale, *mixers), orders, {"seed": range(args.num_seeds)})
