"""Claim 10: the same model and loss solve the task once the target shows the work: search or lookahead.

    pathstar sweep --config=configs/claims/chain_of_thought.py:scale=cpu --workdir=runs/chain_of_thought
    pathstar sweep --config=configs/claims/chain_of_thought.py:scale=paper --workdir=runs/chain_of_thought_paper

Expected: `exact_match` of the decoded answer near 1 for both kinds of trace. cpu: G(2,5), 8 runs, about 8 minutes on
two cores. paper: 12 hours on an H200 (by `pathstar plan --compile=none`, at 15 % of its peak).
"""

from pathstar import presets
from pathstar.grid import product


def get_config(arg: str = ""):
  scale = presets.arguments(arg).scale
  config = presets.plain_stack(scale)
  config.eval.update(decode_every=10_000 if scale == "paper" else 250)
  if scale == "paper":
    config.train.update(num_steps=80_000)
  return config


def sweep(arg: str = ""):
  args = presets.arguments(arg)
  seeds, kinds = {"seed": range(args.num_seeds)}, {"task.target": ["lookahead", "search"]}
  if args.scale == "paper":
    return product(kinds, presets.topologies([(2, 5), (5, 5), (10, 5)], [50]), seeds)
  return product(kinds, presets.topologies([(2, 5)], [11]), {"train.num_steps": [1000]}, seeds)
