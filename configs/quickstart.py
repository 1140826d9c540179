"""The paper's result in a few minutes on a two-core CPU: G(2,4) with 10 nodes, three ways of training one small transformer.

    pathstar sweep --config=configs/quickstart.py --workdir=runs/quickstart
"""

from pathstar.config import arguments, default
from pathstar.sweep import product, zipped


def get_config(arg: str = ""):
  arguments(arg, num_seeds=2)
  config = default()
  config.task.update(degree=2, length=4, num_nodes=10)
  config.model.update(num_layers=2, width=64, num_heads=4)
  config.optimizer.update(learning_rate=2e-3)
  config.train.update(batch_size=64, num_steps=1000)
  config.eval.update(every=250, num_examples=1000)
  return config


def sweep(arg: str = ""):
  args = arguments(arg, num_seeds=2)
  methods = zipped({
      "objective.name": ["next_token", "next_token", "teacherless"],
      "objective.order": ["forward", "reversed", "forward"],
  })
  return product(methods, {"seed": range(args.num_seeds)})
