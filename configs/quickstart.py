"""The paper's result in a few minutes on a two-core CPU: G(2,4) with 10 nodes, three ways of training one small transformer.

    pathstar sweep --config=configs/quickstart.py --workdir=runs/quickstart
"""

from pathstar.config import arguments, default
from pathstar.sweep import product, zipped


def get_config(arg: str = ""):
  arguments(arg, num_seeds=2)
  config = default()
  config.task.update(degree=2, length=4, num_nodes=10)
  # One block applied four times: the lookup that is learned for one hop is there for the next.
  config.model.update(num_layers=1, num_loops=4, inject=True, width=64, num_heads=4, mlp_ratio=1, positions="rope", rope_base=100.0,
                      norm="rmsnorm", init="mimetic", token_shift=True)
  config.optimizer.update(name="muon", learning_rate=6e-3, beta2=0.95, weight_decay=0.1, schedule="linear", warmup_steps=100)
  config.train.update(batch_size=32, num_steps=1000)
  config.eval.update(every=100, num_examples=1000)
  return config


def sweep(arg: str = ""):
  args = arguments(arg, num_seeds=2)
  methods = zipped({
      "objective.name": ["next_token", "next_token", "teacherless"],
      "objective.order": ["forward", "reversed", "forward"],
  })
  return product(methods, {"seed": range(args.num_seeds)})
