"""The whole grid: 25 topologies x 3 ways of training x 3 architectures x 5 seeds = 1125 runs in 225 packs.

    pathstar plan --config=configs/grid.py --topology=v5e:16x16
    pathstar sweep --config=configs/grid.py --workdir=runs/grid
    pathstar sweep --config=configs/grid.py:scale=cpu --workdir=runs/grid_cpu

Degree 2, 3, 5, 10, 20; path length 3, 5, 7, 10, 20; max(50, degree * (length - 1) + 1) nodes; otherwise as
configs/paper.py.

Not run yet. By the TPU compiler's clock 256 chips of v5e take 114 hours as 16 jobs of 16 chips on one --workdir, four fifths of them for
Mamba, and one job on all of them 494 (results/plan). Eight H200 GPUs take 462 hours at 9 % of their
peak (results/plan), which the transformer is above by now and Mamba below, with --config.model.remat=true for the graphs of 20 x 20.

cpu: degree 2, 3, 5; length 3, 4, 5, 7, 10; plain stacks of two blocks, the transformer's that of scale=graphs and the others' those of
configs/architectures.py; 3 seeds, 405 runs in 135 packs. In parts, into one folder: --only model.mixer=attention, or
--only task.length=3,4,5. The transformer's 135 runs are 1.8e14 FLOPs and took 2.6 hours of a core (results/grid; results/grid_four_heads
is of the setting before, four heads under AdamW, lengths 3 to 5). The recurrences' 270 are 3.0e15; those of degree 2, 3 at length 3 to 5,
108 of them, 2.6e14, took 3.5 hours of a core (--only task.degree=2,3 --only task.length=3,4,5); the others would take some 35.
"""

from pathstar import presets
from pathstar.grid import chain, product, zipped

METHODS = zipped({
    "objective.name": ["next_token", "next_token", "teacherless"],
    "objective.order": ["forward", "reversed", "forward"],
})


def _arguments(arg: str):
  read = lambda num_seeds: presets.arguments(arg, num_seeds, scales=("paper", "cpu"))
  return read(5) if read(5).scale == "paper" else read(3)


def get_config(arg: str = ""):
  return presets.base(_arguments(arg).scale)


def sweep(arg: str = ""):
  args = _arguments(arg)
  seeds = {"seed": range(args.num_seeds)}
  if args.scale == "paper":
    return product({"task.degree": [2, 3, 5, 10, 20], "task.length": [3, 5, 7, 10, 20]}, METHODS,
                   presets.architectures("paper", "attention", "s5_gated", "mamba"), seeds)
  topologies = [{"task.degree": degree, "task.length": length, "task.num_nodes": max(14, degree * (length - 1) + 2)}
                for degree in (2, 3, 5) for length in (3, 4, 5, 7, 10)]
  # Edges of G(2,10) and G(5,10) are followed after 400 and 600 of these steps (seed 100).
  transformer = product(topologies, presets.architectures("graphs", "attention"), {"train.num_steps": [1000]})
  recurrences = [_longer(cell) for cell in product(topologies, presets.architectures("cpu", "s5_gated", "mamba"))]
  return product(chain(transformer, recurrences), METHODS, seeds)


def _longer(cell: dict) -> dict:
  """More steps for a recurrence where there are more edges to follow."""
  edges = cell["task.degree"] * (cell["task.length"] - 1)
  return cell | {"train.num_steps": (1 if edges <= 12 else 2 if edges <= 24 else 4) * cell["train.num_steps"]}
