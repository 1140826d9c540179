"""Claims 5 and 6: the reversed path and teacherless training solve what next-token prediction does not.

    pathstar sweep --config=configs/claims/targets.py:scale=cpu --workdir=runs/targets
    pathstar sweep --config=configs/claims/targets.py:scale=paper --workdir=runs/targets_paper
    pathstar sweep --config=configs/claims/targets.py:scale=graphs --workdir=runs/targets_graphs --only model.mixer=attention

Expected: reversed has `exact_match` 1. Teacherless fits both train and test, or neither: seeds may be stuck at
1/degree at the end of the budget, and are shown as that. cpu: 32 runs, about 20 minutes on two cores. paper: 40
hours on an H200 (by `pathstar plan --compile=none`, at 15 % of its peak).

graphs: the paper's five graphs and the model of failure.py (results/graphs), in parts into one folder, as

    ... --only model.mixer=attention --only objective.order=reversed --only task.degree=2,5 --only task.length=5
"""

from pathstar import presets
from pathstar.grid import chain, product


def _arguments(arg: str):
  return presets.arguments(arg, scales=presets.SCALES)


def get_config(arg: str = ""):
  return presets.base(_arguments(arg).scale)


def sweep(arg: str = ""):
  args = _arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  backwards, teacherless = [{"objective.order": "reversed"}], [{"objective.name": "teacherless"}]
  if args.scale == "graphs":
    return product(chain(backwards, teacherless), presets.graphs(), seeds)
  if args.scale == "paper":
    graphs = presets.topologies(presets.PAPER_TOPOLOGIES, presets.PAPER_NODES)
    return product(chain(backwards, teacherless), graphs, seeds)
  graphs = lambda pairs, steps: product(presets.topologies(pairs, [16]), {"train.num_steps": [steps]}, seeds)
  return chain(
      product(backwards, graphs([(2, 4), (2, 5), (3, 4), (3, 5)], 1000)),
      product(teacherless, graphs([(2, 3), (2, 4), (2, 5), (3, 4)], 2500)),
  )
