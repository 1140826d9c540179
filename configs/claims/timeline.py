"""Claim 4: the cheat is learned, and then the branch token has no supervision left that could teach it.

    pathstar sweep --config=configs/claims/timeline.py:scale=cpu --workdir=runs/timeline
    pathstar sweep --config=configs/claims/timeline.py:scale=paper --workdir=runs/timeline_paper

Expected: `position_k/accuracy` for k >= 2 and `cheat_accuracy` rise together within a few hundred steps;
`branch_accuracy` reaches 1/degree as they do and stays there. cpu: 8 runs, about 10 minutes on two cores. paper: 29
minutes on an H200 (by `pathstar plan --compile=none`, at 15 % of its peak).
"""

from pathstar import presets
from pathstar.grid import product


def get_config(arg: str = ""):
  config = presets.plain_stack(presets.arguments(arg).scale)
  config.eval.update(every=100 if presets.arguments(arg).scale == "paper" else 25, num_examples=500)
  config.train.update(log_every=config.eval.every)
  return config


def sweep(arg: str = ""):
  args = presets.arguments(arg)
  if args.scale == "paper":
    graphs = product(presets.topologies([(2, 5), (5, 5)], [50]), {"train.num_steps": [20_000]})
  else:
    graphs = presets.topologies([(2, 5), (3, 5)], [16])
  return product(graphs, {"seed": range(args.num_seeds)})
