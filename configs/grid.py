"""The whole grid: 25 topologies x 3 ways of training x 3 architectures x 5 seeds = 1125 runs in 225 packs.

    pathstar plan --config=configs/grid.py --topology=v5e:16x16
    pathstar sweep --config=configs/grid.py --workdir=runs/grid

Degree 2, 3, 5, 10, 20; path length 3, 5, 7, 10, 20; max(50, degree * (length - 1) + 1) nodes; otherwise as
configs/paper.py.

Not run yet. At an assumed 30% of the peak of 256 TPU v5e chips, it takes 64 hours as one job, whose packs are too small for so many
chips, and 26 hours as 16 jobs of 16 chips: --shard=i/16. That is too good: by the compiler's clock the step of that time reached 9% on one
chip, and 6% where 16 share it. Eight H200 GPUs take 147 hours, with --config.model.remat=true for the graphs of 20 x 20 (results/plan).
"""

from pathstar import scales
from pathstar.config import arguments
from pathstar.sweep import product, zipped


def get_config(arg: str = ""):
  arguments(arg, num_seeds=5)
  return scales.base("paper")


def sweep(arg: str = ""):
  args = arguments(arg, num_seeds=5)
  topologies = {"task.degree": [2, 3, 5, 10, 20], "task.length": [3, 5, 7, 10, 20]}
  methods = zipped({
      "objective.name": ["next_token", "next_token", "teacherless"],
      "objective.order": ["forward", "reversed", "forward"],
  })
  architectures = scales.architectures("paper", "attention", "s5_gated", "mamba")
  return product(topologies, methods, architectures, {"seed": range(args.num_seeds)})
