"""Claim 9: the failure is of learning, not of inference: errors do not snowball, no verifier or backtracker helps.

    pathstar sweep --config=configs/claims/inference.py:scale=cpu --workdir=runs/inference
    pathstar sweep --config=configs/claims/inference.py:scale=paper --workdir=runs/inference_paper

Expected: `exact_match` is 1/degree whatever the length, which `snowball_prediction` misses; `verifier/best_of_k` and
`verifier/backtrack_k` are no higher than their `_blind` counterparts, 1 - (1 - q/d)^k and q min(1, k/d). cpu: 20
runs, about 15 minutes on two cores. paper: 8.6 hours on an H200 (by `pathstar plan --compile=none`, at 15 %
of its peak).
"""

from pathstar import presets
from pathstar.grid import product


def get_config(arg: str = ""):
  scale = presets.arguments(arg).scale
  config = presets.plain_stack(scale)
  config.eval.update(num_samples=8)
  if scale == "cpu":
    config.eval.update(every=500)
  return config


def sweep(arg: str = ""):
  args = presets.arguments(arg)
  if args.scale == "paper":
    graphs = presets.topologies([(2, 5), (5, 5), (10, 5), (2, 10), (2, 20)], [50])
  else:
    graphs = presets.topologies([(2, 4), (2, 5), (2, 6), (2, 8), (3, 5)], [18])
  return product(graphs, {"seed": range(args.num_seeds)})
