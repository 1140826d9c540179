"""The paper's setting: a 12-layer model of width 384 (`mini`), 200k training and 20k test graphs with 50 nodes or more.

    pathstar train --config=configs/paper.py:degree=2,length=5,mixer=attention,objective=next_token --workdir=runs/paper
    pathstar plan --config=configs/paper.py:degree=2,length=5 --topology=v5e:1x1

Objectives: next_token | reversed (next_token on the reversed path) | teacherless. Mixers: attention | s5_gated | mamba,
of about the same size. Batch 256, AdamW at 5e-4 with weight decay 0.01, as users and reproductions of arXiv 2403.06963
quote them; 100 epochs of the paper's "up to 500", which are --config.train.num_steps=390_000. Parameters are float32,
the arithmetic is bfloat16; on a CPU, where that is slow, add --config.model.dtype=float32.

Not run for so long yet: results/paper has 3000 to 6000 steps, and results/paper_token_shift 800 on the other four graphs, by
`--config.model.token_shift=True`, which finds the edges of all but G(20,5) soon. An H100 takes 14 ms a step of G(5,5) with attention, 15 %
of its peak (results/gpu). By the plan, a run of G(2,5) takes 26 minutes on one TPU v5e chip, at a quarter of its peak: 20 ms a step.
"""

from pathstar import presets
from pathstar.config import arguments, override
from pathstar.errors import choose

OBJECTIVES = {  # objective.name and objective.order
    "next_token": ("next_token", "forward"),
    "reversed": ("next_token", "reversed"),
    "teacherless": ("teacherless", "forward"),
}


def get_config(arg: str = ""):
  # num_nodes=0: as many as the graph has, but at least 50.
  args = arguments(arg, degree=2, length=5, mixer="attention", objective="next_token", num_nodes=0)
  choose("file argument objective", args.objective, OBJECTIVES)
  choose("file argument mixer", args.mixer, presets.ARCHITECTURES["paper"])
  config = presets.base("paper")
  config.task.update(degree=args.degree, length=args.length, num_nodes=args.num_nodes or None)
  config.objective.name, config.objective.order = OBJECTIVES[args.objective]
  [architecture] = presets.architectures("paper", args.mixer)
  return override(config, architecture)
