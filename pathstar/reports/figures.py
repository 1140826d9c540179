"""Figures of a report, from the rows of its CSV files alone. They print well and read in grey.

Each function of `ALL` takes (runs, curves) and returns a Figure, or None where the rows hold nothing of its kind.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pathstar.reports.rows import (
    SOLVED,
    apart,
    by,
    by_field,
    by_position,
    defined,
    groups,
    in_words,
    is_path,
    mean,
    method,
    on_grid,
    ordered,
    parts,
    paths,
    score_of,
    side_by_side,
    split,
    titles,
)

_GREY = {"next_token": "0.35", "reversed": "0.65", "teacherless": "0.9"}
_HATCH = {"next_token": "", "reversed": "//", "teacherless": ".."}
LINES = ("-", "--", "-.", ":")
MARKERS = "osv^DPX*<>"
_POSITIONS = 8  # of an answer that are drawn, if it has more


def grid_of(panels: int, width: float = 3.3, height: float = 2.6, columns: int = 3, **kwargs) -> tuple[Figure, list]:
  """A figure of so many axes, the superfluous ones hidden."""
  columns = min(columns, panels)
  lines = math.ceil(panels / columns)
  figure = Figure(figsize=(max(4.9, width * columns + 0.6), height * lines + 0.5), layout="constrained")
  grid = figure.subplots(lines, columns, squeeze=False, **kwargs).ravel()
  for axes in grid[panels:]:
    axes.set_visible(False)
  for axes in grid:
    axes.spines[["top", "right"]].set_visible(False)
  return figure, list(grid[:panels])


def titled(axes, title: str, fontsize: int = 9) -> None:
  """A title that is not wider than its panel of a grid."""
  lines = [part for line in title.split("\n") for part in textwrap.wrap(line, 44)]
  axes.set_title("\n".join(lines), fontsize=fontsize if len(lines) == 1 else min(fontsize, 8))


def top_legend(figure: Figure, grid: Iterable[Axes], columns: int, fontsize: int) -> None:
  """A legend above a figure, of what is labelled in these axes, each label once.

  It has as many columns, up to `columns`, as the figure is wide: matplotlib cuts a wider one off without a word.
  """
  labelled = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels())}
  handles, labels = list(labelled.values()), list(labelled)
  width = figure.get_size_inches()[0]
  text = lambda label: (0.62 * len(label) + 4.5) * fontsize / 72  # inches of a label, its handle and the space around them
  fits = lambda n: sum(max(text(label) for label in labels[i::n]) for i in range(min(n, len(labels)))) <= width
  columns = next((n for n in range(min(columns, max(1, len(labels))), 1, -1) if fits(n)), 1)
  lines = math.ceil(len(labels) / columns)
  figure.set_figheight(figure.get_figheight() + max(0, lines - 4) * 1.5 * fontsize / 72)  # a tall one makes its own room
  figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=fontsize)


def _bar_style(methods: Sequence[str]) -> dict[str, dict]:
  """Grey and hatch of each method, no two alike: those of the paper as ever, the others in turn."""
  free = ((grey, hatch) for hatch in ("xx", "\\\\", "oo", "--", "||", "++", "**", "OO") for grey in ("0.8", "0.55"))
  known = {name: (_GREY[name], _HATCH[name]) for name in _GREY}
  edge = {"edgecolor": "black", "lw": 0.8}
  return {name: edge | dict(zip(("color", "hatch"), known[name] if name in known else next(free))) for name in methods}


def seeds_line(axes, number: int, points: Sequence[tuple[float, Sequence[float]]], label: str) -> None:
  """Mean over seeds against x, with a point a seed."""
  style = dict(color=str(min(0.7, 0.2 * number)), marker=MARKERS[number % len(MARKERS)])
  points = sorted(points)
  axes.plot([x for x, _ in points], [np.mean(ys) for _, ys in points], ls=LINES[number % len(LINES)], lw=1.6, ms=5, label=label, **style)
  axes.scatter([x for x, ys in points for _ in ys], [y for _, ys in points for y in ys], s=12, facecolor="white", lw=0.8,
               edgecolor=style["color"], marker=style["marker"], zorder=3)


def in_steps(axes) -> None:
  """A logarithmic vertical axis of steps, with 1, 2 and 5 of each decade as whole numbers."""
  axes.set_yscale("log")
  axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
  axes.yaxis.set_major_formatter("{x:,.0f}")
  axes.yaxis.set_minor_formatter(NullFormatter())


def exact_match(runs: Sequence[dict], curves: Sequence[dict] = ()) -> Figure | None:
  """Exact match on held-out problems by way of training (circles: seeds; crosses: on training problems). A cluster a topology and model."""
  runs = with_answers(runs)  # steps_to_solve() draws the others
  drawn = _by_examples(runs)  # by examples()
  runs = [row for row in runs if (row["problem"], row["order"]) not in drawn]
  if not runs:
    return None
  if side_by_side(runs):
    return None  # leaderboard() draws them
  alike = ("problem", "architecture", "method")
  size = lambda row: [f"{row['parameters'] / 1e3:,.0f}k"]
  if by_field(told := apart(runs, *alike)) != told:
    more, size = by_field(told), lambda row: []
  else:  # several config fields: the number of parameters stands for them, if it tells all
    besides = apart(runs, *alike, "parameters")
    more = [name for name in told if name in besides or ("." not in name and name != "parameters")]
  name_of = lambda row: "\n".join([row["problem"], row["architecture"], *size(row), *(
      in_words(name, value) for name in more if (value := parts(row)[name]) != "")])
  # Sizes of one way of training may be alike in thousands and not in all digits.
  clusters = by(runs, lambda row: (name_of(row), row["parameters"] if "parameters" in told else None))
  methods = ordered(method(row) for row in runs)
  styles = _bar_style(methods)
  figure = Figure(figsize=(max(4.5, 1.2 + (0.5 + 0.45 * len(methods)) * len(clusters)), 3.4), layout="constrained")
  axes = figure.add_subplot()
  width = 0.8 / len(methods)
  for name in methods:
    axes.bar(0, np.nan, label=name, **styles[name])  # for a legend in the order of the bars
  for x, rows in enumerate(clusters.values()):
    axes.hlines(rows[0]["chance"], x - 0.46, x + 0.46, color="black", ls="--", lw=1.2, zorder=3,
                label="chance" if x == 0 else None)
    for m, name in enumerate(methods):
      same, at = [row for row in rows if method(row) == name], x + (m - (len(methods) - 1) / 2) * width
      scores, train = defined(same, "exact_match_test"), defined(same, "exact_match_train")
      if not scores:  # an empty place would look like a score of 0
        axes.text(at, 0.02, "no score" if same else "not run", rotation=90, fontsize=6, color="0.4", ha="center", va="bottom")
      else:
        axes.bar(at, np.mean(scores), 0.92 * width, **styles[name])
        at += np.linspace(-0.3, 0.3, len(scores)) * width if len(scores) > 1 else np.zeros(1)
        beside = width / (3.6 * max(2, len(scores)))  # so that no cross hides its circle
        axes.scatter(at - beside / 2, scores, s=16, facecolor="white", edgecolor="black", lw=0.8, zorder=4, label="a seed")
        if len(train) == len(scores):
          for color, line in (("white", 2.2), ("black", 0.8)):
            axes.scatter(at + beside / 2, train, s=16, marker="x", color=color, lw=line, zorder=5, label="a seed, training problems")
  axes.set_xticks(range(len(clusters)), [name for name, _ in clusters], fontsize=8)
  axes.set_ylim(0, 1.04)
  axes.set_ylabel("exact match on held-out problems")
  axes.spines[["top", "right"]].set_visible(False)
  top_legend(figure, [axes], len(methods) + 3, 9)
  return figure


def positions(runs: Sequence[dict], curves: Sequence[dict]) -> Figure | None:
  """Accuracy of each position of the answer during training (thin: seeds; thick: their median; dotted: a guess). Of a long answer some."""
  found = by_position(row for row in curves if isinstance(row["position"], int))
  panels = {key: rows for key, rows in groups(runs).items() if any((row["run_id"], 0) in found for row in rows)}
  if not panels:
    return None
  rank, problems = ordered(key.method for key in panels), list(dict.fromkeys(key.problem for key in panels))
  order = lambda key: (problems.index(key.problem), key.architecture, key.parameters, rank.index(key.method))
  panels = {key: panels[key] for key in sorted(panels, key=order)}
  named = titles(panels)
  figure, grid = grid_of(len(panels), sharey=True)
  last = {run_id: max(position for _, position in places) for run_id, places in by(found, lambda place: place[0]).items()}
  end_of = lambda rows: max(last[row["run_id"]] for row in rows if row["run_id"] in last)
  ends = set(map(end_of, panels.values()))
  on_paths = all(is_path(rows[0]) for rows in panels.values())
  names = ({1: "1 (branch)"} | ({end: f"{end} (goal)" for end in ends} if len(ends) == 1 else {})) if on_paths else {}
  for axes, (key, rows) in zip(grid, panels.items()):
    first, end = int(is_path(rows[0])), end_of(rows)  # the start node is given away by the problem
    for position in range(first, end + 1) if end - first < _POSITIONS else np.linspace(first, end, _POSITIONS).round().astype(int):
      number = position - on_paths  # in all panels alike; in a long answer the shades of the last differ least
      style = dict(color=str(0.05 + 0.6 * np.log1p(number) / np.log1p(max(1, max(ends) - on_paths))), ls=LINES[number % len(LINES)])
      seeds = [found[row["run_id"], position] for row in rows if (row["run_id"], position) in found]
      for points in seeds:
        axes.plot(*zip(*points), lw=0.6, alpha=0.5, **style)
      alike = by(seeds, lambda points: tuple(step for step, _ in points))
      if steps := max(alike, key=lambda steps: (len(alike[steps]), len(steps)), default=()):  # of most: who diverged ends early
        median = np.median([[value for _, value in points] for points in alike[steps]], axis=0)
        axes.plot(steps, median, lw=2, marker=MARKERS[number % len(MARKERS)], ms=3.5, markevery=max(1, len(steps) // 8),
                  label=names.get(position, str(position)), **style)
    axes.axhline(rows[0]["chance"], color="black", ls=(0, (1, 3)), lw=1)
    titled(axes, named[key])
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("training step")
  grid[0].set_ylabel("accuracy, test")
  shown = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels())}
  labels = sorted(shown, key=lambda label: int(label.split()[0]))
  figure.legend([shown[label] for label in labels], labels, title="position", loc="outside right center", frameon=False, fontsize=8)
  return figure


def over_grid(runs: Sequence[dict], fewest: int = 2) -> dict[str, list[dict]]:
  """Title -> runs of one architecture and way of training, alike in all but degree, length and seed.

  Those on `fewest` degrees and lengths first. If there are none, nothing; else also those on several degrees or lengths.
  """
  lots = {f"{name}, {architecture}" + (f"\n{more}" if more else ""): lot
          for (architecture, name), rows in by(on_grid(paths(runs)), lambda row: (row["architecture"], method(row))).items()
          for more, lot in split(rows, "degree", "length").items()}
  sizes = {title: [len({row[name] for row in lot}) for name in ("degree", "length")] for title, lot in lots.items()}
  whole = [title for title, size in sizes.items() if min(size) >= fewest]
  parts = [title for title, size in sizes.items() if title not in whole and max(size) > 1]
  return {title: lots[title] for title in (*whole, *parts)} if whole else {}


def draw_maps(panels: dict[str, list[dict]], most: int | None, value: Callable[[list[dict]], float],
              words: Callable[[list[dict]], str] | None = None) -> Figure | None:
  """A map a panel, over degree and length: a cell's shade and first line are `value` of its runs, its second their `words`.

  All panels have the same cells; those without a value are hatched.
  """
  panels = dict(list(panels.items())[:most])
  if not panels:
    return None
  figure, grid = grid_of(len(panels))
  degrees, lengths = (sorted({row[name] for rows in panels.values() for row in rows}) for name in ("degree", "length"))
  for axes, (title, rows) in zip(grid, panels.items()):
    cells = by(rows, lambda row: (row["degree"], row["length"]))
    values = {cell: value(same) for cell, same in cells.items()}
    image = np.array([[values.get((d, l), math.nan) for l in lengths] for d in degrees])
    axes.patch.set(hatch="///", edgecolor="0.75", linewidth=0)
    axes.imshow(image, vmin=0, vmax=1, cmap="Greys", aspect="auto", origin="lower")
    for (d, l), same in cells.items():
      shown = [*([] if math.isnan(values[d, l]) else [f"{values[d, l]:.2f}"]), *([words(same)] if words else [])]
      axes.text(lengths.index(l), degrees.index(d), "\n".join(shown), ha="center", va="center", fontsize=8,
                color="white" if values[d, l] > 0.6 else "black")
    axes.set_xticks(range(len(lengths)), lengths)
    axes.set_yticks(range(len(degrees)), degrees)
    titled(axes, title)
    axes.set_xlabel("length")
    axes.set_ylabel("degree")
  return figure


def heat_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """Exact match over degree and length (mean of the seeds, and how many of them reach 95 %; hatched: no score).

  Of all settings, in at most `most` panels.
  """
  solved = lambda same: f"{sum(score >= SOLVED for score in defined(same, 'exact_match_test'))}/{len(same)}"
  figure = draw_maps(over_grid(with_answers(runs)), most, lambda same: mean(same, "exact_match_test"), solved)
  for axes in figure.axes if figure else ():
    axes.set_ylabel("degree (guess: 1/degree)")
  return figure


def with_answers(runs: Sequence[dict]) -> list[dict]:
  """Runs of which exact match says what they learned: not those of which the branch token alone was scored."""
  return [row for row in runs if score_of(row) == "exact_match_test"]


def _by_examples(runs: Sequence[dict]) -> dict[tuple[str, str], list[dict]]:
  """(problem, order) -> runs of several numbers of training examples, more than two."""
  found = by([row for row in runs if defined([row], "num_train")], lambda row: (row["problem"], row["order"]))
  return {key: rows for key, rows in found.items() if len({row["num_train"] for row in rows}) > 2}


def examples(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """Exact match against the number of distinct training examples, of all settings, in at most `most` panels. Points are seeds."""
  panels = dict(list(_by_examples(runs).items())[:most])
  if not panels:
    return None
  figure, grid = grid_of(len(panels), sharey=True)
  for axes, ((problem, order), rows) in zip(grid, panels.items()):
    lines = {", ".join(filter(None, (name, more))): lot for name, same in by(rows, lambda row: row["objective"]).items()
             for more, lot in split(same, "num_train").items()}
    for number, (name, same) in enumerate(lines.items()):
      points = [(n, defined(seeds, "exact_match_test")) for n, seeds in by(same, lambda row: row["num_train"]).items()]
      seeds_line(axes, 2 * number, points, name)
    axes.set_xscale("log")
    axes.minorticks_off()
    sizes = sorted({row["num_train"] for row in rows})
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylim(-0.02, 1.04)
    titled(axes, f"{problem}, {order}")
    axes.set_xlabel("training examples")
  grid[0].set_ylabel("exact match, test")
  top_legend(figure, grid, 2, 9)
  return figure


WHOLE = ("heat_map", "examples")  # those that are drawn of all settings, however many there are
ALL = {make.__name__: make for make in (exact_match, examples, heat_map, positions)}
