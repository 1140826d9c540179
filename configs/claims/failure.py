"""Claims 1, 2, 3 and 8: next-token prediction fails at 1/degree, by the Clever Hans cheat, whatever the architecture.

    pathstar sweep --config=configs/claims/failure.py:scale=cpu --workdir=runs/failure
    pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/failure_paper

Expected: `exact_match` on test and on train within noise of 1/degree, `cheat_accuracy` >= 0.98, `legal_mass` near 1
and `branch_entropy` within 3 % of log(degree). cpu: a transformer on G(2|3|5, 4|5), and Mamba and gated S5 on G(2,5),
24 runs, about 55 minutes on two cores. paper: three architectures on five topologies, one GPU.
"""

from pathstar import scales
from pathstar.sweep import chain, product


def get_config(arg: str = ""):
  return scales.base(scales.arguments(arg).scale)


def sweep(arg: str = ""):
  args = scales.arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "paper":
    graphs = scales.topologies(scales.PAPER_TOPOLOGIES, scales.PAPER_NODES)
    return product(graphs, scales.architectures("paper", "attention", "s5_gated", "mamba"), seeds)
  steps = lambda number: {"train.num_steps": [number]}
  g25 = scales.topologies([(2, 5)], [10])
  return chain(
      product(scales.topologies([(2, 4), (2, 5)], [10]), steps(2000), seeds),
      product(scales.topologies([(3, 4), (3, 5)], [16]), steps(3000), seeds),
      product(scales.topologies([(5, 4), (5, 5)], [24]), steps(5000), seeds),
      product(g25, scales.architectures("cpu", "mamba"), steps(2000), seeds),
      product(g25, scales.architectures("cpu", "s5_gated"), steps(8000), seeds),
  )
