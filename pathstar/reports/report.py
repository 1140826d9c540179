"""A report: runs.csv and curves.csv, and drawn from them alone a table, figures and a README.

`note` in provenance.json is for what a reader should know beside them.
"""

import json
import math
import pathlib
import shlex
from collections.abc import Mapping, Sequence

from pathstar import config
from pathstar.errors import UserError
from pathstar.reports import claim_figures, claims, figures, grids, kept, leaderboard
from pathstar.reports.collect import COLUMNS, CURVE_COLUMNS
from pathstar.reports.csv_files import PROVENANCE, begin, is_field, read_report, write_csv
from pathstar.reports.rows import SOLVED, apart, groups, mean, score_of, side_by_side, span
from pathstar.storage import workdir

FIGURES = leaderboard.ALL | figures.ALL | grids.ALL | claim_figures.ALL
WHOLE = (*figures.WHOLE, *grids.ALL)  # figures that show all settings
PANELS = 24  # settings that figures show
_MAX_LINES = 200  # of the table in the README
_BY_HAND = ("note", "superseded_by")  # in provenance.json
_LARGE = 2**20  # bytes from which curves are compressed


def markdown(runs: Sequence[dict]) -> str:
  """Markdown: one line a group; mean over seeds, every seed's score (exact match, or the branch token), and how many seeds solve it."""
  told_by = [name for name in apart(runs, "problem", "architecture", "method") if is_field(name)]  # what no other column tells
  head = ("task", "node ids", "model", "trained by", *(name.rpartition(".")[2] for name in told_by), "exact match, test", "each seed",
          f"seeds >= {SOLVED}", "train", "branch", "legal mass", "cheat", "chance", "examples", "epochs", "steps", "s a run", "parameters")
  lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
  for setting, rows in groups(runs).items():
    show = lambda name: "" if math.isnan(value := mean(rows, name)) else f"{value:.3f}"
    score = score_of(rows[0])
    seeds = " ".join(row["status"] if row["status"] != "done" else f"{row[score]:.3f}" for row in rows)
    solved = sum(row[score] >= SOLVED for row in rows)
    epochs = mean(rows, "epochs")
    examples = ("endless", "") if setting.num_train == "" else (str(setting.num_train), "" if math.isnan(epochs) else f"{epochs:.2g}")
    cells = (setting.problem, str(setting.num_nodes), setting.architecture, setting.method,
             *(str(dict(setting.fields)[name]) for name in told_by), show("exact_match_test"), seeds, f"{solved} of {len(rows)}",
             *(show(name) for name in ("exact_match_train", "branch_accuracy", "legal_mass", "cheat_accuracy", "chance")),
             *examples, span(rows, "steps", ".0f"), f"{mean(rows, 'train_seconds'):.0f}", _counts(setting.parameters, rows))
    lines.append("| " + " | ".join(" ".join(cell.split("\n")).replace("|", r"\|") for cell in cells) + " |")
  return "\n".join(lines) + "\n"


def _counts(parameters: int, rows: Sequence[dict]) -> str:
  """Parameters that are trained and, if fewer are, that are kept."""
  used = mean(rows, "parameters_used")
  return f"{parameters:,}" + ("" if math.isnan(used) or used == parameters else f" ({used:,.0f} kept)")


def provenance(folders: Sequence[pathlib.Path]) -> dict:
  """Where results come from: command, commit, hardware and versions of the sweep or run in the first folder, and `others` of the rest.

  A report among them is from where its own come, and its note is kept.
  """
  found: dict[str, dict] = {}
  for source in (source for folder in folders for source in _recorded(folder)):
    same = json.dumps({name: value for name, value in source.items() if name != "grown"}, sort_keys=True)
    found[same] = max(found.get(same, source), source, key=lambda one: len(one.get("grown", ())))  # a sweep that has grown since
  first, *others = found.values()
  notes = dict.fromkeys(workdir.read_json(folder / PROVENANCE).get("note") for folder in folders if kept.is_report(folder))
  return first | ({"others": others} if others else {}) | ({"note": "; ".join(filter(None, notes))} if any(notes) else {})


def _recorded(folder: pathlib.Path) -> list[dict]:
  if kept.is_report(folder):
    source = workdir.read_json(folder / PROVENANCE)
    if not isinstance(others := source.get("others", []), list) or not all(isinstance(one, dict) for one in others):
      raise UserError(f"{folder / PROVENANCE}: others: must be a list of objects; it is damaged")
    return [{k: v for k, v in source.items() if k not in ("others", *_BY_HAND)}, *others]
  for name in ("sweep.json", workdir.ENVIRONMENT):
    if (folder / name).exists():
      return [{k: v for k, v in workdir.read_json(folder / name).items() if k not in ("packs", "work", "common", "runs", "raised")}]
  return [{}]


def _made(source: dict) -> list[str]:
  """A README's lines about where results come from."""
  versions = ", ".join(f"{k} {source[k]}" for k in ("python", "jax", "flax", "optax") if k in source)
  precision = [f"matrix products of float32 at precision `{source['matmul_precision']}`"] if "matmul_precision" in source else []
  return [
      f"- command: `{source.get('command', 'unknown')}`",
      f"- commit: `{source.get('commit', 'unknown')}` (its configs may differ from today's)",
      *(f"- grown by: `{more['command']}`, commit `{more['commit']}`" for more in source.get("grown", ())),
      "; ".join([f"- hardware: {', '.join(source.get('devices', ['unknown']))}", source.get("cpu", "unknown CPU"), *precision]),
      f"- versions: {versions}"]


def readme(name: str, runs: Sequence[dict], source: dict, drawn: Sequence[str], verdicts: Sequence[claims.Verdict], panels: int) -> str:
  """The README of the report in folder `name`: how it was made, what it says of the paper's claims, the table and the figures."""
  seconds = sum(row["train_seconds"] for row in runs)
  settings, lines = len(groups(runs)), markdown(runs).splitlines()
  rest = [f"... and {len(lines) - _MAX_LINES} more, in [table.md](table.md)", ""] if len(lines) > _MAX_LINES else []
  planning = grids.planning(runs)
  said = [f"**Claim {v.claim.number}.** {v.claim.text} **{v.word}**: {v.found}\n" for v in verdicts]
  return "\n".join([
      f"# {name}", "",
      *dict.fromkeys(line for each in (source, *source.get("others", ())) for line in _made(each)),  # what they share once
      f"- training time of all {len(runs)} runs: {seconds / 60:.1f} minutes",
      *([f"- note: {source['note']}"] if "note" in source else []), "",
      *said,
      *(["Objectives side by side, seeds, steps and costs: [leaderboard.md](leaderboard.md).", ""] if side_by_side(runs) else []),
      *lines[:_MAX_LINES], "", *rest,
      "Exact match is greedy, of the whole answer, on held-out problems (`train`: on training examples). `branch`:",
      "accuracy of the branch token, the first move, by which `branch_only` training is scored in `each seed` too; `legal mass`:",
      "probability on legal first moves; `cheat`: how often the model follows a wrong arm that it is forced onto; `chance`: exact match",
      "of a guess (of the arm, where there are arms); `epochs`: passes over the training examples. Empty: not defined here.", "",
      *(["Length at which next-token training stops planning: from there on no seed's first move is right by more than twice the margin of",
         "a guess.", "", *planning, ""] if planning else []),
      *([f"Figures of settings show the first {panels} of {settings} settings; `--panels=N` for more, `--only` for others.", ""]
        if settings > panels else []),
      *(f"![{FIGURES[figure].__doc__.split('.')[0]}]({figure}.png)\n" for figure in drawn),
      f"Tables and figures are drawn again from runs.csv and curves.csv by `pathstar report --out={shlex.quote(name)}`.", "",
  ])


def write(out: pathlib.Path, name: str, runs: Sequence[dict], curves: Sequence[dict], source: dict, panels: int = PANELS,
          configs: Mapping[str, config.Config] | None = None) -> None:
  """Writes the report's files into `out`. What was written by hand into the provenance of one that is there stays.

  `configs`: of the runs, by run_id, without which the report can't be added to.
  """
  begin(out, of_runs=True)
  known = workdir.read_json(out / PROVENANCE) if (out / PROVENANCE).exists() else {}
  source = source | {name: known[name] for name in _BY_HAND if name in known}
  workdir.write_json(out / PROVENANCE, source)  # first: by it the folder is known to be a report's
  write_csv(out / "curves.csv", CURVE_COLUMNS, curves, compress_from=_LARGE)
  if configs:
    kept.write_configs(out, configs)
  else:
    (out / kept.CONFIGS).unlink(missing_ok=True)
  write_csv(out / "runs.csv", _columns(runs), runs)
  draw(out, name, panels)


def _columns(runs: Sequence[dict]) -> list[str]:
  """COLUMNS, other metrics, and config fields: in one order, whichever runs were there first."""
  others = {name for row in runs for name in row}.difference(COLUMNS)
  fields = [name for name in config.schema() if name in others]
  return [*COLUMNS, *sorted(others.difference(fields)), *fields]


def draw(out: pathlib.Path, name: str, panels: int = PANELS) -> None:
  """Draws table, figures and README from the CSV files in `out`.

  No figure has more than `panels` panels: those of a grid are of all settings, the others of the first so many.
  """
  runs, curves = read_report(out, "runs"), read_report(out, "curves")
  source = workdir.read_json(out / PROVENANCE)
  workdir.write_text(out / "table.md", markdown(runs))
  (out / "leaderboard.md").unlink(missing_ok=True)
  if side_by_side(runs):
    workdir.write_text(out / "leaderboard.md", leaderboard.markdown(runs))
  settings = groups(runs)
  shown, points = _no_formulas(runs), _no_formulas(curves)
  drawn, few = [], [row for rows in list(groups(shown).values())[:panels] for row in rows]
  names = {row["run_id"] for row in few}
  of_few = [row for row in points if row["run_id"] in names]
  for figure_name, make in FIGURES.items():
    (out / f"{figure_name}.png").unlink(missing_ok=True)
    given = (shown, points, panels) if figure_name in WHOLE else (shown, points) if figure_name in leaderboard.ALL else (few, of_few)
    if figure := make(*given):
      if given[0] is few and len(settings) > panels:
        figure.supxlabel(f"the first {panels} of {len(settings)} settings", fontsize=8, color="0.4")
      figure.savefig(out / f"{figure_name}.png", dpi=150)
      drawn.append(figure_name)
  if len(settings) > panels:  # those that show everything first
    drawn.sort(key=lambda figure_name: figure_name not in WHOLE)
  workdir.write_text(out / "README.md", readme(name, runs, source, drawn, claims.verdicts(runs, source), panels))


def _no_formulas(rows: Sequence[dict]) -> list[dict]:
  """Rows for matplotlib, to which what stands between dollars is a formula: with a backslash before each."""
  return [{name: value.replace("$", r"\$") if isinstance(value, str) else value for name, value in row.items()} for row in rows]
