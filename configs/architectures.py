"""Not the transformer's fault: a transformer, Mamba, gated S5 and plain S5 on G(2,5) with 10 nodes, forward and reversed.

    pathstar sweep --config=configs/architectures.py --workdir=runs/architectures
    pathstar bench --config=configs/default.py --mixers=attention,s5,s5_gated,mamba

`s5` is the paper's layer, which is time-invariant; `s5_gated` is the same recurrence between short convolutions and products.
`mixers=mamba+s5_gated` chooses among them. Two blocks of width 64 each; Mamba's have no MLP, as in its paper.
"""

from pathstar.config import arguments, default
from pathstar.errors import choose
from pathstar.sweep import product, zipped

# What each takes beside the settings below. A recurrence is told no positions. S5's lookups form slowly, and later in some seeds:
# trials of gated S5 had 0.66 of reversed paths at step 2000 of 2000 (seed 0), 0.23 at 3000 of 3000 and 0.82 at 5250 of 6000 (seed 1).
RECURRENT = {"model.positions": "none", "model.norm": "rmsnorm"}
S5 = RECURRENT | {"model.mlp_ratio": 2, "optimizer.name": "muon", "optimizer.learning_rate": 5e-3, "optimizer.beta2": 0.95,
                  "optimizer.weight_decay": 0.1, "train.num_steps": 10_000}
ARCHITECTURES = {
    "attention": {"train.num_steps": 1000},
    "mamba": RECURRENT | {"model.mlp_ratio": 0, "train.num_steps": 1500},
    "s5_gated": S5,
    "s5": S5,
}
ARGUMENTS = {"num_seeds": 2, "mixers": "+".join(ARCHITECTURES)}


def get_config(arg: str = ""):
  arguments(arg, **ARGUMENTS)
  config = default()
  config.task.update(degree=2, length=5, num_nodes=10)
  config.model.update(num_layers=2, width=64, num_heads=4)
  config.optimizer.update(learning_rate=2e-3, schedule="linear", warmup_steps=100)
  config.train.update(batch_size=64, num_steps=1000, checkpoint_every=500)
  config.eval.update(every=100, num_examples=1000)
  return config


def sweep(arg: str = ""):
  args = arguments(arg, **ARGUMENTS)
  mixers = args.mixers.split("+")
  for mixer in mixers:
    choose("file argument mixers", mixer, ARCHITECTURES)
  cells = [{"model.mixer": mixer} | ARCHITECTURES[mixer] for mixer in mixers]
  orders = zipped({"objective.name": ["next_token", "next_token"], "objective.order": ["forward", "reversed"]})
  return product(cells, orders, {"seed": range(args.num_seeds)})
