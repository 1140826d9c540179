"""The whole grid: 25 topologies x 3 ways of training x 3 architectures x 5 seeds = 1125 runs in 225 packs.

    pathstar plan --config=configs/grid.py --topology=v5e:16x16
    pathstar sweep --config=configs/grid.py --workdir=runs/grid

Degree 2, 3, 5, 10, 20; path length 3, 5, 7, 10, 20; max(50, degree * (length - 1) + 1) nodes; otherwise as
configs/paper.py.

Not run yet. By the plan, at 30% of the peak of 256 TPU v5e chips, it takes 64 hours as one job, whose
packs are too small for so many chips, and 26 hours as 16 jobs of 16 chips: --shard=i/16.
"""

from pathstar.config import arguments, default
from pathstar.models import PRESETS
from pathstar.sweep import product, zipped


def get_config(arg: str = ""):
  arguments(arg, num_seeds=5)
  config = default()
  config.data.update(num_train=200_000, num_test=20_000)
  config.model.update(PRESETS["mini"], dtype="bfloat16")
  config.optimizer.update(learning_rate=5e-4, weight_decay=0.01, warmup_steps=100)
  config.train.update(batch_size=256, num_steps=78_000, log_every=200, checkpoint_every=2000)
  config.eval.update(every=1000, num_examples=2000)
  return config


def sweep(arg: str = ""):
  args = arguments(arg, num_seeds=5)
  topologies = {"task.degree": [2, 3, 5, 10, 20], "task.length": [3, 5, 7, 10, 20]}
  methods = zipped({
      "objective.name": ["next_token", "next_token", "teacherless"],
      "objective.order": ["forward", "reversed", "forward"],
  })
  # A recurrence needs no positions, and Mamba twice the blocks in place of MLPs.
  architectures = zipped({
      "model.mixer": ["attention", "s5_gated", "mamba"],
      "model.positions": ["learned", "none", "none"],
      "model.norm": ["layernorm", "layernorm", "rmsnorm"],
      "model.mlp_ratio": [4, 4, 0],
      "model.num_layers": [12, 12, 24],
  })
  return product(topologies, methods, architectures, {"seed": range(args.num_seeds)})
