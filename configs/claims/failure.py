"""Claims 1, 2 and 3: next-token prediction fails at 1/degree, by the Clever Hans cheat.

    pathstar sweep --config=configs/claims/failure.py:scale=cpu --workdir=runs/failure
    pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/failure_paper

Expected: `exact_match` on test and on train within noise of 1/degree, `cheat_accuracy` >= 0.98, `legal_mass` near 1
and `branch_entropy` within 3 % of log(degree), at length 5; at length 4, where the goal is two lookups from the first move, many runs
learn to plan after the cheat. Other architectures are in ../architectures.py. cpu: a transformer on G(2|3|5, 4|5), 24 runs, about 75
minutes on two cores (--max_pack=2 is soonest). paper: three architectures on five topologies, 42 hours on an H200
(by `pathstar plan`, at 30 % of its peak).
"""

from pathstar import scales
from pathstar.sweep import chain, product


def get_config(arg: str = ""):
  scale = scales.arguments(arg).scale
  config = scales.plain_stack(scale)
  if scale == "cpu":
    # The guess of the first move becomes even sooner in a wider model.
    config.model.width, config.optimizer.learning_rate = 128, 1e-3
  return config


def sweep(arg: str = ""):
  args = scales.arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "paper":
    graphs = scales.topologies(scales.PAPER_TOPOLOGIES, scales.PAPER_NODES)
    return product(graphs, scales.architectures("paper", "attention", "s5_gated", "mamba"), seeds)
  # Few node ids to spare for the same reason. No example of degree 5 is seen twice, as at the other degrees.
  graphs = lambda pairs, nodes, steps, examples=200_000: product(
      scales.topologies(pairs, [nodes]), {"train.num_steps": [steps]}, {"data.num_train": [examples]}, seeds)
  return chain(
      graphs([(2, 4), (3, 4)], 16, 2000),
      graphs([(2, 5)], 9, 1500),
      graphs([(3, 5)], 13, 1500),
      graphs([(5, 4)], 16, 3000, 400_000),
      graphs([(5, 5)], 21, 6000, 400_000),
  )
