"""Claims 1, 2 and 3: next-token prediction fails at 1/degree, by the Clever Hans cheat.

    pathstar sweep --config=configs/claims/failure.py:scale=cpu --workdir=runs/failure
    pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/failure_paper

Expected: `exact_match` on test and on train within noise of 1/degree, `cheat_accuracy` >= 0.98, `legal_mass` near 1
and `branch_entropy` within 3 % of log(degree). Other architectures are in ../architectures.py. cpu: a transformer on
G(2|3|5, 4|5), 24 runs, about 25 minutes on two cores. paper: three architectures on five topologies, 42 hours on an H200
(by `pathstar plan`, at 30 % of its peak).
"""

from pathstar import scales
from pathstar.sweep import chain, product


def get_config(arg: str = ""):
  return scales.plain_stack(scales.arguments(arg).scale)


def sweep(arg: str = ""):
  args = scales.arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "paper":
    graphs = scales.topologies(scales.PAPER_TOPOLOGIES, scales.PAPER_NODES)
    return product(graphs, scales.architectures("paper", "attention", "s5_gated", "mamba"), seeds)
  # Few node ids to spare: with many, the guess of the first move takes far longer to become even.
  graphs = lambda pairs, nodes, steps: product(scales.topologies(pairs, [nodes]), {"train.num_steps": [steps]}, seeds)
  return chain(
      graphs([(2, 4), (3, 4)], 10, 1500),
      graphs([(2, 5)], 9, 1500),
      graphs([(3, 5)], 13, 1500),
      graphs([(5, 4)], 16, 3000),
      graphs([(5, 5)], 21, 3000),
  )
