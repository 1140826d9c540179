"""Runs -> results: runs.csv and curves.csv, a table, figures and a README, from the run files alone.

With `--out` alone the tables and figures are drawn again from the CSV files that lie there.
"""

import argparse
import csv
import json
import math
import pathlib
import shlex
import sys
from collections.abc import Iterable, Sequence

from pathstar import cli, config, figures, metrics, workdir
from pathstar.errors import UserError

COLUMNS = ("run_id", "task", "problem", "degree", "length", "num_nodes", "architecture", "objective", "order", "seed",
           "status", "steps", "exact_match_test", "exact_match_train", "branch_accuracy", "legal_mass", "branch_entropy", "cheat_accuracy",
           "end_follows_arm", "end_copies_goal", "generated_exact_match", "chance", "train_seconds", "parameters")
CURVE_COLUMNS = ("run_id", "step", "position", "accuracy", "loss")
NUMBERS = COLUMNS[COLUMNS.index("exact_match_test"):]
SOLVED = 0.95  # exact match from which a run counts as solved


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
    for row in metrics.read(run_folder):
      position = 0
      while f"eval/test/position_{position}/accuracy" in row:
        tag = f"eval/test/position_{position}"
        curves.append({"run_id": run_folder.name, "step": row["step"], "position": position,
                       "accuracy": row[f"{tag}/accuracy"], "loss": row.get(f"{tag}/loss", math.nan)})
        position += 1
  if not runs:
    raise UserError(f"workdir = {str(folder)!r}: holds no finished run (a folder with {workdir.RESULT})")
  by = ("task", "degree", "length", "problem", "architecture", "objective", "order", "seed")
  runs.sort(key=lambda r: [r[name] for name in by])
  return runs, curves


def _run_row(run_id: str, fields: dict, result: dict) -> dict:
  resolved = config.resolve(config.override(config.default(), fields))
  task = resolved.task
  score = lambda name: result.get(f"eval/test/{name}", math.nan)
  return {
      "run_id": run_id, "task": fields["task.name"], "problem": str(task),
      **{name: getattr(task, name, "") for name in ("degree", "length", "num_nodes")},  # which not every task has
      "architecture": resolved.architecture, "objective": fields["objective.name"], "order": fields["objective.order"],
      "seed": resolved.seed, "status": result["status"], "steps": result["steps"],
      "exact_match_test": score("exact_match"), "exact_match_train": result.get("eval/train/exact_match", math.nan),
      **{name: score(name) for name in NUMBERS if name in (
          "branch_accuracy", "legal_mass", "branch_entropy", "cheat_accuracy", "end_follows_arm", "end_copies_goal",
          "generated_exact_match")},
      "chance": task.chance, "train_seconds": result["train_seconds"], "parameters": result["parameters"],
  }


def write_csv(path: pathlib.Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
  with open(path, "w", newline="") as file:
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_csv(path: pathlib.Path) -> list[dict]:
  """Rows of a CSV file, numbers as numbers."""
  with open(path, newline="") as file:
    return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _number(text: str):
  for kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      continue
  return text


def groups(runs: Sequence[dict]) -> dict[tuple, list[dict]]:
  """(problem, architecture, method, parameters) -> its runs, one a seed."""
  found: dict[tuple, list[dict]] = {}
  for row in runs:
    found.setdefault((row["problem"], row["architecture"], figures.method(row), row["parameters"]), []).append(row)
  return found


def table(runs: Sequence[dict]) -> str:
  """Markdown: one line a group; mean over seeds, every seed's exact match, and how many seeds solve it."""
  head = ("task", "model", "trained by", "exact match, test", "each seed", f"seeds >= {SOLVED}", "train", "branch", "legal mass",
          "cheat", "1/degree", "steps", "s a run", "parameters")
  lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
  for (problem, architecture, method, parameters), rows in groups(runs).items():
    mean = lambda name: _mean(row[name] for row in rows)
    show = lambda value: "" if math.isnan(value) else f"{value:.3f}"
    seeds = " ".join(row["status"] if row["status"] != "done" else f"{row['exact_match_test']:.3f}" for row in rows)
    solved = sum(row["exact_match_test"] >= SOLVED for row in rows)
    cells = (problem, architecture, method, show(mean("exact_match_test")), seeds, f"{solved} of {len(rows)}",
             *(show(mean(name)) for name in ("exact_match_train", "branch_accuracy", "legal_mass", "cheat_accuracy", "chance")),
             str(rows[0]["steps"]), f"{mean('train_seconds'):.0f}", f"{parameters:,}")
    lines.append("| " + " | ".join(cells) + " |")
  return "\n".join(lines) + "\n"


def _mean(values: Iterable[float]) -> float:
  values = [v for v in values if not math.isnan(v)]
  return sum(values) / len(values) if values else math.nan


def provenance(folder: pathlib.Path) -> dict:
  """Where results come from: command, commit, hardware and versions of the sweep or run in `folder`."""
  for name in ("sweep.json", workdir.ENVIRONMENT):
    if (folder / name).exists():
      return {k: v for k, v in json.loads((folder / name).read_text()).items() if k != "packs"}
  return {}


def readme(name: str, runs: Sequence[dict], source: dict) -> str:
  """The report's README: how it was made, the table and the figures."""
  seconds = sum(row["train_seconds"] for row in runs)
  versions = ", ".join(f"{k} {source[k]}" for k in ("python", "jax", "flax", "optax") if k in source)
  return "\n".join([
      f"# {name}", "",
      f"- command: `{source.get('command', 'unknown')}`",
      f"- commit: `{source.get('commit', 'unknown')}`",
      f"- hardware: {', '.join(source.get('devices', ['unknown']))}; {source.get('cpu', 'unknown CPU')}",
      f"- versions: {versions}",
      f"- training time of all {len(runs)} runs: {seconds / 60:.1f} minutes", "",
      table(runs),
      "Exact match is greedy, of the whole path, on held-out problems (`train`: on training examples). `branch`: accuracy of the",
      "branch token, the first move; `legal mass`: probability on legal first moves; `cheat`: how often the model follows a wrong arm",
      "that it is forced onto. Empty: not defined for this way of training.", "",
      "![exact match](exact_match.png)", "", "![accuracy of each position during training](positions.png)", "",
      f"Tables and figures are drawn again from runs.csv and curves.csv by `pathstar report --out={shlex.quote(name)}`.", "",
  ])


def write(out: pathlib.Path, name: str, runs: Sequence[dict], curves: Sequence[dict], source: dict) -> None:
  """Writes the report's files into `out`."""
  out.mkdir(parents=True, exist_ok=True)
  write_csv(out / "runs.csv", COLUMNS, runs)
  write_csv(out / "curves.csv", CURVE_COLUMNS, curves)
  workdir.write_json(out / "provenance.json", source)
  draw(out, name)


def draw(out: pathlib.Path, name: str) -> None:
  """Draws table, figures and README from the CSV files in `out`."""
  runs, curves = read_csv(out / "runs.csv"), read_csv(out / "curves.csv")
  source = json.loads((out / "provenance.json").read_text())
  (out / "table.md").write_text(table(runs))
  figures.exact_match(runs).savefig(out / "exact_match.png", dpi=150)
  figures.positions(runs, curves).savefig(out / "positions.png", dpi=150)
  (out / "README.md").write_text(readme(name, runs, source))


def main(argv: Sequence[str]) -> int:
  """`pathstar report`."""
  parser = argparse.ArgumentParser("pathstar report", description="Tables and figures of finished runs.")
  parser.add_argument("--workdir", help="folder of a sweep or of a run; without it, redraw --out from its CSV files")
  parser.add_argument("--out", help="folder to write to (default: WORKDIR/report)")
  args = parser.parse_args(argv)
  if not (args.workdir or args.out):
    raise UserError("report: give --workdir, --out, or both")
  out = pathlib.Path(args.out or pathlib.Path(args.workdir) / "report")
  name = out.as_posix() if args.out else pathlib.Path(args.workdir).name
  if args.workdir:
    folder = pathlib.Path(args.workdir)
    if not folder.is_dir():
      raise UserError(f"workdir = {args.workdir!r}: no such folder")
    write(out, name, *collect(folder), provenance(folder))
  elif (out / "runs.csv").exists():
    draw(out, name)
  else:
    raise UserError(f"out = {args.out!r}: holds no runs.csv to draw from; give --workdir")
  print((out / "table.md").read_text())
  print(f"report: {out}/README.md")
  return 0


if __name__ == "__main__":
  sys.exit(cli.run(main, sys.argv[1:]))
