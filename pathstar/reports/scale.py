"""The scale of a run, by which the scoreboard tells claims apart: by its graph, its node ids and the size of its model."""

from pathstar.presets import PAPER_NODES, PAPER_TOPOLOGIES
from pathstar.reports.rows import defined

SMALL, GRAPHS, PAPER = "", "the paper's graphs, small model", "the paper's scale"
SCALES = (SMALL, GRAPHS, PAPER)
_LARGE = 5_000_000  # parameters from which a model is as large as the paper's


def scale_of(row: dict) -> str:
  """One of `SCALES`. Node ids are the paper's from the fewest that it has on; a task without nodes goes by its model."""
  few_ids = any(number < min(PAPER_NODES) for number in defined([row], "num_nodes"))
  if few_ids or not defined([row], "parameters"):
    return SMALL
  if row["parameters"] >= _LARGE:
    return PAPER
  return GRAPHS if (row["degree"], row["length"]) in PAPER_TOPOLOGIES else SMALL
