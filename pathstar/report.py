"""Runs -> results: runs.csv and curves.csv, a table, figures and a README, from the run files alone.

With `--out` alone the tables and figures are drawn again from the CSV files that lie there; `note` in provenance.json is for what a
reader should know beside them. With `--scoreboard=results` the README of all claims is written from those of `results/*/`.
"""

import argparse
import json
import math
import pathlib
import shlex
import sys
from collections.abc import Sequence

from pathstar import claim_figures, claims, cli, config, figures, metrics, scaling, scoreboard, workdir
from pathstar.curves import crossing, learning_order, timeline
from pathstar.errors import UserError
from pathstar.tables import SOLVED, groups, mean, read_csv, write_csv

SCORES = ("branch_accuracy", "legal_mass", "branch_entropy", "cheat_accuracy", "end_follows_arm", "end_copies_goal",
          "generated_exact_match", "token_error", "snowball_prediction")
COLUMNS = ("run_id", "task", "problem", "degree", "length", "num_nodes", "num_train", "epochs", "architecture", "objective", "order",
           "seed", "status", "steps", "exact_match_test", "exact_match_train", *SCORES, "chance", "train_seconds", "parameters",
           "cheat_step", "branch_accuracy_best", "branch_step")  # and position_k_step_50, .._95, verifier/...
# `position`: of the path, 0 = start; `cheat`: accuracy along a wrong arm.
CURVE_COLUMNS = ("run_id", "step", "position", "accuracy", "loss")
FIGURES = figures.ALL | claim_figures.ALL


def collect(folder: pathlib.Path) -> tuple[list[dict], list[dict]]:
  """Rows of runs.csv and of curves.csv (test split, per position of the path) for every finished run below `folder`.

  Raises:
    UserError: there is none.
  """
  runs, curves = [], []
  for result_file in sorted(folder.rglob(workdir.RESULT)):
    run_folder = result_file.parent
    result = json.loads(result_file.read_text())
    fields = json.loads((run_folder / workdir.CONFIG).read_text())
    runs.append(_run_row(run_folder.name, fields, result))
    rows = list(metrics.read(run_folder))
    runs[-1] |= _when(rows)
    curves += [{"run_id": run_folder.name} | point for row in rows for point in _points(row)]
  if not runs:
    raise UserError(f"workdir = {str(folder)!r}: holds no finished run (a folder with {workdir.RESULT})")
  by = ("task", "degree", "length", "problem", "architecture", "objective", "order", "seed")
  runs.sort(key=lambda r: [r[name] for name in by])
  return runs, curves


def _when(rows: Sequence[dict]) -> dict:
  """What a run learned at which step, from its metrics.jsonl."""
  found = timeline(rows)
  return {
      "cheat_step": found["cheat_step"], "branch_accuracy_best": found["branch_accuracy_best"],
      "branch_step": crossing(rows, "eval/test/branch_accuracy", SOLVED),
      **{f"position_{p['position']}_{name}": p[name] for p in learning_order(rows) for name in ("step_50", "step_95")},
  }


def _points(row: dict) -> list[dict]:
  """A line of metrics.jsonl as rows of curves.csv."""
  found, at = [], lambda position: {"step": row["step"], "position": position}
  while (tag := f"eval/test/position_{len(found)}") + "/accuracy" in row:
    found.append(at(len(found)) | {"accuracy": row[f"{tag}/accuracy"], "loss": row.get(f"{tag}/loss", math.nan)})
  if "eval/test/cheat_accuracy" in row:
    found.append(at("cheat") | {"accuracy": row["eval/test/cheat_accuracy"]})
  return found


def _run_row(run_id: str, fields: dict, result: dict) -> dict:
  resolved = config.resolve(config.override(config.default(), fields))
  task = resolved.task
  score = lambda name: result.get(f"eval/test/{name}", math.nan)
  return {
      "run_id": run_id, "task": fields["task.name"], "problem": str(task),
      **{name: getattr(task, name, "") for name in ("degree", "length", "num_nodes")},  # which not every task has
      "num_train": fields["data.num_train"],
      "epochs": result["steps"] * fields["train.batch_size"] / (fields["data.num_train"] or math.inf),
      "architecture": resolved.architecture, "objective": fields["objective.name"], "order": fields["objective.order"],
      "seed": resolved.seed, "status": result["status"], "steps": result["steps"],
      "exact_match_test": score("exact_match"), "exact_match_train": result.get("eval/train/exact_match", math.nan),
      **{name: score(name) for name in SCORES},
      "chance": task.chance, "train_seconds": result["train_seconds"], "parameters": result["parameters"],
      **{name.removeprefix("eval/test/"): value for name, value in result.items() if name.startswith("eval/test/verifier/")},
  }


def table(runs: Sequence[dict]) -> str:
  """Markdown: one line a group; mean over seeds, every seed's score (exact match, or the branch token), and how many seeds solve it."""
  head = ("task", "node ids", "model", "trained by", "exact match, test", "each seed", f"seeds >= {SOLVED}", "train", "branch",
          "legal mass", "cheat", "chance", "examples", "epochs", "steps", "s a run", "parameters")
  lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
  for (problem, architecture, method, parameters, num_train), rows in groups(runs).items():
    show = lambda name: "" if math.isnan(value := mean(rows, name)) else f"{value:.3f}"
    score = "branch_accuracy" if method == "branch_only" else "exact_match_test"
    seeds = " ".join(row["status"] if row["status"] != "done" else f"{row[score]:.3f}" for row in rows)
    solved = sum(row[score] >= SOLVED for row in rows)
    nodes, epochs = (mean(rows, name) for name in ("num_nodes", "epochs"))
    examples = ("endless", "") if num_train in ("nan", "None") else (num_train, "" if math.isnan(epochs) else f"{epochs:.2g}")
    cells = (problem, "" if math.isnan(nodes) else f"{nodes:.0f}", architecture, method, show("exact_match_test"), seeds,
             f"{solved} of {len(rows)}",
             *(show(name) for name in ("exact_match_train", "branch_accuracy", "legal_mass", "cheat_accuracy", "chance")),
             *examples, str(rows[0]["steps"]), f"{mean(rows, 'train_seconds'):.0f}", f"{parameters:,}")
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"


def provenance(folder: pathlib.Path) -> dict:
  """Where results come from: command, commit, hardware and versions of the sweep or run in `folder`."""
  for name in ("sweep.json", workdir.ENVIRONMENT):
    if (folder / name).exists():
      return {k: v for k, v in json.loads((folder / name).read_text()).items() if k != "packs"}
  return {}


def readme(name: str, runs: Sequence[dict], source: dict, drawn: Sequence[str], verdicts: Sequence[claims.Verdict]) -> str:
  """The report's README: how it was made, what it says of the paper's claims, the table and the figures."""
  seconds = sum(row["train_seconds"] for row in runs)
  versions = ", ".join(f"{k} {source[k]}" for k in ("python", "jax", "flax", "optax") if k in source)
  said = [f"**Claim {v.claim.number}.** {v.claim.text} **{v.word}**: {v.found}\n" for v in verdicts]
  return "\n".join([
      f"# {name}", "",
      f"- command: `{source.get('command', 'unknown')}`",
      f"- commit: `{source.get('commit', 'unknown')}` (its configs may differ from today's)",
      f"- hardware: {', '.join(source.get('devices', ['unknown']))}; {source.get('cpu', 'unknown CPU')}",
      f"- versions: {versions}",
      f"- training time of all {len(runs)} runs: {seconds / 60:.1f} minutes",
      *([f"- note: {source['note']}"] if "note" in source else []), "",
      *said,
      table(runs),
      "Exact match is greedy, of the whole answer, on held-out problems (`train`: on training examples). `branch`:",
      "accuracy of the branch token, the first move, by which `branch_only` training is scored in `each seed` too; `legal mass`:",
      "probability on legal first moves; `cheat`: how often the model follows a wrong arm that it is forced onto; `chance`: exact match",
      "of a guess (of the arm, where there are arms); `epochs`: passes over the training examples. Empty: not defined here.", "",
      *(f"![{FIGURES[figure].__doc__.split('.')[0]}]({figure}.png)\n" for figure in drawn),
      f"Tables and figures are drawn again from runs.csv and curves.csv by `pathstar report --out={shlex.quote(name)}`.", "",
  ])


def write(out: pathlib.Path, name: str, runs: Sequence[dict], curves: Sequence[dict], source: dict) -> None:
  """Writes the report's files into `out`."""
  out.mkdir(parents=True, exist_ok=True)
  write_csv(out / "runs.csv", list(dict.fromkeys([*COLUMNS, *(name for row in runs for name in row)])), runs)
  write_csv(out / "curves.csv", CURVE_COLUMNS, curves)
  workdir.write_json(out / "provenance.json", source)
  draw(out, name)


def draw(out: pathlib.Path, name: str) -> None:
  """Draws table, figures and README from the CSV files in `out`."""
  runs, curves = read_csv(out / "runs.csv"), read_csv(out / "curves.csv")
  source = json.loads((out / "provenance.json").read_text())
  (out / "table.md").write_text(table(runs))
  drawn = []
  for figure_name, make in FIGURES.items():
    (out / f"{figure_name}.png").unlink(missing_ok=True)
    if figure := make(runs, curves):
      figure.savefig(out / f"{figure_name}.png", dpi=150)
      drawn.append(figure_name)
  (out / "README.md").write_text(readme(name, runs, source, drawn, claims.verdicts(runs, source)))


def main(argv: Sequence[str]) -> int:
  """`pathstar report`."""
  parser = argparse.ArgumentParser("pathstar report", description="Tables and figures of finished runs.")
  parser.add_argument("--workdir", help="folder of a sweep or of a run; without it, redraw --out from its CSV files")
  parser.add_argument("--out", help="folder to write to (default: WORKDIR/report); alone: a report or benchmark to draw again")
  parser.add_argument("--scoreboard", help="folder of reports, results/: write its README, one line a claim of the paper")
  args = parser.parse_args(argv)
  if args.scoreboard:
    return scoreboard.write(pathlib.Path(args.scoreboard))
  if not (args.workdir or args.out):
    raise UserError("report: give --workdir, --out, both, or --scoreboard")
  out = pathlib.Path(args.out or pathlib.Path(args.workdir) / "report")
  name = out.as_posix() if args.out else pathlib.Path(args.workdir).name
  if args.workdir:
    if workdir.is_remote(args.workdir):
      raise UserError(f"workdir = {args.workdir!r}: is remote; fetch it to a local folder first (launch/tpu_pod.sh fetches what it ran)")
    folder = pathlib.Path(args.workdir)
    if not folder.is_dir():
      raise UserError(f"workdir = {args.workdir!r}: no such folder")
    write(out, name, *collect(folder), provenance(folder))
  elif (out / "curves.csv").exists():
    draw(out, name)
  elif (out / "runs.csv").exists():  # of `pathstar bench`
    scaling.redraw(out)
  else:
    raise UserError(f"out = {args.out!r}: holds no runs.csv to draw from; give --workdir")
  print((out / "table.md").read_text())
  print(f"report: {out}/README.md")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
