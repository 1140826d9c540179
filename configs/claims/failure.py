"""Claims 1, 2 and 3: next-token prediction fails at 1/degree, by the Clever Hans cheat.

    pathstar sweep --config=configs/claims/failure.py:scale=cpu --workdir=runs/failure
    pathstar sweep --config=configs/claims/failure.py:scale=paper --workdir=runs/failure_paper
    pathstar sweep --config=configs/claims/failure.py:scale=graphs --workdir=runs/failure_graphs --only model.mixer=attention

Expected: `exact_match` on test and on train within noise of 1/degree, `cheat_accuracy` >= 0.98, `legal_mass` near 1
and `branch_entropy` within 3 % of log(degree), at length 5 (scale=graphs: 0.36 to 0.97, and 0.84 to 0.92 of it); at length 4, where
the goal is two lookups from the first move, many runs learn to plan after the cheat. Other architectures are in ../architectures.py.
cpu: a transformer on G(2|3|5, 4|5), 24 runs, about 75 minutes on two cores (--max_pack=2 is soonest). paper: three architectures on
five topologies, 85 hours on an H200 (by `pathstar plan --compile=none`, at 15 % of its peak; Mamba, at a quarter of that, longer).

graphs: the paper's five graphs and a model of two blocks of width 64, trained on the path or on the branch token alone
(results/graphs). In parts into one folder, and the last with as many passes over the training examples as one likes:

    ... --only model.mixer=attention --only objective.name=next_token --only task.degree=2,5 --only task.length=5
    ... --only model.mixer=mamba,s5_gated
    pathstar sweep --config=configs/claims/failure.py:scale=graphs,epochs=10 --workdir=runs/failure_epochs --only ...
"""

from pathstar import presets
from pathstar.errors import require
from pathstar.grid import chain, product


def _arguments(arg: str):
  args = presets.arguments(arg, scales=presets.SCALES, epochs=0)
  require(args.epochs >= 0, "file argument epochs", args.epochs, "an integer >= 1, or 0: the steps of presets.GRAPH_STEPS")
  require(not args.epochs or args.scale == "graphs", "file argument epochs", args.epochs, f"left out with scale={args.scale}")
  return args


def get_config(arg: str = ""):
  scale = _arguments(arg).scale
  config = presets.plain_stack(scale)
  if scale == "cpu":
    # The guess of the first move becomes even sooner in a wider model.
    config.model.width, config.optimizer.learning_rate = 128, 1e-3
  return config


def sweep(arg: str = ""):
  args = _arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "graphs":
    cells = product({"objective.name": ["next_token", "branch_only"]}, presets.graphs(), seeds)
    config = get_config(arg)
    steps = args.epochs * config.data.num_train // config.train.batch_size
    return [cell | {"train.num_steps": steps} for cell in cells] if steps else cells
  if args.scale == "paper":
    graphs = presets.topologies(presets.PAPER_TOPOLOGIES, presets.PAPER_NODES)
    return product(graphs, presets.architectures("paper", "attention", "s5_gated", "mamba"), seeds)
  # Few node ids to spare for the same reason. No example of degree 5 is seen twice, as at the other degrees.
  graphs = lambda pairs, nodes, steps, examples=200_000: product(
      presets.topologies(pairs, [nodes]), {"train.num_steps": [steps]}, {"data.num_train": [examples]}, seeds)
  return chain(
      graphs([(2, 4), (3, 4)], 16, 2000),
      graphs([(2, 5)], 9, 1500),
      graphs([(3, 5)], 13, 1500),
      graphs([(5, 4)], 16, 3000, 400_000),
      graphs([(5, 5)], 21, 6000, 400_000),
  )
