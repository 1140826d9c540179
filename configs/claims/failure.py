"""Claims 1, 2 and 3: next-token prediction fails at 1/degree, by the Clever Hans cheat.

    pathstar sweep --config=configs/claims/failure.py:scale=cpu --workdir=runs/failure
    pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/failure_paper
    pathstar sweep --config=configs/claims/failure.py:scale=graphs --workdir=runs/failure_graphs --only model.mixer=attention

Expected: `exact_match` on test and on train within noise of 1/degree, `cheat_accuracy` >= 0.98, `legal_mass` near 1
and `branch_entropy` within 3 % of log(degree), at length 5; at length 4, where the goal is two lookups from the first move, many runs
learn to plan after the cheat. Other architectures are in ../architectures.py. cpu: a transformer on G(2|3|5, 4|5), 24 runs, about 75
minutes on two cores (--max_pack=2 is soonest). paper: three architectures on five topologies, 141 hours on an H200
(by `pathstar plan`, at 9 % of its peak).

graphs: the paper's five graphs and a model of two blocks of width 64, trained on the path or on the branch token alone; the path of
degree 2, 5 and 10 was run (results/graphs), on an H100 that in its best minute did 240 steps of four runs of G(10,5) a second, and that of
G(2,20) on two CPU cores (results/graphs_2_20). By its FLOPs, at 5e10 a second, one core needs 6 hours for the 40 runs of the transformer;
and for 16 runs of Mamba half an hour, of gated S5 two hours, on G(2,5) and G(5,5).
The same command with another part goes on from there:

    ... --only model.mixer=attention --only objective.name=next_token --only task.degree=2,5 --only task.length=5      # 10 minutes
    ... --only model.mixer=mamba,s5_gated
"""

from pathstar import scales
from pathstar.sweep import chain, product


def _arguments(arg: str):
  return scales.arguments(arg, scales=scales.SCALES)


def get_config(arg: str = ""):
  scale = _arguments(arg).scale
  config = scales.plain_stack(scale)
  if scale == "cpu":
    # The guess of the first move becomes even sooner in a wider model.
    config.model.width, config.optimizer.learning_rate = 128, 1e-3
  return config


def sweep(arg: str = ""):
  args = _arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "graphs":
    return product({"objective.name": ["next_token", "branch_only"]}, scales.graphs(), seeds)
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
