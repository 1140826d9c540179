"""Settings by name: the scales of experiments, which configs/claims/ and, for the paper's own, configs/paper.py and grid.py start
from, and the sizes of models (`PRESETS`).

`cpu`: small graphs and the small looped transformer of configs/quickstart.py, for two CPU cores. `graphs`: the paper's graphs, node ids
and numbers of examples, and a plain stack of two blocks of width 64, for CPU cores and patience. `paper`: the paper's own setting, a
12-layer model of width 384, 200k examples, 50 or 100 node ids, for a GPU or a TPU chip.
"""

import itertools
import types
from collections.abc import Iterable, Sequence

from ml_collections import ConfigDict

from pathstar import config
from pathstar.errors import choose, require
from pathstar.models import PRESETS

SCALES = ("cpu", "graphs", "paper")
PAPER_TOPOLOGIES = ((2, 5), (5, 5), (10, 5), (2, 20), (20, 5))  # degree, length
PAPER_NODES = (50, 100)
# Training steps of `graphs`: seeds 100 and 101 of a transformer follow 0.99 of the edges of G(10,5) after 750 and of G(2,20) after 500;
# none of G(20,5) after 750.
GRAPH_STEPS = {(2, 5): 2000, (5, 5): 2000, (10, 5): 2000, (2, 20): 2000, (20, 5): 4000}
# Times as many for a recurrence: with rates that fall to 0 in 6,000 steps Mamba follows the edges of G(2,5) from step 2,500 to 4,500 on.
# In 2,000 four seeds had not learned them, nor those of G(5,5), nor had gated S5 those of G(5,5) in 6,000.
_RECURRENCE_STEPS = 3

# Architectures are compared on CPU as plain stacks of two blocks. Lookups form soon under AdamW; those of S5, if its state is large
# enough to hold the edges, under Muon. Convolutions of two taps see an edge, and can't carry the goal to where the path is named:
# with four, gated S5 looks the last node but one up from the goal as well as from the token before.
_STACK = {"model.num_layers": 2, "model.num_loops": 1, "model.inject": False, "model.loop_embedding": False, "model.init": "fan_in",
          "model.mlp_ratio": 2, "train.batch_size": 64}
_ADAMW = {"optimizer.name": "adamw", "optimizer.learning_rate": 2e-3, "optimizer.weight_decay": 0.0, "optimizer.warmup_steps": 100}
_S5 = _STACK | {"model.positions": "none", "model.s5_state": 128, "optimizer.learning_rate": 5e-3, "optimizer.beta2": 0.95,
                "optimizer.warmup_steps": 500, "train.num_steps": 4000}
_MAMBA = _STACK | _ADAMW | {"model.positions": "none", "model.mlp_ratio": 0, "train.num_steps": 1500}
_S5_GATED = _S5 | {"model.conv_width": 2}
# One head, as wide as each of the paper's model, and base()'s Muon follow the edges of G(10,5) after 750 to 1,250 steps; four heads of 16
# under AdamW after 2,000, or not within 12,000. Head, optimizer and rate were changed together.
_ONE_HEAD = {"model.num_heads": 1, "optimizer.warmup_steps": 100}
# What an architecture takes beside its scale's base config. A recurrence needs no positions; Mamba's blocks have no MLP,
# and at paper scale are twice as many.
ARCHITECTURES = {
    "cpu": {
        "attention": _STACK | _ADAMW | {"train.num_steps": 1500},
        "mamba": _MAMBA,
        "s5_gated": _S5_GATED,
        "s5": _S5 | {"train.num_steps": 1500},
    },
    "graphs": {"attention": _STACK | _ONE_HEAD, "mamba": _MAMBA, "s5_gated": _S5_GATED},  # the steps are those of its graphs
    "paper": {
        "attention": {},
        "s5_gated": {"model.positions": "none"},
        "mamba": {"model.positions": "none", "model.norm": "rmsnorm", "model.mlp_ratio": 0, "model.num_layers": 24},
    },
}


def arguments(arg: str, num_seeds: int = 4, scales: Sequence[str] = ("cpu", "paper"), **others) -> types.SimpleNamespace:
  """Reads a claim's file arguments `scale=cpu|paper,num_seeds=N`, and others with their defaults. Raises UserError.

  `scales`: those that the claim has, the default first.
  """
  args = config.arguments(arg, scale=scales[0], num_seeds=num_seeds, **others)
  choose("file argument scale", args.scale, scales)
  require(args.num_seeds >= 1, "file argument num_seeds", args.num_seeds, "an integer >= 1")
  return args


def base(scale: str) -> ConfigDict:
  """The config that a claim's cells start from."""
  fields = config.default()
  if scale != "paper":
    fields.data.update(num_train=200_000, num_test=1000)
    fields.model.update(PRESETS["tiny"])
    fields.optimizer.update(name="muon", learning_rate=4e-3, beta2=0.99, weight_decay=0.1, schedule="linear", warmup_steps=500)
    fields.train.update(batch_size=32, num_steps=1000, log_every=50, checkpoint_every=500)
    fields.eval.update(every=100, num_examples=1000)  # a guess of the arm has a standard error of 0.016
    if scale == "graphs":
      fields.data.update(num_test=20_000)
      fields.eval.update(every=250, num_examples=2000)
  else:
    fields.data.update(num_train=200_000, num_test=20_000)
    fields.model.update(PRESETS["mini"], dtype="bfloat16")
    fields.optimizer.update(learning_rate=5e-4, weight_decay=0.01, warmup_steps=100)
    fields.train.update(batch_size=256, num_steps=78_000, log_every=200, checkpoint_every=2000)  # 100 epochs
    fields.eval.update(every=1000, num_examples=2000)
  return fields


def plain_stack(scale: str) -> ConfigDict:
  """As `base`, with the scale's transformer: below the paper's a plain stack, for claims that hang on following edges alone.

  The looped model under Muon sometimes learns to look nodes up from the goal before it learns to follow edges from the token before,
  and can then plan; and at a high rate its guesses of the first move are less even.
  """
  return config.override(base(scale), ARCHITECTURES[scale]["attention"])


def topologies(pairs: Iterable[tuple[int, int]], nodes: Iterable[int]) -> list[dict]:
  """Cells of every (degree, length) with every number of node ids that is enough for it."""
  return [{"task.degree": degree, "task.length": length, "task.num_nodes": number}
          for (degree, length), number in itertools.product(pairs, nodes) if degree * (length - 1) + 1 <= number]


def graphs() -> list[dict]:
  """Cells of scale `graphs`: a transformer on all of the paper's graphs, Mamba and gated S5 on the two that take the fewest steps."""
  mixers = {mixer: PAPER_TOPOLOGIES if mixer == "attention" else PAPER_TOPOLOGIES[:2] for mixer in ARCHITECTURES["graphs"]}
  nodes = lambda pair: topologies([pair], PAPER_NODES)[0]  # the fewest that are enough
  steps = lambda pair, mixer: {"train.num_steps": GRAPH_STEPS[pair] * (1 if mixer == "attention" else _RECURRENCE_STEPS)}
  return [cell | nodes(pair) | steps(pair, mixer) for mixer, pairs in mixers.items() for pair in pairs
          for cell in architectures("graphs", mixer)]


def architectures(scale: str, *mixers: str) -> list[dict]:
  """Cells of the given mixers, each with what it takes at this scale."""
  return [{"model.mixer": mixer} | ARCHITECTURES[scale][mixer] for mixer in mixers]
