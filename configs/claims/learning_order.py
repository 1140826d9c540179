"""Claim 7: without teacher forcing, and on the reversed path, later tokens are learned before earlier ones.

    pathstar sweep --config=configs/claims/learning_order.py:scale=cpu --workdir=runs/learning_order
    pathstar sweep --config=configs/claims/learning_order.py:scale=paper --workdir=runs/learning_order_paper

Expected: among positions 1 .. length - 1 of the path, the step at which `position_k/accuracy` crosses 95 % falls with
k; evaluations are dense for that. cpu: 8 runs, about 7 minutes on two cores. paper: 3.9 hours on an H200 (by
`pathstar plan --compile=none`, at 15 % of its peak).
"""

from pathstar import presets
from pathstar.grid import product


def get_config(arg: str = ""):
  config = presets.base(presets.arguments(arg).scale)
  config.eval.update(every=200 if presets.arguments(arg).scale == "paper" else 25, num_examples=500)
  config.train.update(log_every=config.eval.every)
  return config


def sweep(arg: str = ""):
  args = presets.arguments(arg)
  methods = [{"objective.order": "reversed"}, {"objective.name": "teacherless"}]
  if args.scale == "paper":
    graphs = presets.topologies([(2, 5), (5, 5)], [50])
  else:
    graphs = presets.topologies([(2, 4)], [12])
    methods = [methods[0] | {"train.num_steps": 1000}, methods[1] | {"train.num_steps": 2500}]
  return product(methods, graphs, {"seed": range(args.num_seeds)})
