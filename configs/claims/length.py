"""Claim 1: how short is short? The length from which on next-token prediction is a guess and stays one.

    pathstar sweep --config=configs/claims/length.py:scale=cpu --workdir=runs/length

One degree, lengths 3 to 6, three widths, few and many node ids, and a budget far beyond the step at which edges are followed. The rate is
constant after warm-up, so that a larger --config.train.num_steps goes on as if it had been that long from the start; it is 2e-3 at
width 64, and falls as width grows. Expected: length 3 is solved; as in the shorter runs of failure.py, at length 4 many learn
to plan well after `cheat_accuracy` is 1, and at length 5 and more none does.

cpu: 96 runs, about 340 minutes on two cores, by 2.0e15 FLOPs at 5e10 a second and core, three quarters of them for width 256. Width 64 was
run, and length 4 with 16 node ids at width 128 (results/length), in nearly two hours of one core; the rest goes on in parts:

    ... --only model.width=64
    ... --only model.width=128 --only task.num_nodes=16 --only task.length=4
"""

from pathstar import presets
from pathstar.grid import product, zipped


def _arguments(arg: str):
  return presets.arguments(arg, scales=("cpu",))


def get_config(arg: str = ""):
  config = presets.plain_stack(_arguments(arg).scale)
  config.data.num_train = None  # endless, so that nothing is learned by heart
  config.optimizer.schedule = "constant"
  config.train.update(num_steps=6000, checkpoint_every=1000)
  return config


def sweep(arg: str = ""):
  args = _arguments(arg)
  widths = zipped({"model.width": [64, 128, 256], "optimizer.learning_rate": [2e-3, 1e-3, 5e-4]})
  return product(presets.topologies([(2, length) for length in (3, 4, 5, 6)], [16, 24]), widths, {"seed": range(args.num_seeds)})
