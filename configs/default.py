"""All fields at their defaults: next-token prediction on G(2,5) with 50 nodes by a 2-layer transformer.

    pathstar train --config=configs/default.py --workdir=runs/default

Every field, with its one-line comment, is declared in pathstar/config.py and beside the code of tasks, mixers and objectives;
`pathstar.config.default()` assembles them. Other config files, wherever they lie, start from it as this one does.
"""

from pathstar.config import default


def get_config(arg: str = ""):
  return default()
