"""Checks of claims that are about runs beside each other: longer paths beside shorter ones, ways of training at one number of examples."""

import itertools
import math

from pathstar.reports.checks import NEAR, STEEP, Case, Told, count_each, guesses, margin
from pathstar.reports.rows import answer_length, by, defined, mean, median_step, span, split


def _by_length(runs):
  """(degree, what else tells lots apart) -> length, from the shortest on -> runs that differ in their seed alone."""
  return {(degree, more): dict(sorted(by(lot, lambda row: row["length"]).items()))
          for degree, rows in by(runs, lambda row: row["degree"]).items() for more, lot in split(rows, "length").items()}


def flat_in_length(runs):
  """Paths longer than the shortest whose arm is a guess, where (1 - e)^length, with the errors a token of that one, forecasts less."""
  cases = []
  for (_, more), lengths in _by_length(runs).items():
    means = [rows[0] | {name: mean(rows, name) for name in ("exact_match_test", "token_error")} for rows in lengths.values()]
    shortest = next(filter(guesses, means), None)
    for length, rows in lengths.items():
      _, _, _, [case] = count_each(rows, lambda row: True, "exact_match_test")
      case = Case(f"{case.setting}{', ' * bool(more)}{more}", case.measured)
      if shortest and length > shortest["length"]:
        forecast, level = (1 - shortest["token_error"]) ** answer_length(rows[0]), shortest["exact_match_test"]
        off = lambda row: abs(row["exact_match_test"] - level)
        flat = [off(row) <= margin(row) and off(row) < abs(row["exact_match_test"] - forecast) for row in rows]
        told = (sum(flat), len(flat)) if level - forecast > margin(shortest) else (0, 0)  # no forecast of a fall, no test
        case = Case(case.setting, f"{case.measured}; forecast {forecast:.2f}", *told)
      cases.append(case)
  said = "; ".join(f"{case.setting} {case.measured}" for case in cases)
  return Told(sum(case.held for case in cases), sum(case.of for case in cases),
              f"exact match, and (1 - e)^length with the errors a token of the shortest path that is a guess: {said}", cases)


def needle(runs):
  lots = _by_length(runs)
  pairs, said, cases = [], [], []
  for (degree, more), lengths in lots.items():
    middle, budget, parts = {}, {}, []
    for length, same in lengths.items():
      middle[length], budget[length] = median_step(same), min(row["steps"] for row in same)
      solved = len(defined(same, "branch_step"))
      when = f", median step {middle[length]:.0f}" if middle[length] < math.inf else f" in {span(same, 'steps', '.0f')} steps"
      parts.append(f"length {length}: {solved} of {len(same)} solved{when}")
      cases.append(Case(f"{same[0]['problem']}{', ' * bool(more)}{more}", f"{solved} of {len(same)} solved{when}"))
    for (length, step), (longer, then) in itertools.pairwise(middle.items()):
      least = step * STEEP**(longer - length)
      if step < math.inf and (then < math.inf or budget[longer] >= least):  # else the budget ends before it could tell
        pairs.append(then >= least)
    said.append((f"degree {degree}{', ' * bool(more)}{more}, " if len(lots) > 1 else "") + "; ".join(parts))
  found = (f"{'. '.join(said)}. The steps at least double with every node in {sum(pairs)} of {len(pairs)} comparisons that the "
           "budget allows")
  return Told(sum(pairs), len(pairs), found, cases) if len(pairs) > 1 else Told(0, 0, found, cases)  # one step up is not yet a trend


def fewer_examples(runs):
  said, cases = [], []
  for order, rows in by(runs, lambda row: row["order"]).items():
    for more, lot in split(rows, "objective", "num_train").items():
      parts = []
      for number, same in sorted(by(lot, lambda row: row["num_train"]).items()):
        taught, free = (mean([r for r in same if r["objective"] == name], "exact_match_test") for name in ("next_token", "teacherless"))
        if math.isnan(taught - free):  # only one of them was trained on so many
          continue
        differ = abs(taught - free) > NEAR  # else the number of examples does not tell them apart
        parts.append(f"{number:,}: {taught:.2f}, {free:.2f}")
        cases.append(Case(f"{order}{', ' * bool(more)}{more}, {number:,} examples", f"{taught:.2f}, {free:.2f}",
                          int(differ and free > taught), int(differ)))
      said += [f"{order}{', ' * bool(more)}{more} " + "; ".join(parts)] * bool(parts)
  if not said:
    return Told(0, 0, "no number of examples was tried with both next_token and teacherless")
  held, of = sum(case.held for case in cases), sum(case.of for case in cases)
  return Told(held, of, f"exact match by number of examples, next_token and teacherless: {'. '.join(said)}. In {of} of {len(cases)} "
                        "comparisons they differ", cases)
