"""The settings of the authors' published code: 6 layers, width 384, 6 heads, G(2,5) with 50 nodes, 200k examples.

    pathstar train --config=configs/authors.py:degree=2,length=5,objective=next_token --workdir=runs/authors

It starts where theirs does: positions are learned and N(0, 1), fifty times the token embeddings; every other matrix is N(0, 0.02^2) at any
depth (the line that would scale some by it looks for a name that none has); linear maps and norms have biases, of 0; the head is the
embedding. AdamW decays and clips nothing, and warms up over 100 steps, of which the first has rate 0. With the same weights, logits and
gradients are theirs up to rounding.

What still differs: arithmetic is float32, theirs on a GPU float16 with a scaled loss. The rate is constant after the warm-up; theirs falls
along a cosine over examples times epochs in place of steps, which is by 4 in 100,000 within this run. Batches go on into the next epoch,
where theirs end each with one of 64. Random numbers are others, and theirs have no seed. Training and test share no problem here. These
are 500 epochs, as in the paper; their code's default is 100. Speed on this machine:

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
  config.optimizer.update(learning_rate=1e-4, warmup_steps=100, warmup_from_zero=True, weight_decay=0.0, clip_norm=None)
  config.train.update(batch_size=256, num_steps=390_500, log_every=500, checkpoint_every=5500)
  config.eval.update(every=5500, num_examples=10_000)
  return config
