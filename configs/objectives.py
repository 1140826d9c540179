"""The leaderboard: every way of training on one ladder of graphs, with the same model, data, optimiser and number of steps.

    pathstar sweep  --config=configs/objectives.py:scale=cpu --workdir=runs/objectives
    pathstar report --workdir=runs/objectives --out=results/objectives

An objective that is in the registry is on it, with its defaults. A part: `--only objective.name=hybrid,ranking --only task.length=4,5`; the
same command with more goes on from there. Other parts, each a sweep by itself:

    objectives.py:part=heads            the number of heads of multi_token on G(2,5), from next_token to the supervision of teacherless
    objectives.py:part=architectures    all objectives that a recurrence can have, on Mamba and gated S5, on G(2,4) and G(2,5)
    objectives.py:part=rates            three learning rates on G(3,4), a graph, and from seed 100 on, that no other part uses: what the
                                        one rate of all others was chosen by

What is equal is the number of steps. A step does not cost the same, so that the report says what runs cost in training FLOPs too, and how
many parameters are trained and kept. cpu: graphs of 16 node ids, G(5,5) of 24; paper: of 50.
"""

from pathstar import scales
from pathstar.config import override
from pathstar.errors import choose
from pathstar.objectives import OBJECTIVES
from pathstar.sweep import chain, product

GRAPHS = ((2, 4), (2, 5), (3, 5), (2, 8), (5, 5))
UNEQUAL = {"task.min_length": 3, "task.arm_lengths": "unequal"}  # each arm of a graph has 3 to 5 nodes: no goal at a known distance
PARTS = ("ladder", "heads", "architectures", "rates")
RATES = (2e-3, 4e-3, 8e-3)


def _arguments(arg: str):
  args = scales.arguments(arg, num_seeds=5, part="ladder")
  choose("file argument part", args.part, PARTS)
  return args


def get_config(arg: str = ""):
  scale = _arguments(arg).scale
  return override(scales.base(scale), {"train.num_steps": 2500, "eval.num_examples": 500} if scale == "cpu" else {})


def sweep(arg: str = ""):
  args = _arguments(arg)
  small, large = (16, 24) if args.scale == "cpu" else (50, 50)
  graph = lambda degree, length: {"task.degree": degree, "task.length": length, "task.num_nodes": small if degree < 5 else large}
  seeds = {"seed": range(args.num_seeds)}
  if args.part == "heads":
    return product([graph(2, 5)], {"objective.name": ["multi_token"], "objective.k": range(1, 7)}, seeds)
  # Of branch_only exact match means nothing.
  ways = [{"objective.name": name} for name in OBJECTIVES if name != "branch_only"]
  if args.part == "architectures":
    causal = [way for way in ways if OBJECTIVES[way["objective.name"]].mask == "causal"]
    return product(causal, scales.architectures(args.scale, "mamba", "s5_gated"), [graph(2, 4), graph(2, 5)], seeds)
  ways = chain(ways, [{"objective.name": "next_token", "objective.order": "reversed"}])
  if args.part == "rates":
    return product(ways, [graph(3, 4)], {"optimizer.learning_rate": RATES}, {"seed": range(100, 100 + args.num_seeds)})
  graphs = chain([graph(*shape) for shape in GRAPHS], [graph(3, 5) | UNEQUAL])
  return product(ways, graphs, seeds)
