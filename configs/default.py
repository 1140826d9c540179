"""One run that shows the effect in about a minute on two cores: next-token prediction on G(2,5) with 50 node ids, the paper's graph.

    pathstar train --config=configs/default.py --workdir=runs/default

Two blocks of width 64. Expected: `exact_match` at 1/2, on training problems too, and `cheat_accuracy` near 1: forced onto a wrong arm, the
model follows it. `--config.objective.order=reversed` is right every time.

Every field, with its one-line comment, is declared in pathstar/config/sections.py and beside the code of tasks, mixers, objectives and
evaluations; `pathstar.config.default()` assembles them. Other config files, wherever they lie, start from it as this one does.
"""

from pathstar import presets


def get_config(arg: str = ""):
  config = presets.plain_stack("cpu")
  config.train.update(num_steps=1500, checkpoint_every=500)
  return config
