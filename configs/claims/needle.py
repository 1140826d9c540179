"""Claim 11: all or nothing. Learned from the branch token alone, the first move takes longer with every node.

    pathstar sweep --config=configs/claims/needle.py:scale=cpu --workdir=runs/needle
    pathstar sweep --config=configs/claims/needle.py:scale=paper --workdir=runs/needle_paper

Expected: the step at which `branch_accuracy` crosses 95 % grows steeply with the length; runs that never do are
censored at their budget. cpu: 16 runs, about 12 minutes on two cores. paper: 3.7 hours on an H200 (by `pathstar
plan --compile=none`, at 15 % of its peak).
"""

from pathstar import presets
from pathstar.grid import product


def get_config(arg: str = ""):
  scale = presets.arguments(arg).scale
  config = presets.base(scale)
  config.objective.name = "branch_only"
  config.data.update(num_train=None)  # endless, so that nothing is learned by heart
  if scale == "cpu":
    config.train.update(num_steps=3000)
  return config


def sweep(arg: str = ""):
  args = presets.arguments(arg)
  # The number of node ids is the same for all lengths.
  lengths, nodes = ((3, 4, 5, 7, 10), 50) if args.scale == "paper" else ((3, 4, 5, 6), 12)
  return product(presets.topologies([(2, length) for length in lengths], [nodes]), {"seed": range(args.num_seeds)})
