"""Objectives side by side: who solves which graph, with how many seeds, and at what price. For reports of four objectives or more.

Outcomes are bimodal over seeds: every seed's value and the share that solve it are shown, never a mean alone.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pathstar.reports.figures import LINES, grid_of, titled, top_legend
from pathstar.reports.rows import SOLVED, answer_length, by, by_position, mean, method, ordered, paths, score_of, side_by_side, span, split

_COLUMNS = 6  # graphs side by side in its figure
Entries = dict[str, dict[str, list[dict]]]  # way of training -> graph -> its runs, one a seed


def entries(runs: Sequence[dict]) -> Entries:
  """The ways of training, those first that solve the largest share of their runs. A graph that one was not tried on is missing."""
  several, found = len({row["architecture"] for row in runs}) > 1, {}
  for (name, architecture), rows in by(runs, lambda row: (method(row), row["architecture"])).items():
    for more, lot in split(rows, "problem").items():
      title = ", ".join(filter(None, (name, architecture if several else "", more)))
      found[title] = by(lot, lambda row: row["problem"])
  share = {name: _share([row for rows in graphs.values() for row in rows]) for name, graphs in found.items()}
  rank = ordered(found)
  return {name: found[name] for name in sorted(found, key=lambda name: (-share[name], rank.index(name)))}


def graphs_of(runs: Sequence[dict]) -> list[str]:
  """The problems, those with the best chance first."""
  return list(dict.fromkeys(row["problem"] for row in sorted(runs, key=lambda row: (-row["chance"], answer_length(row)))))


def _solved(row: dict) -> bool:
  return row["status"] == "done" and row[score_of(row)] >= SOLVED


def _sizes(row: dict) -> tuple:
  """What a step's arithmetic depends on but for the way of training."""
  return row["problem"], row["architecture"], str(row["num_nodes"]), *(
      str(value) for name, value in row.items() if name.startswith(("model.", "task.")) or name == "train.batch_size")


def _share(rows: Sequence[dict]) -> float:
  return sum(map(_solved, rows)) / len(rows)


def _seeds(rows: Sequence[dict]) -> str:
  return " ".join(f"{row[score_of(row)]:.2f}" if row["status"] == "done" else row["status"] for row in rows)


def _median(values: Sequence[float], form: str) -> str:
  return f"{statistics.median(values):{form}}" if values else ""


def markdown(runs: Sequence[dict]) -> str:
  """leaderboard.md: seeds that solve each graph, steps and FLOPs until they do, and what each way of training costs."""
  found, graphs = entries(runs), graphs_of(runs)
  table = lambda head, rows: ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
  per_graph = lambda cell: table(
      ["trained by", *graphs], [[name, *(cell(of[graph]) if graph in of else "" for graph in graphs)] for name, of in found.items()])
  chance = {row["problem"]: row["chance"] for row in runs}
  solving = lambda rows, value: [x for row in rows if _solved(row) and not math.isnan(x := value(row))]
  step = lambda row: row.get("solve_step" if score_of(row) == "exact_match_test" else "branch_step", math.nan)
  flops = lambda row: step(row) * row.get("flops_per_step", math.nan)
  base = {_sizes(row): row for row in runs if method(row) == "next_token"}
  over = lambda row, name: (row.get(name, math.nan) / base[_sizes(row)].get(name, math.nan)) if _sizes(row) in base else math.nan
  every = {name: [row for rows in of.values() for row in rows] for name, of in found.items()}
  costs = [[name, span(rows, "parameters"), span(rows, "parameters_used"), span(rows, "steps"), _median(
      [x for row in rows if not math.isnan(x := over(row, "flops_per_step"))], ".2f"), f"{mean(rows, 'train_seconds'):.0f}"]
           for name, rows in every.items()]
  return "\n".join([
      f"Seeds whose exact match on held-out problems reaches {SOLVED}, of how many, and every seed's exact match "
      f"(a guess of the arm: {', '.join(f'{g} {chance[g]:.2g}' for g in graphs)}).", "",
      *per_graph(lambda rows: f"**{sum(map(_solved, rows))} of {len(rows)}**: {_seeds(rows)}"), "",
      "Steps until they do, median over these seeds (in brackets: billions of floating-point operations of training until then).", "",
      *per_graph(lambda rows: _median(solving(rows, step), ",.0f") + (
          f" ({x})" if (x := _median([f / 1e9 for f in solving(rows, flops)], ",.0f")) else "")), "",
      "Forced onto a wrong arm, how often the model follows it, mean over seeds; empty: not defined.", "",
      *per_graph(lambda rows: "" if math.isnan(x := mean(rows, "cheat_accuracy")) else f"{x:.2f}"), "",
      "What each costs. FLOPs: of a training step, over that of next_token on the same graph and model, median.", "",
      *table(["trained by", "parameters", "of which kept", "steps", "FLOPs", "s a run"], costs), ""])


def leaderboard(runs: Sequence[dict], curves: Sequence[dict] = ()) -> Figure | None:
  """Every seed's exact match by objective and graph. Dashes: chance; at the right how many seeds reach 95 %, and with which share."""
  if not side_by_side(runs):
    return None
  found, graphs = entries(runs), graphs_of(runs)
  columns = min(_COLUMNS, len(graphs))
  lines = math.ceil(len(graphs) / columns)
  figure = Figure(figsize=(2.2 + 1.5 * columns, 0.3 + lines * (0.5 + 0.27 * len(found))), layout="constrained")
  grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
  for axes in grid[len(graphs):]:
    axes.set_visible(False)
  for axes, graph in zip(grid, graphs):
    for y, of in enumerate(reversed(found.values())):
      if graph not in of:
        continue
      scores = [0.0 if row["status"] != "done" else row[score_of(row)] for row in of[graph]]
      axes.scatter(scores, y + np.linspace(-0.22, 0.22, len(scores)) * (len(scores) > 1), s=18, lw=0.8, edgecolor="black",
                   facecolor=["0.25" if _solved(row) else "white" for row in of[graph]], zorder=3)
      axes.text(1.06, y, f"{sum(map(_solved, of[graph]))}/{len(scores)}", fontsize=7, va="center")
    axes.axvline(next(row["chance"] for row in runs if row["problem"] == graph), color="black", ls="--", lw=0.9)
    axes.set_xlim(-0.04, 1.25)
    axes.set_xticks([0, 0.5, 1])
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.grid(axis="y", color="0.9", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    titled(axes, graph)
    axes.set_yticks(range(len(found)), list(found)[::-1], fontsize=8)
  figure.supxlabel("exact match on held-out problems, a point a seed", fontsize=9)
  return figure


def branch_training(runs: Sequence[dict], curves: Sequence[dict]) -> Figure | None:
  """Accuracy of the first move during training, by objective. A line a seed, its style by graph."""
  if not side_by_side(runs) or not (runs := paths(runs)):
    return None
  points = by_position(curves)
  found = {name: of for name, of in entries(runs).items() if any((row["run_id"], 1) in points for rows in of.values() for row in rows)}
  if not found:
    return None
  figure, grid = grid_of(len(found), sharey=True)
  graphs = graphs_of(runs)
  for axes, (name, of) in zip(grid, found.items()):
    for graph, rows in of.items():
      number = graphs.index(graph)
      for i, row in enumerate(row for row in rows if (row["run_id"], 1) in points):
        axes.plot(*zip(*points[row["run_id"], 1]), lw=1, color=str(0.75 * number / max(1, len(graphs) - 1)), ls=LINES[number % len(LINES)],
                  label=graph if i == 0 else None)
    titled(axes, name)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("training step")
  grid[0].set_ylabel("first move right, test")
  top_legend(figure, grid, 6, 8)
  return figure


def loss_terms(runs: Sequence[dict], curves: Sequence[dict]) -> Figure | None:
  """Terms of the loss during training, where it has several. Median over seeds of the graph that most ways of training were tried on."""
  if not side_by_side(runs):
    return None
  terms: dict[tuple[str, str], list[tuple[int, float]]] = {}
  for row in curves:
    if str(row["position"]).startswith("loss_"):
      terms.setdefault((row["run_id"], row["position"].removeprefix("loss_")), []).append((row["step"], row["loss"]))
  of_run, tried = by(terms, lambda key: key[0]), entries(runs)
  problem = max(graphs_of(runs), key=lambda graph: sum(graph in of for of in tried.values()))
  found = {name: of.get(problem, []) for name, of in tried.items()}
  panels = {name: rows for name, rows in found.items() if any(len(of_run.get(row["run_id"], [])) > 1 for row in rows)}
  if not panels:
    return None
  figure, grid = grid_of(len(panels))
  for axes, (name, rows) in zip(grid, panels.items()):
    for number, term in enumerate(dict.fromkeys(term for row in rows for _, term in of_run.get(row["run_id"], []))):
      seeds = [terms[row["run_id"], term] for row in rows if (row["run_id"], term) in terms]
      steps = [step for step, _ in seeds[0]]
      alike = [[value for _, value in one] for one in seeds if [step for step, _ in one] == steps]
      axes.plot(steps, np.median(alike, axis=0), lw=1.4, color=str(min(0.7, 0.2 * number)), ls=LINES[number % len(LINES)], label=term)
    titled(axes, f"{name}, {problem}")
    axes.set_yscale("log")
    axes.set_xlabel("training step")
    axes.legend(frameon=False, fontsize=7)
  grid[0].set_ylabel("loss")
  return figure


ALL = {make.__name__: make for make in (leaderboard, branch_training, loss_terms)}
