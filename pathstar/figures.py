"""Figures of a report, from the rows of its CSV files. They print well and read in grey."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

METHODS = ("next_token", "reversed", "teacherless")  # order and hatch of bars
_GREY = {"next_token": "0.35", "reversed": "0.65", "teacherless": "0.9"}
_HATCH = {"next_token": "", "reversed": "//", "teacherless": ".."}
LINES = ("-", "--", "-.", ":")
MARKERS = "osv^DPX*<>"


def method(row: dict) -> str:
  """Objective and order of a runs.csv row in a word."""
  if row["order"] == "forward":
    return row["objective"]
  return "reversed" if row["objective"] == "next_token" else f"{row['objective']}-reversed"


def _ordered(names) -> list[str]:
  names = dict.fromkeys(names)
  return [m for m in METHODS if m in names] + [m for m in names if m not in METHODS]


def exact_match(runs: Sequence[dict]) -> Figure:
  """Bars of exact match on test by way of training, one cluster a topology and model; points are seeds, dashes are
  1/degree."""
  clusters: dict[str, list[dict]] = {}
  for row in runs:
    name = f"{row['problem']}\n{row['architecture']}, {row['parameters'] / 1e3:,.0f}k"
    clusters.setdefault(name, []).append(row)
  methods = _ordered(method(row) for row in runs)
  figure = Figure(figsize=(max(4.5, 1.2 + 2.1 * len(clusters)), 3.4), layout="constrained")
  axes = figure.add_subplot()
  width = 0.8 / len(methods)
  for x, rows in enumerate(clusters.values()):
    axes.hlines(rows[0]["chance"], x - 0.46, x + 0.46, color="black", ls="--", lw=1.2, zorder=3,
                label="1/degree" if x == 0 else None)
    for m, name in enumerate(methods):
      values = [row["exact_match_test"] for row in rows if method(row) == name and not math.isnan(row["exact_match_test"])]
      if values:
        at = x + (m - (len(methods) - 1) / 2) * width
        axes.bar(at, np.mean(values), 0.92 * width, color=_GREY.get(name, "0.8"), hatch=_HATCH.get(name, "xx"), edgecolor="black",
                 lw=0.8, label=name if name not in axes.get_legend_handles_labels()[1] else None)
        spread = np.linspace(-0.25, 0.25, len(values)) * width if len(values) > 1 else [0]
        axes.scatter(at + np.array(spread), values, s=16, facecolor="white", edgecolor="black", lw=0.8, zorder=4)
  axes.set_xticks(range(len(clusters)), clusters)
  axes.set_ylim(0, 1.04)
  axes.set_ylabel("exact match on held-out problems")
  axes.spines[["top", "right"]].set_visible(False)
  figure.legend(loc="outside upper center", ncols=len(methods) + 1, frameon=False, fontsize=9)
  return figure


def positions(runs: Sequence[dict], curves: Sequence[dict]) -> Figure:
  """Accuracy of each position of the path during training, one panel a group of runs; thin lines are seeds, thick
  their median."""
  by_run: dict[str, list[dict]] = {}
  for row in curves:
    by_run.setdefault(row["run_id"], []).append(row)
  panels: dict[tuple, list[dict]] = {}
  for row in runs:
    if row["run_id"] in by_run:
      key = (row["problem"], row["architecture"], method(row), row["parameters"])
      panels.setdefault(key, []).append(row)
  rank = {name: i for i, name in enumerate(_ordered(method(row) for row in runs))}
  keys = sorted(panels, key=lambda key: (key[0], key[1], key[3], rank[key[2]]))
  columns = min(3, max(1, len(keys)))
  lines = math.ceil(len(keys) / columns) or 1
  figure = Figure(figsize=(3.3 * columns + 0.6, 2.5 * lines + 0.5), layout="constrained")
  grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
  for axes in grid[len(keys):]:
    axes.set_visible(False)
  for axes, key in zip(grid, keys):
    rows = panels[key]
    length, is_path = 1 + max(p["position"] for row in rows for p in by_run[row["run_id"]]), rows[0]["degree"] != ""
    names = {1: "1 (branch)", length - 1: f"{length - 1} (goal)"} if is_path else {}
    for position in range(is_path, length):  # the start node is given away by the problem
      shade = str(0.05 + 0.6 * (position - is_path) / max(1, length - 1 - is_path))
      style = dict(color=shade, ls=LINES[(position - is_path) % len(LINES)])
      series = []
      for row in rows:
        points = [(p["step"], p["accuracy"]) for p in by_run[row["run_id"]] if p["position"] == position]
        series.append(points)
        axes.plot(*zip(*points), lw=0.6, alpha=0.5, **style)
      if len({tuple(step for step, _ in points) for points in series}) == 1:
        steps = [step for step, _ in series[0]]
        median = np.median([[value for _, value in points] for points in series], axis=0)
        axes.plot(steps, median, lw=2, marker=MARKERS[(position - is_path) % len(MARKERS)], ms=3.5,
                  markevery=max(1, len(steps) // 8), label=names.get(position, str(position)), **style)
    axes.axhline(rows[0]["chance"], color="black", ls=(0, (1, 3)), lw=1)
    problem, architecture, name, _ = key
    axes.set_title(f"{name}, {architecture}, {problem}", fontsize=9)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("training step")
    axes.spines[["top", "right"]].set_visible(False)
  grid[0].set_ylabel("accuracy, test")
  figure.legend(*grid[0].get_legend_handles_labels(), title="position of the answer", loc="outside right center", frameon=False, fontsize=8)
  return figure
