"""Claim 8: none of it is due to the architecture: each that fails with next-token targets solves the reversed path.

    pathstar sweep --config=configs/claims/architectures.py:scale=cpu --workdir=runs/architectures
    pathstar sweep --config=configs/claims/architectures.py:scale=paper --workdir=runs/architectures_paper

The other half, next-token prediction on the same graphs, is in failure.py. Expected: `exact_match` near 1 for all
three. cpu: 9 runs, about 15 minutes on two cores. paper: one GPU.
"""

from pathstar import scales
from pathstar.sweep import chain, product


def get_config(arg: str = ""):
  config = scales.base(scales.arguments(arg).scale)
  config.objective.order = "reversed"
  return config


def sweep(arg: str = ""):
  args = scales.arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "paper":  # the transformer is in targets.py
    graphs = scales.topologies([(2, 5), (5, 5)], scales.PAPER_NODES)
    return product(graphs, scales.architectures("paper", "s5_gated", "mamba"), seeds)
  cells = lambda mixer, steps: product(scales.architectures("cpu", mixer), {"train.num_steps": [steps]})
  mixers = chain(cells("attention", 1000), cells("mamba", 2000), cells("s5_gated", 6000))
  return product(scales.topologies([(2, 5)], [10]), mixers, seeds)
