"""Figures of single claims: what is learned when, and why inference is not to blame. Same rules as in figures.py."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pathstar.reports.checks import guesses, is_early, one_in_degree
from pathstar.reports.figures import LINES, MARKERS, grid_of, in_steps, seeds_line, titled, top_legend
from pathstar.reports.rows import (
  answer_length,
  by,
  by_position,
  defined,
  ended,
  groups,
  mean,
  median_step,
  method,
  on_grid,
  paths,
  split,
  titles,
)


def _titled(panels: dict, *shown: str) -> list[tuple[str, list[dict]]]:
  """Groups as (title, rows)."""
  named = titles(panels, *shown)
  return [(named[key], rows) for key, rows in panels.items()]


def _by_degree(runs: Sequence[dict]) -> dict[str, list[dict]]:
  """Title -> runs of one degree and several lengths, alike in what else tells runs of one length apart."""
  lots = {f"degree {degree}" + (f"\n{more}" if more else ""): lot
          for degree, rows in by(runs, lambda row: row["degree"]).items() for more, lot in split(rows, "length").items()}
  return {title: lot for title, lot in lots.items() if len({row["length"] for row in lot}) > 1}


def _guess(row: dict) -> str:
  """What a line at chance is called."""
  return "1/degree" if one_in_degree(row) else "a guess"


def timeline(runs: Sequence[dict], curves: Sequence[dict]) -> Figure | None:
  """The cheat is learned, and the branch token stays a guess. Accuracy along a wrong arm, and of the first move; thin lines are seeds."""
  found = by_position(curves)
  panels = {key: rows for key, rows in groups(runs).items() if any((row["run_id"], "cheat") in found for row in rows)}
  if not panels:
    return None
  figure, grid = grid_of(len(panels), sharey=True)
  for axes, (title, rows) in zip(grid, _titled(panels)):
    lines = (("cheat", "follows a wrong arm", {"color": "0.55", "ls": "-"}), (1, "first move right", {"color": "0", "ls": "--"}))
    for position, label, style in lines:
      for number, row in enumerate(rows):
        points = found.get((row["run_id"], position), [])
        axes.plot([s for s, _ in points], [y for _, y in points], lw=1.1, label=label if number == 0 else None, **style)
    axes.axhline(rows[0]["chance"], color="black", ls=(0, (1, 3)), lw=1, label=_guess(rows[0]))
    titled(axes, title + "\nedges not learned" * all(map(is_early, rows)))
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("training step")
  grid[0].set_ylabel("accuracy, test")
  top_legend(figure, grid[:1], 3, 9)
  return figure


def first_move(runs: Sequence[dict], curves: Sequence[dict] = ()) -> Figure | None:
  """The first move at the end of training: its entropy among the legal ones, and the probability on these (an even guess has both at 1).

  Pale: runs that have not learned to follow edges.
  """
  panels = groups([row for row in on_grid(paths(runs))
                   if method(row) == "next_token" and defined([row], "branch_entropy") and row["degree"] > 1])
  if not panels:
    return None
  figure = Figure(figsize=(max(4.5, 1.2 + 0.9 * len(panels)), 3.2), layout="constrained")
  axes = figure.add_subplot()
  lines = (("entropy among legal moves / log(degree)", lambda row: row["branch_entropy"] / math.log(row["degree"])),
           ("probability on legal moves", lambda row: row["legal_mass"]), ("first move right", lambda row: row["branch_accuracy"]))
  for number, (label, value) in enumerate(lines):
    for x, rows in enumerate(panels.values()):
      at = x + 0.28 * (number - 1) + np.linspace(-0.07, 0.07, len(rows)) * (len(rows) > 1)
      edge = ["0.75" if is_early(row) else "black" for row in rows]
      face = ["white" if is_early(row) else str(0.5 * number) for row in rows]
      axes.scatter(at, [value(row) for row in rows], s=26, marker=MARKERS[number], facecolor=face, edgecolor=edge, lw=0.8)
    axes.scatter([], [], s=26, marker=MARKERS[number], facecolor=str(0.5 * number), edgecolor="black", lw=0.8, label=label)
  for x, rows in enumerate(panels.values()):
    axes.hlines(rows[0]["chance"], x - 0.45, x + 0.45, color="black", ls=(0, (1, 3)), lw=1, label=_guess(rows[0]))
  if any(is_early(row) for rows in panels.values() for row in rows):
    axes.scatter([], [], s=26, facecolor="white", edgecolor="0.75", lw=0.8, label="edges not learned")
  axes.axhline(1, color="0.7", lw=0.8, zorder=0)
  named = titles(panels, "problem", "architecture")
  axes.set_xticks(range(len(panels)), [named[key].replace(", ", "\n") for key in panels], fontsize=8)
  axes.set_ylim(0, 1.06)
  axes.set_ylabel("each seed, at the end")
  axes.spines[["top", "right"]].set_visible(False)
  top_legend(figure, [axes], 2, 8)
  return figure


def learning_order(runs: Sequence[dict], curves: Sequence[dict]) -> Figure | None:
  """The step at which each position of the path is learned (a line a seed; open, above the dotted end of training: not within the run)."""
  panels = {key: rows for key, rows in groups(paths(runs)).items() if key[2] in ("reversed", "teacherless")
            and defined(rows, "position_1_step_50")}
  if not panels:
    return None
  figure, grid = grid_of(len(panels))
  for axes, (title, rows) in zip(grid, _titled(panels)):
    end = max(row["steps"] for row in rows)
    for number, row in enumerate(rows):
      steps = [row[f"position_{position}_step_95"] for position in range(1, answer_length(row))]
      at = np.arange(1, answer_length(row)) + 0.3 / len(rows) * (number - (len(rows) - 1) / 2)
      known = [not math.isnan(step) for step in steps]
      shade = str(0.6 * number / max(1, len(rows) - 1))
      axes.plot(at[known], np.array(steps)[known], color=shade, ls=LINES[number % 4], marker=MARKERS[number % len(MARKERS)], ms=5, lw=1)
      missing = at[np.invert(known)]
      axes.scatter(missing, [1.08 * end] * len(missing), marker=MARKERS[number % len(MARKERS)], facecolor="white", edgecolor=shade, s=25)
    axes.axhline(end, color="black", ls=(0, (1, 3)), lw=1)
    titled(axes, title)
    axes.set_xticks(range(1, answer_length(rows[0]), math.ceil(answer_length(rows[0]) / 10)))
    axes.set_ylim(0, 1.16 * end)
    axes.set_xlabel("position in the path (1 = branch)")
  grid[0].set_ylabel("step of 95 % accuracy")
  return figure


def snowball(runs: Sequence[dict], curves: Sequence[dict] = ()) -> Figure | None:
  """Exact match by length, and what it would be if errors snowballed (open: seeds)."""
  panels = _by_degree([row for row in ended(on_grid(paths(runs))) if method(row) == "next_token"])
  if not panels:
    return None
  figure, grid = grid_of(len(panels), sharey=True)
  for axes, (title, rows) in zip(grid, panels.items()):
    degree, by_length = rows[0]["degree"], by(rows, lambda row: row["length"])
    lines = (("exact_match_test", "measured exact match"), ("snowball_prediction", "(1 - e)^length, e: measured error a token"))
    for number, (name, label) in enumerate(lines):
      seeds_line(axes, number, [(length, defined(same, name)) for length, same in by_length.items()], label)
    lengths = np.array(sorted(by_length))
    means = {length: same[0] | {"exact_match_test": mean(same, "exact_match_test")} for length, same in by_length.items()}
    if guessed := [length for length in lengths if guesses(means[length])]:
      after, error = lengths[lengths >= guessed[0]], mean(by_length[guessed[0]], "token_error")
      axes.plot(after, (1 - error) ** after, color="0.6", ls=":", lw=1.6, label="(1 - e)^length, e: of the shortest path that is a guess")
    axes.axhline(1 / degree, color="black", ls=(0, (1, 3)), lw=1, label="1/degree")
    titled(axes, title)
    axes.set_ylim(0, 1.04)
    axes.set_xticks(lengths)
    axes.set_xlabel("length")
  grid[0].set_ylabel("exact match, test")
  top_legend(figure, grid[:1], 1, 8)
  return figure


def verifier(runs: Sequence[dict], curves: Sequence[dict] = ()) -> Figure | None:
  """A perfect verifier or a backtracker around the model, and blind guessing (open: seeds; dashed: the blind guess)."""
  panels = groups([row for row in runs if defined([row], "verifier/best_of_1")])
  if not panels:
    return None
  figure, grid = grid_of(len(panels), sharey=True)
  for axes, (title, rows) in zip(grid, _titled(panels, "problem", "architecture")):
    tries = [k for k in range(1, 1025) if defined(rows, f"verifier/best_of_{k}")]
    for number, (name, label) in enumerate((("best_of", "best of k samples"), ("backtrack", "k first moves"))):
      seeds_line(axes, 2 * number, [(k, defined(rows, f"verifier/{name}_{k}")) for k in tries], label)
      blind = [mean(rows, f"verifier/{name}_{k}_blind") for k in tries]
      axes.plot(tries, blind, color=str(0.4 * number), ls="--", lw=1, label=f"{label}, blind guess")
    axes.set_xscale("log", base=2)
    axes.set_xticks(tries, tries)
    axes.set_ylim(0, 1.04)
    titled(axes, title)
    axes.set_xlabel("k")
  grid[0].set_ylabel("right path among them, test")
  top_legend(figure, grid[:1], 2, 8)
  return figure


def steps_to_solve(runs: Sequence[dict], curves: Sequence[dict] = ()) -> Figure | None:
  """Steps until the first move is learned from its own loss alone, against length (a mark a seed; triangles: not within the budget)."""
  panels = _by_degree([r for r in on_grid(runs) if r["objective"] == "branch_only"])
  if not panels:
    return None
  figure, grid = grid_of(len(panels))
  for axes, (title, rows) in zip(grid, panels.items()):
    by_length = sorted(by(rows, lambda row: row["length"]).items())
    for row, rank in ((row, rank - (len(same) - 1) / 2) for _, same in by_length for rank, row in enumerate(same)):
      solved = not math.isnan(row["branch_step"])
      at = row["length"] + 0.05 * rank
      axes.scatter(at, row["branch_step"] if solved else row["steps"], s=26, marker="o" if solved else "^", edgecolor="black",
                   facecolor="0.4" if solved else "white", zorder=3)
    learned = [(length, step) for length, same in by_length if (step := median_step(same)) < math.inf]
    if len(learned) > 1:
      axes.plot(*zip(*learned), color="0.5", lw=1.2, marker="_", ms=14, label="median, where most seeds learn it")
    axes.axhline(max(row["steps"] for row in rows), color="black", ls=(0, (1, 3)), lw=1, label="budget")
    in_steps(axes)
    axes.set_xticks([length for length, _ in by_length])
    titled(axes, f"branch token alone, {title}")
    axes.set_xlabel("length")
    axes.set_ylabel("steps to 95 % of first moves")
    axes.legend(frameon=False, fontsize=8)
  return figure


ALL = {make.__name__: make for make in (timeline, first_move, learning_order, snowball, verifier, steps_to_solve)}
