"""The settings of the authors' published code: 6 layers, width 384, 6 heads, G(2,5) with 50 nodes, 200k examples.

    pathstar train --config=configs/authors.py:degree=2,length=5,objective=next_token --workdir=runs/authors

Learned positions, tied head, AdamW at 1e-4 with 100 warm-up steps and then a constant rate. Speed on this machine:

    pathstar bench --config=configs/authors.py --config.train.batch_size=64 --config.train.steps_per_call=2

One GPU or TPU chip is wanted: on two CPU cores 500 epochs take weeks.
"""

from pathstar.config import arguments, default
from pathstar.models import PRESETS


def get_config(arg: str = ""):
  args = arguments(arg, degree=2, length=5, objective="next_token", order="forward")
  config = default()
  config.task.update(degree=args.degree, length=args.length)
  config.data.update(num_train=200_000, num_test=20_000)
  config.model.update(PRESETS["authors"])
  config.objective.update(name=args.objective, order=args.order)
  config.optimizer.update(learning_rate=1e-4, warmup_steps=100, weight_decay=0.0)
  config.train.update(batch_size=256, num_steps=390_500, log_every=500, checkpoint_every=5500)
  config.eval.update(every=5500, num_examples=10_000)
  return config
