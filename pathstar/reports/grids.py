"""Figures and a table of a grid over degree, length and width. Same rules as in figures.py, which has the map of exact match.

They show all settings; figures in at most `most` panels.
"""

from collections.abc import Sequence

from matplotlib.figure import Figure

from pathstar.reports.checks import FOLLOWS, margin, plans
from pathstar.reports.figures import LINES, MARKERS, draw_maps, grid_of, in_steps, over_grid, seeds_line, titled, top_legend, with_answers
from pathstar.reports.rows import SOLVED, by, by_position, defined, ended, mean, method, on_grid, paths, split

_WIDTH = "model.width"
_FEWEST = 3  # degrees and lengths that make a grid: of fewer the table tells


def _planners(runs: Sequence[dict]) -> list[dict]:
  """Next-token runs that have an arm to choose, and ended: of one that diverged nothing is known.

  Their parameters are told by width, length and node ids, and tell no settings apart.
  """
  return [row | {"parameters": ""} for row in ended(on_grid(paths(runs))) if method(row) == "next_token" and row["chance"] < 1]


def _solved(same: Sequence[dict]) -> float:
  """The share of runs that are solved."""
  return sum(score >= SOLVED for score in defined(same, "exact_match_test")) / len(same)


def _planned(same: Sequence[dict]) -> float:
  """The share of runs that plan."""
  return sum(map(plans, same)) / len(same)


def how_short(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """How short a path must be before next-token training plans (at length 3 an arm has no inner node that could be followed).

  By length and width: exact match, seeds that plan, and when they begin to.

  The last has a line a seed, from the step at which it follows edges, into a wrong arm too (98 %), to that from which on it plans, or to a
  triangle at its last step if it doesn't.
  """
  rows = [row for row in _planners(runs) if defined([row], _WIDTH)]
  kinds = [lot for lot in by(rows, lambda row: (row["degree"], row["architecture"])).values() if len({row[_WIDTH] for row in lot}) > 1]
  name = lambda row: "" if row["architecture"] == "transformer" else row["architecture"]
  lots = {", ".join(filter(None, (f"degree {lot[0]['degree']}", name(lot[0]), more))): lot
          for kind in kinds for more, lot in split(kind, "length", _WIDTH).items() if len({row["length"] for row in lot}) > 1}
  shown = list(lots.items())[:None if most is None else most // 3]
  if not shown:
    return None
  points = by_position(curves)
  figure, grid = grid_of(3 * len(shown))
  widths = sorted({row[_WIDTH] for _, lot in shown for row in lot})
  for line, (title, lot) in enumerate(shown):
    scores, share, steps = grid[3 * line:3 * line + 3]
    for width, same in sorted(by(lot, lambda row: row[_WIDTH]).items()):
      number = widths.index(width)
      beside = 0.12 * (number - (len(widths) - 1) / 2)  # so that no width's marks lie on another's
      at = sorted(by(same, lambda row: row["length"]).items())
      seeds_line(scores, number, [(length + beside, defined(seeds, "exact_match_test")) for length, seeds in at], f"width {width}")
      share.plot([length + beside for length, _ in at], [_planned(seeds) for _, seeds in at],
                 color=str(min(0.7, 0.2 * number)), ls=LINES[number % len(LINES)], marker=MARKERS[number % len(MARKERS)], ms=5, lw=1.6)
      for length, seeds in at:
        _spans(steps, number, length + 2 * beside, seeds, points)
    scores.axhline(lot[0]["chance"], color="black", ls=(0, (1, 3)), lw=1, label="1/degree")
    for axes, said in ((scores, "exact match, test"), (share, "share of seeds that plan")):
      axes.set_ylim(-0.04, 1.04)
      axes.set_ylabel(said)
    steps.set_visible(bool(steps.lines))
    in_steps(steps)
    steps.set_ylabel("step")
    for axes in (scores, share, steps):
      axes.set_xticks([length for length in sorted({row["length"] for row in lot}) if axes is not steps or length > 3])
      axes.set_xlabel("length")
    titled(scores, title)
    titled(steps, "filled: follows edges; open: plans; triangle: the last step of one that does not")
  drawn = [axes.get_ylim() for axes in grid[2::3] if axes.get_visible()]
  for axes in grid[2::3] if drawn else ():
    axes.set_ylim(min(low for low, _ in drawn), max(high for _, high in drawn))
  top_legend(figure, grid[::3], 4, 9)
  return figure


def _spans(axes, number: int, at: float, seeds: Sequence[dict], points: dict) -> None:
  """A seed's line from the step at which it follows edges to the first at which it plans, or to its last; marks are those of its width."""
  for i, row in enumerate(seeds):
    reached = lambda position, least: next((step for step, value in points.get((row["run_id"], position), []) if value >= least), None)
    follows = reached("cheat", FOLLOWS)
    if follows is None:
      continue
    end = reached(row["branch_position"], row["chance"] + 2 * margin(row)) if plans(row) else None
    x = at + 0.05 * (i - (len(seeds) - 1) / 2)
    ends = row["steps"] if end is None else end
    axes.plot([x, x], [follows, ends], color="0.6", lw=1, zorder=1)
    axes.scatter(x, follows, s=14, color="black", marker=MARKERS[number % len(MARKERS)], zorder=3)
    axes.scatter(x, ends, s=22, facecolor="white", edgecolor="black", lw=0.8, zorder=3,
                 marker="^" if end is None else MARKERS[number % len(MARKERS)])


def _maps(runs: Sequence[dict], most: int | None, column: str, value=None) -> Figure | None:
  """Maps of those ways of training for which the column is defined; its mean, or another value of a cell's runs. None without a grid."""
  lots = {title: lot for title, lot in over_grid(runs, _FEWEST).items() if defined(lot, column)}
  return draw_maps(lots, most, value or (lambda same: mean(same, column)))


def success_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """Share of seeds that solve each degree and length (exact match of 95 % on held-out problems; hatched: not run)."""
  return _maps(with_answers(runs), most, "exact_match_test", _solved)


def branch_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """Accuracy of the first move over degree and length (mean of the seeds; hatched: no score)."""
  return _maps(runs, most, "branch_accuracy")


def cheat_map(runs: Sequence[dict], curves: Sequence[dict] = (), most: int | None = None) -> Figure | None:
  """How often a wrong arm is followed, over degree and length (mean of the seeds; hatched: no score, or no inner nodes)."""
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
