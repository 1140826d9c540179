"""The paper's result in a few minutes on a two-core CPU: G(2,4) with 14 node ids, three ways of training one small transformer.

    pathstar sweep --config=configs/quickstart.py --workdir=runs/quickstart

Ten seeds and, beside them, teacherless training of an ordinary stack of the same depth, in about half an hour:

    pathstar sweep --config=configs/quickstart.py:num_seeds=10,unshared=true --workdir=runs/quickstart_seeds

Teacherless training is the hard one: weights shared over depth let the lookup that is learned for one hop serve for the next, and
Muon finds it sooner than AdamW does. The long warm-up decides which lookup is found first. In a path this short the middle node can be
looked up from the node before it, which is the cheat, or from the goal, which is the first step of a plan: after a warm-up of 100 steps
2 of 4 seeds of next-token training took the second and then learned to plan, after one of 1000 steps none did, and all four teacherless
ones found their first hop.

`--config.model.mixer=mamba` (or s5_gated, s5) swaps the architecture; fields that are attention's alone then do nothing. Settings tuned to
each architecture are in architectures.py.
"""

from pathstar.config import arguments, default
from pathstar.grid import chain, product
from pathstar.models import PRESETS

UNSHARED = {"model.num_layers": 4, "model.num_loops": 1, "model.inject": False, "model.loop_embedding": False}


def _arguments(arg: str):
  return arguments(arg, num_seeds=2, unshared=False)


def get_config(arg: str = ""):
  _arguments(arg)
  config = default()
  config.task.update(degree=2, length=4, num_nodes=14)
  config.model.update(PRESETS["tiny"])
  config.optimizer.update(name="muon", learning_rate=4e-3, weight_decay=0.1, beta2=0.99, schedule="linear", warmup_steps=1000)
  config.train.update(batch_size=32, num_steps=3000)
  config.eval.update(every=100, num_examples=1000)
  return config


def sweep(arg: str = ""):
  args = _arguments(arg)
  methods = [
      {"objective.name": "next_token", "train.num_steps": 4000},
      {"objective.name": "next_token", "objective.order": "reversed", "train.num_steps": 1500},
      {"objective.name": "teacherless"},
  ]
  if args.unshared:
    methods = chain(methods, [methods[-1] | UNSHARED])
  return product(methods, {"seed": range(args.num_seeds)})
