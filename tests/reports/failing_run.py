"""A row of runs.csv for the tests of reports."""

import math

from pathstar.reports import report


def run(**values):
  """A row of runs.csv: next-token prediction on G(2,5) that fails as the paper says, unless told otherwise."""
  row = dict.fromkeys(report.COLUMNS, math.nan) | {
      "run_id": "run", "task": "path_star", "problem": "G(2,5)", "degree": 2, "length": 5, "answer_length": 5,
      "branch_position": 1, "num_nodes": 10, "architecture": "transformer",
      "objective": "next_token", "order": "forward", "seed": 0, "status": "done", "steps": 100, "exact_match_test": 0.5,
      "exact_match_train": 0.5, "branch_accuracy": 0.5, "legal_mass": 1.0, "branch_entropy": math.log(2), "cheat_accuracy": 1.0,
      "snowball_prediction": 0.6, "token_error": 0.1, "chance": 0.5, "train_seconds": 1.0, "parameters": 10, "cheat_step": 20,
      "branch_accuracy_best": 0.52}
  return row | values
