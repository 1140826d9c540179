"""Figures and a table of a grid over degree, length and width. Same rules as in figures.py, which has the map of exact match.

They show all settings; figures in at most `most` panels.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pathstar.reports.checks import FOLLOWS, plans
from pathstar.reports.figures import LINES, MARKERS, draw_maps, grid_of, over_grid, seeds_line, titled, top_legend
from pathstar.reports.rows import SOLVED, by, by_position, defined, mean, method, on_grid, paths, split

_WIDTH = "model.width"
_FEWEST = 3  # degrees and lengths that make a grid: of fewer the table tells


def _planners(runs: Sequence[dict]) -> list[dict]:
  """Next-token runs that have an arm to choose. Their parameters are told by width, length and node ids, and tell no settings apart."""
  return [row | {"parameters": ""} for row in on_grid(paths(runs)) if method(row) == "next_token" and row["chance"] < 1]


def _solved(same: Sequence[dict]) -> float:
  """The share of runs that are solved."""
  return sum(score >= SOLVED for score in defined(same, "exact_match_test")) / len(same)


def how_short(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """How short a path must be before next-token training plans. By width: exact match, seeds that reach 95 %, and when they plan.

  The last is against the step at which the run follows edges, into a wrong arm too (98 %); triangles: it doesn't plan within its steps;
  larger marks: wider. At length 3 an arm has no inner node by which following could be seen.
  """
  lots = {", ".join(filter(None, (f"degree {degree}", architecture if architecture != "transformer" else "", more))): lot
          for (degree, architecture), rows in by([row for row in _planners(runs) if defined([row], _WIDTH)],
                                                 lambda row: (row["degree"], row["architecture"])).items()
          for more, lot in split(rows, "length", _WIDTH).items() if all(len({row[name] for row in lot}) > 1 for name in ("length", _WIDTH))}
  shown = list(lots.items())[:None if most is None else most // 3]
  if not shown:
    return None
  points = by_position(curves)
  figure, grid = grid_of(3 * len(shown))
  for line, (title, rows) in enumerate(shown):
    scores, share, steps = grid[3 * line:3 * line + 3]
    lengths = sorted({row["length"] for row in rows})
    for number, (width, same) in enumerate(sorted(by(rows, lambda row: row[_WIDTH]).items())):
      at = sorted(by(same, lambda row: row["length"]).items())
      seeds_line(scores, number, [(length, defined(seeds, "exact_match_test")) for length, seeds in at], f"width {width}")
      share.plot([length for length, _ in at], [_solved(seeds) for _, seeds in at],
                 color=str(min(0.7, 0.2 * number)), ls=LINES[number % len(LINES)], marker=MARKERS[number % len(MARKERS)], ms=5, lw=1.6)
      for row in same:
        follows = next((step for step, value in points.get((row["run_id"], "cheat"), []) if value >= FOLLOWS), None)
        if follows is not None:
          planned = bool(defined([row], "branch_step"))
          steps.scatter(follows, row["branch_step"] if planned else row["steps"], s=22 + 14 * number, lw=0.8, edgecolor="black",
                        marker="o" if planned else "^", facecolor=str(lengths.index(row["length"]) / (len(lengths) - 1)), zorder=3,
                        label=f"length {row['length']}")
    scores.axhline(rows[0]["chance"], color="black", ls=(0, (1, 3)), lw=1, label="1/degree")
    for axes, said in ((scores, "exact match, test"), (share, f"share of seeds >= {SOLVED}")):
      axes.set_ylim(-0.04, 1.04)
      axes.set_xticks(lengths)
      axes.set_xlabel("length")
      axes.set_ylabel(said)
    _steps_axes(steps)
    titled(scores, title)
  top_legend(figure, *grid[0].get_legend_handles_labels(), 4, 9)
  return figure


def _steps_axes(axes) -> None:
  """Both in steps; a mark a length in the legend. Above the dotted line the run follows edges first."""
  labelled = dict(zip(*axes.get_legend_handles_labels()[::-1]))
  if not labelled:
    axes.set_visible(False)
    return
  axes.set_xscale("log")
  axes.set_yscale("log")
  bounds = axes.get_xlim(), axes.get_ylim()
  low, high = min(map(min, bounds)), max(map(max, bounds))
  axes.plot([low, high], [low, high], color="0.6", ls=":", lw=1)
  axes.set_xlim(bounds[0][0] / 1.2, bounds[0][1] * 1.2)
  axes.set_ylim(bounds[1][0] / 1.2, bounds[1][1] * 1.2)
  for axis in (axes.xaxis, axes.yaxis):
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,.0f}")
    axis.set_minor_formatter(NullFormatter())
  axes.set_xlabel("step at which it follows edges")
  axes.set_ylabel("step at which it plans")
  names = sorted(labelled)
  axes.legend([labelled[name] for name in names], names, frameon=False, fontsize=7)


def _maps(runs: Sequence[dict], most: int | None, column: str, value=None) -> Figure | None:
  """Maps of those ways of training for which the column is defined; its mean, or another value of a cell's runs."""
  grid = {title: lot for title, lot in over_grid(runs).items() if defined(lot, column)
          and all(len({row[name] for row in lot}) >= _FEWEST for name in ("degree", "length"))}
  return draw_maps(grid, most, value or (lambda same: mean(same, column)))


def success_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """Share of seeds that solve each degree and length. Those whose exact match on held-out problems reaches 95 %."""
  return _maps(runs, most, "exact_match_test", _solved)


def branch_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """Accuracy of the first move over degree and length. Mean over seeds."""
  return _maps(runs, most, "branch_accuracy")


def cheat_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """How often a wrong arm is followed, over degree and length. Mean over seeds; empty at length 3, where it is not defined."""
  return _maps(runs, most, "cheat_accuracy")


def planning(runs: Sequence[dict]) -> list[str]:
  """Lines of a Markdown table: the length at which next-token training stops planning, by degree and width; none without a grid."""
  wide = any(defined([row], _WIDTH) for row in runs)
  width = lambda row: row.get(_WIDTH, "")
  lots = [(key, more, by(lot, lambda row: row["length"]))
          for key, rows in by(_planners(runs), lambda row: (row["architecture"], row["degree"], width(row))).items()
          for more, lot in split(rows, "length").items()]
  lots = [lot for lot in lots if len(lot[2]) >= _FEWEST]
  if len(lots) < 2:
    return []
  several = any(more for _, more, _ in lots)
  head = ("model", "degree", *["width"] * wide, *["setting"] * several, "runs that plan, by length", "stops planning at")
  lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
  for (architecture, degree, of_width), more, lengths in sorted(lots, key=lambda lot: (*lot[0], lot[1])):
    counts = {length: sum(map(plans, rows)) for length, rows in sorted(lengths.items())}
    known, last = list(counts), max((length for length, number in counts.items() if number), default=None)
    stops = f"{known[0]} or less" if last is None else f"more than {last}" if last == known[-1] else str(known[known.index(last) + 1])
    cells = (architecture, degree, *[of_width] * wide, *[more] * several,
             "; ".join(f"{length}: {number} of {len(lengths[length])}" for length, number in counts.items()), stops)
    lines.append("| " + " | ".join(map(str, cells)) + " |")
  return lines


ALL = {make.__name__: make for make in (how_short, success_map, branch_map, cheat_map)}
