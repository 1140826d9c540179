"""The leaderboard: every way of training on one ladder of graphs, with the same model, data, optimiser and number of steps.

    pathstar sweep  --config=configs/objectives.py:scale=cpu --workdir=runs/objectives
    pathstar report --workdir=runs/objectives --out=results/objectives

An objective that is in the registry is on it, with its defaults. A part: `--only objective.name=hybrid,ranking --only task.length=4,5`; the
same command with more goes on from there. Other parts, each a sweep by itself:

    objectives.py:part=heads            the number of heads of multi_token on G(2,5), from next_token to the supervision of teacherless
    objectives.py:part=variants         other tasks on G(2,5): an inner node is asked for, the question stands before the edges, training
                                        graphs are trees; next_token, reversed, teacherless, and the two best of the ladder
    objectives.py:part=architectures    all that a recurrence can have, reversed too, on Mamba and gated S5, on G(2,4) and G(2,5)
    objectives.py:part=rates            three learning rates on G(3,4), a graph, and from seed 100 on, that no other part uses: what the
                                        one rate of all others was chosen by

    objectives.py:native=token_order    a published comparison at the setting of its paper instead, as far as it is known (NATIVE, below):
                                        token_order, future_summary, belief_state, next_latent

What is equal is the number of steps. A step does not cost the same, so that the report says what runs cost in training FLOPs too, and how
many parameters are trained and kept. cpu: graphs of 16 node ids, G(5,5) of 24; paper: of 50; graphs, the ladder alone: the paper's five
graphs and the two plain blocks of results/graphs, of which it shows whether they could plan if they were taught to.
"""

from pathstar import presets
from pathstar.config import override
from pathstar.errors import choose, require
from pathstar.grid import chain, product
from pathstar.objectives import OBJECTIVES

GRAPHS = ((2, 4), (2, 5), (2, 6), (3, 5), (2, 8), (5, 5))
UNEQUAL = {"task.min_length": 3, "task.arm_lengths": "unequal"}  # each arm of a graph has 3 to 5 nodes: no goal at a known distance
# Settings of papers, each with what they compare; what differs from them is said. In all, batches are of fresh examples or epochs of a
# fixed set as there, the loss is on the target alone, numbers are bfloat16 as in scale=paper, and an answer has no end token.
NATIVE = {
    # Zuhri et al. (arXiv 2508.19228), table 5. Their cosine ends at a third of the peak, ours at 0; a mean weighs their sequential heads,
    # each of ours counts 1.
    "token_order": dict(
        fields={"model.num_layers": 8, "task.num_nodes": 30, "data.num_train": 300_000, "data.num_test": 10_000, "train.batch_size": 4096,
                "train.num_steps": 7300, "optimizer.learning_rate": 3e-3, "optimizer.warmup_steps": 1500, "optimizer.schedule": "cosine"},
        ways=[{"objective.name": "next_token"}, {"objective.name": "token_order"},
              *({"objective.name": "multi_token", "objective.k": k, "objective.sequential": one} for k in (2, 4) for one in (False, True))],
        graphs=((3, 3), (3, 5), (5, 3), (5, 5))),
    # Future summary prediction (arXiv 2510.14751), with the bag of words alone.
    "future_summary": dict(
        fields={"task.num_nodes": 50, "train.batch_size": 256, "train.num_steps": 390_600, "optimizer.learning_rate": 3e-4,
                "optimizer.weight_decay": 0.01},
        ways=[{"objective.name": "next_token"}, {"objective.name": "multi_token"}, {"objective.name": "future_summary"}],
        graphs=((2, 6), (2, 8))),
    # Hu et al. (arXiv 2410.23506) and their public config. Their data is 8 million examples, here it is endless.
    "belief_state": dict(
        fields={"model.num_layers": 6, "model.width": 768, "model.num_heads": 8, "model.positions": "rope", "model.norm": "rmsnorm",
                "task.num_nodes": 50, "data.num_train": None, "train.batch_size": 256, "train.num_steps": 5000,
                "optimizer.learning_rate": 1e-4, "optimizer.weight_decay": 0.0, "optimizer.beta2": 0.95, "optimizer.clip_norm": None,
                "optimizer.warmup_steps": 0},
        ways=[{"objective.name": "next_token"}, {"objective.name": "belief_state"}],
        graphs=((2, 5), (2, 10), (5, 5))),
    # Next-latent prediction (arXiv 2511.05963), table 5 and the public config. Their MLP is SwiGLU, and they sample their answers. Their
    # multi-token prediction, whose number of heads goes with the graph, is left out.
    "next_latent": dict(
        fields={"model.positions": "rope", "model.norm": "rmsnorm", "task.num_nodes": 100, "train.batch_size": 512,
                "train.num_steps": 20_000, "optimizer.learning_rate": 5e-4, "optimizer.weight_decay": 0.1, "optimizer.beta2": 0.95,
                "optimizer.clip_norm": 100.0, "optimizer.warmup_steps": 0},
        ways=[{"objective.name": name} for name in ("next_token", "joint_multi_token", "belief_state", "next_latent")],
        graphs=((2, 10), (5, 5), (7, 7))),
}
VARIANTS = ({"task.query": "inner"}, {"task.layout": "query_first"}, {"task.dead_ends": 1})
PARTS = ("ladder", "heads", "variants", "architectures", "rates")
RATES = (2e-3, 4e-3, 8e-3)


def _arguments(arg: str):
  args = presets.arguments(arg, num_seeds=5, scales=presets.SCALES, part="ladder", native="")
  choose("file argument part", args.part, PARTS)
  require(args.scale != "graphs" or args.part == "ladder", "file argument part", args.part, "left out with scale=graphs")
  if args.native:
    choose("file argument native", args.native, NATIVE)
    require(args.part == "ladder", "file argument part", args.part, f"left out with native={args.native}, which has graphs of its own")
    require("scale=" not in arg, "file argument scale", args.scale, f"left out with native={args.native}, which has a scale of its own")
  return args


def get_config(arg: str = ""):
  args = _arguments(arg)
  if args.native:
    return override(presets.base("paper"), NATIVE[args.native]["fields"])
  return override(presets.base(args.scale), {"train.num_steps": 2500, "eval.num_examples": 500} if args.scale == "cpu" else {})


def sweep(arg: str = ""):
  args = _arguments(arg)
  # Where the branch token alone is scored exact match means nothing.
  ways = [{"objective.name": name} for name, one in OBJECTIVES.items() if one.scores_all]
  ways = chain(ways, [{"objective.name": "next_token", "objective.order": "reversed"}])
  small, large = (16, 24) if args.scale == "cpu" else (50, 50)
  graph = lambda degree, length: {"task.degree": degree, "task.length": length, "task.num_nodes": small if degree < 5 else large}
  seeds = {"seed": range(args.num_seeds)}
  if args.native:
    shapes = [{"task.degree": degree, "task.length": length} for degree, length in NATIVE[args.native]["graphs"]]
    return product(NATIVE[args.native]["ways"], shapes, seeds)
  if args.part == "heads":
    return product([graph(2, 5)], {"objective.name": ["multi_token"], "objective.k": range(1, 7)}, seeds)
  if args.scale == "graphs":
    return product(ways, [cell for cell in presets.graphs() if cell["model.mixer"] == "attention"], seeds)
  if args.part == "architectures":
    causal = [way for way in ways if OBJECTIVES[way["objective.name"]].mask == "causal"]
    return product(causal, presets.architectures(args.scale, "mamba", "s5_gated"), [graph(2, 4), graph(2, 5)], seeds)
  if args.part == "variants":
    best = [way for way in ways if way["objective.name"] in ("next_token", "teacherless", "future_summary", "joint_multi_token")]
    return product(best, [graph(2, 5)], VARIANTS, seeds)
  if args.part == "rates":
    return product(ways, [graph(3, 4)], {"optimizer.learning_rate": RATES}, {"seed": range(100, 100 + args.num_seeds)})
  graphs = chain([graph(*shape) for shape in GRAPHS], [graph(3, 5) | UNEQUAL])
  return product(ways, graphs, seeds)
