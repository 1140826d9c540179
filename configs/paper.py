"""The paper's setting: a 12-layer model of width 384 (`mini`), 200k training and 20k test graphs with 50 nodes or more.

    pathstar train --config=configs/paper.py:degree=2,length=5,mixer=attention,objective=next_token --workdir=runs/paper
    pathstar plan --config=configs/paper.py:degree=2,length=5 --topology=v5e:2x2

Objectives: next_token | reversed (next_token on the reversed path) | teacherless. Mixers: attention | s5_gated | mamba,
of about the same size. Batch 256, AdamW at 5e-4 with weight decay 0.01, as users and reproductions of arXiv 2403.06963
quote them; 100 epochs of the paper's "up to 500", which are --config.train.num_steps=390_000. Parameters are float32,
the arithmetic is bfloat16; on a CPU, where that is slow, add --config.model.dtype=float32.

Not run yet. By the plan, at 30% of four TPU v5e chips' peak, a run of G(2,5) with attention takes 8 minutes.
"""

from pathstar.config import arguments, default
from pathstar.errors import choose
from pathstar.models import PRESETS

OBJECTIVES = {  # objective.name and objective.order
    "next_token": ("next_token", "forward"),
    "reversed": ("next_token", "reversed"),
    "teacherless": ("teacherless", "forward"),
}
MIXERS = {  # what `mini` is for each: a recurrence needs no positions, and Mamba twice the blocks in place of MLPs
    "attention": {},
    "s5_gated": {"positions": "none"},
    "mamba": {"positions": "none", "norm": "rmsnorm", "mlp_ratio": 0, "num_layers": 24},
}


def get_config(arg: str = ""):
  # num_nodes=0: as many as the graph has, but at least 50.
  args = arguments(arg, degree=2, length=5, mixer="attention", objective="next_token", num_nodes=0)
  choose("file argument objective", args.objective, OBJECTIVES)
  choose("file argument mixer", args.mixer, MIXERS)
  name, order = OBJECTIVES[args.objective]
  config = default()
  config.task.update(degree=args.degree, length=args.length, num_nodes=args.num_nodes or None)
  config.data.update(num_train=200_000, num_test=20_000)
  config.model.update(PRESETS["mini"] | MIXERS[args.mixer], mixer=args.mixer, dtype="bfloat16")
  config.objective.update(name=name, order=order)
  config.optimizer.update(learning_rate=5e-4, weight_decay=0.01, warmup_steps=100)
  config.train.update(batch_size=256, num_steps=78_000, log_every=200, checkpoint_every=2000)
  config.eval.update(every=1000, num_examples=2000)
  return config
