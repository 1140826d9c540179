"""Claim 12: teacherless training needs fewer examples to learn addition than teacher forcing.

    pathstar sweep --config=configs/claims/addition.py:scale=cpu --workdir=runs/addition
    pathstar sweep --config=configs/claims/addition.py:scale=paper --workdir=runs/addition_paper
    pathstar sweep --config=configs/claims/addition.py:scale=cpu,part=objectives --workdir=runs/addition_objectives

Sums of 3, 4 and 5 digits, written from their first digit or from their last (`objective.order`); `exact_match` on sums that no
training example holds, against `data.num_train`. Expected: teacherless is above next_token at the same number of
examples. cpu: three plain blocks, 288 runs, about 100 minutes on two cores; in parts, into one folder: `--only task.digits=3,5`
(results/addition, with num_seeds=5, 360 runs and 4.4 hours of a core).
paper: 5 digits and the 12-layer model, 1.8 hours on an H200 (by `pathstar plan --compile=none`, at 15 % of its peak).

part=objectives: is it so of the other objectives? All that are in the registry, with their defaults, on sums from their first digit
(cpu: of 3 digits); cpu: 336 runs, and with `--only objective.name=...` a part.
"""

from pathstar import presets
from pathstar.errors import choose
from pathstar.grid import product
from pathstar.objectives import OBJECTIVES


def _arguments(arg: str):
  args = presets.arguments(arg, part="orders")
  choose("file argument part", args.part, ("orders", "objectives"))
  return args


def get_config(arg: str = ""):
  scale = _arguments(arg).scale
  config = presets.plain_stack(scale)
  config.task.name = "addition"
  if scale == "cpu":
    config.task.digits = 3
    config.model.num_layers = 3
    config.train.update(num_steps=3000)  # on 10,000 examples all four ways come to at least 0.95
    config.eval.update(every=250)
  else:
    config.task.digits = 5
    config.train.update(num_steps=20_000)
    config.eval.update(num_examples=1000)
  return config


def sweep(arg: str = ""):
  args = _arguments(arg)
  digits, sizes = [5], [1000, 3000, 10_000, 30_000, 100_000]
  if args.scale == "cpu":
    digits, sizes = [3, 4, 5], [1000, 2000, 3000, 4000, 6000, 8000]
  methods = {"objective.name": ["next_token", "teacherless"], "objective.order": ["forward", "reversed"]}
  if args.part == "objectives":
    digits, methods = digits[:1], {"objective.name": [name for name, one in OBJECTIVES.items() if one.scores_all]}
  return product({"task.digits": digits}, methods, {"data.num_train": sizes}, {"seed": range(args.num_seeds)})
