"""Claims 1 and 4: the guess of the first move, and the cheat before it, wherever the weights start.

    pathstar sweep --config=configs/claims/initialisation.py:scale=cpu --workdir=runs/initialisation
    pathstar sweep --config=configs/claims/initialisation.py:scale=paper --workdir=runs/initialisation_paper

Two initialisations of one model with learned positions: that of its scale (`presets.py`), and that of the authors' published code
(../authors.py), whose positions are N(0, 1) beside token embeddings of N(0, 0.02^2). Expected: `exact_match` near 1/degree and
`cheat_accuracy` near 1 from both, later from the authors', which must first find the tokens under the positions; runs.csv has the step as
`cheat_step`. In results/initialisation it is 1,050 to 1,525 against 175 to 275, and one of four runs from the authors' start does not
follow edges in 2,500 steps; none plans. cpu: G(2,4), 8 runs, about 8 minutes on one core. paper: G(2,5).
"""

from pathstar import presets
from pathstar.grid import product
from pathstar.models import PRESETS

AUTHORS = {f"model.{name}": PRESETS["authors"][name] for name in ("init", "position_std", "bias")}


def get_config(arg: str = ""):
  scale = presets.arguments(arg).scale
  config = presets.plain_stack(scale)
  config.model.positions = "learned"
  config.train.update(num_steps=20_000 if scale == "paper" else 2500)
  config.eval.update(every=100 if scale == "paper" else 25, num_examples=500)
  config.train.update(log_every=config.eval.every)
  return config


def sweep(arg: str = ""):
  args = presets.arguments(arg)
  graphs = presets.topologies([(2, 5)], [50]) if args.scale == "paper" else presets.topologies([(2, 4)], [12])
  return product([{}, AUTHORS], graphs, {"seed": range(args.num_seeds)})
