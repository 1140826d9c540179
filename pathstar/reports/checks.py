"""How the paper's claims are checked: a check takes the runs of one report that a claim is about, and counts those that agree with it."""

import math
import re
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pathstar.reports.rows import SOLVED, answer_length, by, defined, groups, mean, method, span, titles

# Thresholds; rows.SOLVED is another. The criteria of the claims and the scoreboard's prose are made from them.
NEAR = 0.05  # exact matches this close are alike; this close to 1/degree, or a quarter of it if that is less, is a guess of the arm
FOLLOWS = 0.98  # accuracy along a wrong arm from which a model follows it
EVEN = 0.97  # entropy of the first move over log(degree) from which it is an even guess
PERFECT = 0.99  # exact match from which a path is learned perfectly
STEEP = 2  # factor in steps from one length to the next


class Case(NamedTuple):
  """A line of a claim's table: a setting, what was measured there, and how many of its runs agree (`of` = 0: they are not counted)."""

  setting: str
  measured: str
  held: int = 0
  of: int = 0


class Told(NamedTuple):
  """What runs say of a claim: how many of them, or of their comparisons, agree, of how many that can tell; in a sentence; case by case."""

  held: int
  of: int
  found: str
  cases: Sequence[Case] = ()


def margin(row: dict) -> float:
  return min(NEAR, row["chance"] / 4)


def one_in_degree(row: dict) -> bool:
  """Whether a guess is right with probability 1/degree; where a question may name the first move it is more often."""
  return bool(defined([row], "degree")) and math.isclose(row["chance"], 1 / row["degree"], abs_tol=1e-4)  # a CSV has six digits


def guesses(row: dict, column: str = "exact_match_test") -> bool:
  return abs(row[column] - row["chance"]) <= margin(row)


def plans(row: dict) -> bool:
  """Whether the first move is no guess: right by at least twice the margin of one above 1/degree."""
  return row["branch_accuracy"] >= row["chance"] + 2 * margin(row)


def count_each(runs: Sequence[dict], right: Callable[[dict], bool], column: str, digits: int = 2) -> Told:
  """Counts the runs that are `right`, and lists by group the mean of a column, its range, and how many are right if not all are."""
  if not runs:
    return Told(0, 0, "of no run")
  said, cases, named = [], [], groups(runs)
  more = {key: title.partition("\n")[2] for key, title in titles(named).items()}
  for key, rows in named.items():
    problem, architecture, name, *_ = key
    found = defined(rows, column)
    inside = [f"{min(found):.{digits}f} to {max(found):.{digits}f}"] if len(found) > 1 and min(found) != max(found) else []
    inside += [f"{sum(map(right, rows))} of {len(rows)} agree"] if not all(map(right, rows)) else []
    spread = f" ({', '.join(inside)})" if inside else ""
    called = (f"{problem}{'' if architecture == 'transformer' else ' ' + architecture}"
              f"{'' if name in ('next_token', 'teacherless', 'reversed') else ' ' + name}{', ' * bool(more[key])}{more[key]}")
    said.append(f"{called} {mean(rows, column):.{digits}f}{spread}")
    cases.append(Case(called, f"{mean(rows, column):.{digits}f}" + (f" ({inside[0]})" if "to" in "".join(inside[:1]) else ""),
                      sum(map(right, rows)), len(rows)))
  seeds = sorted({len(rows) for rows in named.values()})
  each = f"{' or '.join(map(str, seeds))} seed{'s' * (seeds[-1:] != [1])} each"
  return Told(sum(map(right, runs)), len(runs), "; ".join(said) + f"; {each}", cases)


def reaches(threshold: float, column: str, words: str) -> Callable[[Sequence[dict]], Told]:
  """The check that a column is at least so large."""
  def check(runs):
    held, of, said, cases = count_each(runs, lambda row: row[column] >= threshold, column, 3)
    return Told(held, of, f"{words} {said}", cases)

  return check


def is_early(row: dict) -> bool:
  """Whether a run has not learned to follow edges and is no better than a guess of the arm: what comes of its first move is open."""
  if math.isnan(row["cheat_accuracy"]):  # no arm has an inner node: who follows edges is no worse than a guess
    return row["exact_match_test"] < row["chance"] - margin(row)
  return row["cheat_accuracy"] < FOLLOWS and row["exact_match_test"] <= row["chance"] + margin(row)


def once_edges_are_followed(check: Callable[[Sequence[dict]], Told]) -> Callable[[Sequence[dict]], Told]:
  """The check of those runs that have learned to follow edges. How far the others got is said, and decides nothing."""
  def told(runs):
    early = [row for row in runs if is_early(row)]
    found = check(able) if (able := [row for row in runs if not is_early(row)]) else Told(0, 0, "")
    measured = lambda rows: f"{len(rows)} run{'s' * (len(rows) > 1)}: accuracy along a wrong arm {span(rows, 'cheat_accuracy', '.2f')}"
    cases = [Case(f"{key[0]}, edges not learned", measured(rows)) for key, rows in groups(early).items()]
    late = "; ".join(f"{case.setting}: {case.measured}" for case in cases)
    return Told(found.held, found.of, "; ".join(filter(None, (found.found, late))), [*found.cases, *cases])

  return told


def follows_a_wrong_arm(runs):
  follow = reaches(FOLLOWS, "cheat_accuracy", "accuracy along a wrong arm")(runs)
  last = [f"the last token is the arm's end in {mean(rows, 'end_follows_arm'):.2f}, the goal in {mean(rows, 'end_copies_goal'):.2f}"
          if defined(rows, "end_follows_arm") else "" for rows in groups(runs).values()]
  cases = [case._replace(measured="; ".join(filter(None, (case.measured, more)))) for case, more in zip(follow.cases, last)]
  copied = f"; its last token is a copy of the goal in {span(runs, 'end_copies_goal', '.2f')}" if defined(runs, "end_copies_goal") else ""
  return follow._replace(found=follow.found + copied, cases=cases)


@once_edges_are_followed
def fails(runs):
  near = lambda row: guesses(row) and guesses(row, "exact_match_train")
  held, of, said, cases = count_each(runs, near, "exact_match_test")
  worst = max(abs(row["exact_match_train"] - row["exact_match_test"]) for row in runs)
  train = "; ".join(f"{key[0]} {mean(rows, 'exact_match_train'):.2f}" for key, rows in groups(runs).items())
  cases = [case._replace(measured=f"{case.measured}; on train {mean(rows, 'exact_match_train'):.2f}")
           for case, rows in zip(cases, groups(runs).values())]
  return Told(held, of, f"exact match {said}. On train {train}: at most {worst:.2f} from test{_how_often(runs)}", cases)


def _how_often(runs: Sequence[dict]) -> str:
  """How often runs saw their training examples, which tells whether train could differ from test."""
  if not (fixed := [row for row in runs if defined([row], "num_train")]):
    return ", where no example comes again, so that train is a second test set"
  if len(seen := defined(fixed, "epochs")) < len(fixed):
    return ""  # an old report
  return f", after {span(fixed, 'epochs', '.3g')} epochs" + ", so that train is a second test set" * (max(seen) <= 1)


@once_edges_are_followed
def indecipherable(runs):
  relative = [row | {"entropy": row["branch_entropy"] / math.log(row["degree"])} for row in runs]
  held, of, said, cases = count_each(relative, lambda row: row["entropy"] >= EVEN and row["legal_mass"] >= SOLVED, "entropy", 3)
  legal = "; ".join(f"degree {degree} {mean(rows, 'legal_mass'):.2f}" for degree, rows in by(relative, lambda row: row["degree"]).items())
  return Told(held, of, f"entropy over legal first moves, of log(degree), {said}; probability on legal moves {legal}", cases)


@once_edges_are_followed
def stays_a_guess(runs):
  stays = lambda row: not math.isnan(row["cheat_step"]) and row["branch_accuracy_best"] < row["chance"] + 2 * margin(row)
  held, of, _, cases = count_each(runs, stays, "cheat_step")
  best = "; ".join(f"{key[0]} {max(defined(rows, 'branch_accuracy_best'), default=math.nan):.2f}" for key, rows in groups(runs).items())
  steps = defined(runs, "cheat_step")
  cases = [case._replace(measured=f"step {span(rows, 'cheat_step') or 'never'}; at best "
                                  f"{max(defined(rows, 'branch_accuracy_best'), default=math.nan):.2f}")
           for case, rows in zip(cases, groups(runs).values())]
  return Told(held, of, f"{len(steps)} of {of} runs learn the cheat, at step {min(steps, default=math.nan)} to "
                        f"{max(steps, default=math.nan)}; the first move is right, at the best of all later evaluations, in {best}", cases)


def both_or_neither(runs):
  below = "less than a guess"  # which has not learned to follow an arm, and tells nothing

  def fits(row):
    low, high = sorted((row["exact_match_test"], row["exact_match_train"]))
    if low >= SOLVED:
      return "both"
    if row["exact_match_train"] > row["exact_match_test"] + NEAR:
      return "train more than test"
    if high > row["chance"] + NEAR:
      return "both in part"
    return "neither" if high >= row["chance"] - margin(row) else below

  counts = lambda rows: ", ".join(f"{word} in {len(same)}" for word, same in sorted(by(rows, fits).items()))
  agree, tell = (lambda row: fits(row) in ("both", "neither")), (lambda row: fits(row) != below)
  _, _, said, cases = count_each(runs, lambda row: agree(row) or not tell(row), "exact_match_test")
  cases = [case._replace(measured=f"{case.measured}; fits {counts(rows)}", held=sum(map(agree, rows)), of=sum(map(tell, rows)))
           for case, rows in zip(cases, groups(runs).values())]
  worst = max(abs(row["exact_match_train"] - row["exact_match_test"]) for row in runs)
  found = (f"of {len(runs)} runs train and test are fit, {counts(runs)}; they differ by at most {worst:.2f}{_how_often(runs)}; "
           f"exact match on test {said}")
  if all(fits(row) in ("neither", below) for row in runs):  # that nothing was learned is no evidence
    return Told(0, 0, found, [case._replace(held=0, of=0) for case in cases])
  return Told(sum(case.held for case in cases), sum(case.of for case in cases), found, cases)


def later_first(runs):
  held, of, ties, said, cases = 0, 0, 0, [], []
  for (problem, _, name, *_), rows in groups(runs).items():
    steps = [[row[f"position_{k}_step_95"] for k in range(1, answer_length(row))] for row in rows]
    solved = [run[:-1] for run in steps if not any(map(math.isnan, run))]  # without the goal: it is a copy from the question
    apart = [run for run in solved if len(set(run)) > 1]  # that all is learned between two evaluations says nothing of an order
    later = sum(run[0] > run[-1] and run == sorted(run, reverse=True) for run in apart)
    held, of = held + later, of + len(apart)
    ties += sum(len(set(run)) < len(run) for run in solved)
    middle = [statistics.median(position) for position in zip(*solved)]
    order = [f"{k + 1} at step {step:.0f}" for k, step in reversed(list(enumerate(middle)))]
    said.append(", ".join([f"{name} {problem}, {len(solved)} of {len(rows)} seeds solved", *order]))
    cases.append(Case(f"{problem}, {name}", ", ".join(order) or ("the goal alone" if solved else "not solved"), later, len(apart)))
  return Told(held, of, f"position, and median step of 95 % accuracy: {'; '.join(said)}. Positions learned at once in {ties} runs", cases)


def any_architecture(runs):
  fooled = lambda row: guesses(row) and guesses(row, "exact_match_train") and not row["cheat_accuracy"] < FOLLOWS  # not defined at length 3
  right = lambda row: fooled(row) if method(row) == "next_token" else row["exact_match_test"] >= PERFECT
  plain, runs = ([row for row in runs if (row["architecture"] == "s5") == is_s5] for is_s5 in (True, False))
  held, of, parts, cases = 0, 0, [], []
  for name in ("next_token", "reversed"):
    count, number, said, lines = count_each([row for row in runs if method(row) == name], right, "exact_match_test")
    cases += [line._replace(setting=f"{line.setting}, {name}") for line in lines]
    held, of = held + count, of + number
    parts.append(f"{name} {said}")
  _, _, cheat, _ = count_each([row for row in runs if method(row) == "next_token"], right, "cheat_accuracy", 3)
  without = "; ".join(f"{name} {mean(rows, 'exact_match_test'):.2f}" for name, rows in by(plain, method).items())
  apart = f". Apart: plain S5, whose time-invariant recurrence looks no edge up, {without}" if plain else ""
  cases += [Case(f"s5 (apart), {name}", f"{mean(rows, 'exact_match_test'):.2f}") for name, rows in by(plain, method).items()]
  return Told(held, of, "exact match " + ". ".join(parts) + f". Along a wrong arm {cheat}{apart}", cases)


def verifier_is_blind(runs):
  def over_blind(row):
    names = [name for name in row if re.fullmatch(r"verifier/\w+_\d+", name) and not math.isnan(row[name])]
    return [row[name] - row[f"{name}_blind"] for name in names]

  runs = [row | {"gain": max(over_blind(row)), "loss": -min(over_blind(row))} for row in runs]
  held, of, said, cases = count_each(runs, lambda row: row["gain"] <= NEAR and row["cheat_accuracy"] >= SOLVED, "gain", 3)
  most = max(defined(runs, "loss"), default=math.nan)
  return Told(held, of, f"largest gain over a blind guess, of all k, {said}; and up to {most:.2f} below it", cases)
