"""The paper's claims, and what the runs in results/ say of them: every verdict and number is computed from the CSV files.

A check takes the runs of one report that a claim is about, and returns (held, of, found): how many of its runs or comparisons agree
with the claim, of how many that can tell, and a sentence with the numbers. The numbers of the claims are those of the talk.
"""

import dataclasses
import math
import re
import statistics
from collections.abc import Callable, Sequence

from pathstar.reports.rows import SOLVED, answer_length, by, defined, groups, mean, median_step, method, on_grid, paths, span, split, titles

# Thresholds; rows.SOLVED is another. The criteria of the claims and the scoreboard's prose are made from them.
NEAR = 0.05  # exact matches this close are alike; this close to 1/degree, or a quarter of it if that is less, is a guess of the arm
FOLLOWS = 0.98  # accuracy along a wrong arm from which a model follows it
EVEN = 0.97  # entropy of the first move over log(degree) from which it is an even guess
PERFECT = 0.99  # exact match from which a path is learned perfectly
STEEP = 2  # factor in steps from one length to the next
Select = Callable[[Sequence[dict]], Sequence[dict]]
Check = Callable[[Sequence[dict]], tuple[int, int, str]]


@dataclasses.dataclass(frozen=True)
class Claim:
  """One claim: its number in the talk, the config that shows it, what it says, what the paper reports, the figure, the runs, the check.

  `brief`: what it says in a few words. `criterion`: when a run, or a comparison, agrees. `compares`: the column in which runs must differ
  before they can tell, as its config lays them side by side; "": any run can.
  """

  number: str
  config: str
  brief: str
  text: str
  paper: str
  figure: str
  about: Select
  check: Check
  criterion: str
  compares: str = ""


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What one report says of a claim: how many of its runs, or comparisons, that can tell agree with it, and what they are."""

  claim: Claim
  held: int
  of: int
  found: str

  @property
  def word(self) -> str:
    """`held in k of n`, `not held in n`, or `undecided` if none can tell."""
    if self.of == 0:
      return "undecided"
    return f"held in {self.held} of {self.of}" if self.held else f"not held in {self.of}"


def _trained_by(*methods: str, has: str = "") -> Select:
  """Path-star runs of these methods that have an arm to choose, of those that have a value in the column `has`."""
  return lambda runs: [row for row in paths(runs) if method(row) in methods and row["chance"] < 1 and (not has or defined([row], has))]


def _next_token(has: str = "") -> Select:
  return lambda runs: [row for row in _trained_by("next_token", has=has)(runs) if row["architecture"] == "transformer"]


def _margin(row: dict) -> float:
  return min(NEAR, row["chance"] / 4)


def _guesses(row: dict, column: str = "exact_match_test") -> bool:
  return abs(row[column] - row["chance"]) <= _margin(row)


def _each(runs: Sequence[dict], right: Callable[[dict], bool], column: str, digits: int = 2) -> tuple[int, int, str]:
  """Counts the runs that are `right`, and lists by group the mean of a column, its range, and how many are right if not all are."""
  if not runs:
    return 0, 0, "of no run"
  said, named = [], groups(runs)
  more = {key: title.partition("\n")[2] for key, title in titles(named).items()}
  for key, rows in named.items():
    problem, architecture, name, *_ = key
    found = defined(rows, column)
    inside = [f"{min(found):.{digits}f} to {max(found):.{digits}f}"] if len(found) > 1 and min(found) != max(found) else []
    inside += [f"{sum(map(right, rows))} of {len(rows)} agree"] if not all(map(right, rows)) else []
    spread = f" ({', '.join(inside)})" if inside else ""
    said.append(f"{problem}{'' if architecture == 'transformer' else ' ' + architecture}"
                f"{'' if name in ('next_token', 'teacherless', 'reversed') else ' ' + name}{', ' * bool(more[key])}{more[key]} "
                f"{mean(rows, column):.{digits}f}{spread}")
  seeds = {len(rows) for rows in named.values()}
  return sum(map(right, runs)), len(runs), "; ".join(said) + f"; {'/'.join(map(str, sorted(seeds)))} seeds each"


def _reaches(threshold: float, column: str, words: str) -> Check:
  def check(runs):
    held, of, said = _each(runs, lambda row: row[column] >= threshold, column, 3)
    return held, of, f"{words} {said}"

  return check


def fails(runs):
  near = lambda row: _guesses(row) and _guesses(row, "exact_match_train")
  held, of, said = _each(runs, near, "exact_match_test")
  worst = max(abs(row["exact_match_train"] - row["exact_match_test"]) for row in runs)
  seen = sorted({f"{epochs:.2g}" for epochs in defined((r for r in runs if defined([r], "num_train")), "epochs")}, key=float)
  often = f", after {' to '.join(seen[::max(1, len(seen) - 1)])} passes over the training set" if seen else ""
  train = "; ".join(f"{key[0]} {mean(rows, 'exact_match_train'):.2f}" for key, rows in groups(runs).items())
  return held, of, f"exact match {said}. On train {train}: at most {worst:.2f} from test{often}"


def indecipherable(runs):
  relative = [row | {"entropy": row["branch_entropy"] / math.log(row["degree"])} for row in runs]
  held, of, said = _each(relative, lambda row: row["entropy"] >= EVEN and row["legal_mass"] >= SOLVED, "entropy", 3)
  legal = "; ".join(f"degree {degree} {mean(rows, 'legal_mass'):.2f}" for degree, rows in by(relative, lambda row: row["degree"]).items())
  return held, of, f"entropy over legal first moves, of log(degree), {said}; probability on legal moves {legal}"


def cheat_comes_first(runs):
  stays = lambda row: not math.isnan(row["cheat_step"]) and row["branch_accuracy_best"] < row["chance"] + 2 * _margin(row)
  held, of, _ = _each(runs, stays, "cheat_step")
  best = "; ".join(f"{key[0]} {max(defined(rows, 'branch_accuracy_best'), default=math.nan):.2f}" for key, rows in groups(runs).items())
  steps = defined(runs, "cheat_step")
  return held, of, (f"{len(steps)} of {of} runs learn the cheat, at step {min(steps, default=math.nan)} to {max(steps, default=math.nan)}; "
                    f"the first move is right, at the best of all later evaluations, in {best}")


def both_or_neither(runs):
  fits_both = lambda row: min(row["exact_match_test"], row["exact_match_train"]) >= SOLVED
  fits_neither = lambda row: max(row["exact_match_test"], row["exact_match_train"]) <= row["chance"] + NEAR
  both, neither = sum(map(fits_both, runs)), sum(map(fits_neither, runs))
  held, of, said = _each(runs, lambda row: fits_both(row) or fits_neither(row), "exact_match_test")
  worst = max(abs(row["exact_match_train"] - row["exact_match_test"]) for row in runs)
  found = (f"{both} of {of} runs fit train and test, {neither} neither, {of - both - neither} both in part; train and test differ by at "
           f"most {worst:.2f}; exact match on test {said}")
  return (held, of, found) if neither < of else (0, 0, found)  # that nothing was learned is no evidence


def later_first(runs):
  held, of, ties, said = 0, 0, 0, []
  for (problem, _, name, *_), rows in groups(runs).items():
    steps = [[row[f"position_{k}_step_95"] for k in range(1, answer_length(row))] for row in rows]
    solved = [run for run in steps if not any(map(math.isnan, run))]
    held += sum(run[0] > run[-1] and run == sorted(run, reverse=True) for run in solved)
    of += len(solved)
    ties += sum(len(set(run)) < len(run) for run in solved)
    middle = [statistics.median(position) for position in zip(*solved)]
    said.append(f"{name} {problem}, {len(solved)} of {len(rows)} seeds solved"
                + "".join(f", {k + 1} at step {step:.0f}" for k, step in reversed(list(enumerate(middle)))))
  return held, of, f"position, and median step of 95 % accuracy: {'; '.join(said)}. Positions learned at once in {ties} runs"


def any_architecture(runs):
  fooled = lambda row: _guesses(row) and row["cheat_accuracy"] >= SOLVED
  right = lambda row: fooled(row) if method(row) == "next_token" else row["exact_match_test"] >= PERFECT
  plain, runs = ([row for row in runs if (row["architecture"] == "s5") == is_s5] for is_s5 in (True, False))
  held, of, parts = 0, 0, []
  for name in ("next_token", "reversed"):
    count, number, said = _each([row for row in runs if method(row) == name], right, "exact_match_test")
    held, of = held + count, of + number
    parts.append(f"{name} {said}")
  _, _, cheat = _each([row for row in runs if method(row) == "next_token"], right, "cheat_accuracy", 3)
  without = "; ".join(f"{name} {mean(rows, 'exact_match_test'):.2f}" for name, rows in by(plain, method).items())
  apart = f". Apart: plain S5, whose time-invariant recurrence looks no edge up, {without}" if plain else ""
  return held, of, "exact match " + ". ".join(parts) + f". Along a wrong arm {cheat}{apart}"


def flat_in_length(runs):
  right = lambda row: _guesses(row) and abs(row["snowball_prediction"] - row["exact_match_test"]) > NEAR
  held, of, said = _each(runs, right, "exact_match_test")
  _, _, forecast = _each(runs, right, "snowball_prediction")
  falls = []
  lots = ((f"degree {degree}" + (f", {more}" if more else ""), lot) for degree, rows in by(runs, lambda row: row["degree"]).items()
          for more, lot in split(rows, "length").items())
  for name, rows in lots:
    by_length = sorted(by(rows, lambda row: row["length"]).items())
    error = mean(by_length[0][1], "token_error")
    falls += [f"{name}: " + ", ".join(f"{(1 - error)**length:.2f} at {length}" for length, _ in by_length)] * (len(by_length) > 1)
  return held, of, f"exact match {said}. (1 - e)^length with each run's own e: {forecast}; with e of the shortest path {'; '.join(falls)}"


def verifier_is_blind(runs):
  def over_blind(row):
    names = [name for name in row if re.fullmatch(r"verifier/\w+_\d+", name) and not math.isnan(row[name])]
    return [row[name] - row[f"{name}_blind"] for name in names]

  runs = [row | {"gain": max(over_blind(row)), "loss": -min(over_blind(row))} for row in runs]
  held, of, said = _each(runs, lambda row: row["gain"] <= NEAR and row["cheat_accuracy"] >= SOLVED, "gain", 3)
  most = max(defined(runs, "loss"), default=math.nan)
  return held, of, f"largest gain over a blind guess, of all k, {said}; and up to {most:.2f} below it"


def needle(runs):
  lots = {(degree, more): lot for degree, rows in by(runs, lambda row: row["degree"]).items()
          for more, lot in split(rows, "length").items()}
  pairs, said = [], []
  for (degree, more), rows in lots.items():
    middle, parts = [], []
    for length, same in sorted(by(rows, lambda row: row["length"]).items()):
      middle.append(median_step(same))
      solved = len(defined(same, "branch_step"))
      when = f", median step {middle[-1]:.0f}" if middle[-1] < math.inf else f" in {span(same, 'steps', '.0f')} steps"
      parts.append(f"length {length}: {solved} of {len(same)} solved{when}")
    pairs += [STEEP * a <= b for a, b in zip(middle, middle[1:]) if a < math.inf]  # two censored lengths can't be told apart
    said.append((f"degree {degree}{', ' * bool(more)}{more}, " if len(lots) > 1 else "") + "; ".join(parts))
  found = (f"{'. '.join(said)}. The steps at least double from one length to the next in {sum(pairs)} of {len(pairs)} comparisons that the "
           "budget allows")
  return (sum(pairs), len(pairs), found) if len(pairs) > 1 else (0, 0, found)  # one step up is not yet a trend


def fewer_examples(runs):
  held = of = compared = 0
  said = []
  for order, rows in by(runs, lambda row: row["order"]).items():
    for more, lot in split(rows, "objective", "num_train").items():
      parts = []
      for number, same in sorted(by(lot, lambda row: row["num_train"]).items()):
        taught, free = (mean([r for r in same if r["objective"] == name], "exact_match_test") for name in ("next_token", "teacherless"))
        if math.isnan(taught - free):  # only one of them was trained on so many
          continue
        if abs(taught - free) > NEAR:  # else the number of examples does not tell them apart
          held, of = held + (free > taught), of + 1
        compared += 1
        parts.append(f"{number:,}: {taught:.2f}, {free:.2f}")
      said += [f"{order}{', ' * bool(more)}{more} " + "; ".join(parts)] * bool(parts)
  if not said:
    return 0, 0, "no number of examples was tried with both next_token and teacherless"
  return held, of, (f"exact match by number of examples, next_token and teacherless: {'. '.join(said)}. In {of} of {compared} comparisons "
                    "they differ")


CLAIMS = (
    Claim("1", "failure", "the arm is a guess, on train too",
          "Next-token prediction is right with probability 1/degree, on its own training set too.",
          "48 to 50 % (degree 2), 19 to 20 % (5), 8 to 10 % (10)", "exact_match", _next_token(), fails, "train and test are a guess"),
    Claim("2", "failure", "a wrong arm is followed", "Forced onto a wrong arm, the model follows it: the Clever Hans cheat.",
          "96 to 100 %, but for G(20,5), which no model fits", "timeline", _next_token(has="cheat_accuracy"),
          _reaches(FOLLOWS, "cheat_accuracy", "accuracy along a wrong arm"),
          f"accuracy at the inner nodes of the wrong arm (whether its end follows is `end_follows_arm` in runs.csv) >= {FOLLOWS}"),
    Claim("3", "failure", "the first move is an even guess", "The first move stays a uniform guess among the legal ones.",
          "argued", "first_move", lambda runs: on_grid(_next_token()(runs)), indecipherable,
          f"entropy >= {EVEN} log(degree) and probability on legal moves >= {SOLVED}"),
    Claim("4", "timeline", "the cheat comes first", "The cheat is learned first; then nothing is left that could teach the first move.",
          "argued", "timeline", _next_token(), cheat_comes_first,
          f"the cheat reaches {SOLVED}, and the best score of the first move in all evaluations after is less than twice the margin of a "
          "guess above 1/degree"),
    Claim("5", "targets", "teacherless fits train and test, or neither", "Teacherless training fits both train and test, or neither.",
          "both, or neither", "exact_match", _trained_by("teacherless"), both_or_neither, "it fits both, or neither is above a guess"),
    Claim("6", "targets", "the reversed path is learned", "The reversed path is learned perfectly.",
          "100 %", "exact_match", _trained_by("reversed"),
          _reaches(PERFECT, "exact_match_test", "exact match"), f"exact match >= {PERFECT}"),
    Claim("7", "learning_order", "later tokens are learned first", "Where it is solved, later tokens are learned before earlier ones.",
          "a plot", "learning_order",
          _trained_by("reversed", "teacherless"), later_first, "no position later than an earlier one, of runs that learn all"),
    Claim("8", "architectures", "all architectures alike", "None of it is due to the architecture.",
          "transformers and Mamba alike", "exact_match", _trained_by("next_token", "reversed"), any_architecture,
          f"a guess with cheat >= {SOLVED} forward, >= {PERFECT} reversed", "architecture"),
    Claim("9a", "inference", "errors do not snowball",
          "Errors do not snowball: accuracy is flat in the length, and (1 - e)^length misses it.", "argued", "snowball",
          lambda runs: on_grid(_next_token()(runs)), flat_in_length, f"a guess, and the forecast off by more than {NEAR}", "length"),
    Claim("9b", "inference", "no verifier helps", "A perfect verifier or backtracker around the model does no better than blind guessing.",
          "argued", "verifier", lambda runs: [row for row in runs if defined([row], "verifier/best_of_1")], verifier_is_blind,
          f"at most {NEAR} above a blind guess for every k, with cheat >= {SOLVED}"),
    Claim("10", "chain_of_thought", "with the work shown it is learned",
          "With the work shown (search, or lookahead from the goal) the same model learns the task.", "argued",
          "exact_match", lambda runs: [row for row in runs if row["problem"].endswith(("search", "lookahead"))],
          _reaches(SOLVED, "exact_match_test", "exact match of the answer"),
          f"exact match >= {SOLVED}"),
    Claim("11", "needle", "the first move alone is a needle in a haystack",
          "Without supervision in between, the first move is a needle in a haystack: exponential in length.",
          "never learned: 50.2, 50.4, 18.9, 10.4, 4.5 % right on G(2,5), G(2,20), G(5,5), G(10,5), G(20,5)", "steps_to_solve",
          lambda runs: on_grid(row for row in runs if row["objective"] == "branch_only"), needle,
          f"the median step is at least {STEEP} times as large with a node more, in at least two comparisons"),
    Claim("12", "addition", "teacherless needs fewer additions", "Teacherless training learns addition from fewer examples.",
          "a plot", "examples", lambda runs: [row for row in runs if row["task"] == "addition"], fewer_examples,
          f"teacherless is above next-token training where they differ by more than {NEAR}"),
)


def verdicts(runs: Sequence[dict], source: dict) -> list[Verdict]:
  """What a report says of the claims of its config; none if its command names no claim's config."""
  return [verdict(claim, runs) for claim in CLAIMS if is_made_for(claim, source)]


def is_made_for(claim: Claim, source: dict) -> bool:
  """Whether a report's command is of the claim's config."""
  config = re.search(r"--config=(?:\S*/)?(\w+)(?:\.py)?(?=[\s:]|$)", source.get("command", ""))
  return config is not None and config[1] == claim.config


def verdict(claim: Claim, runs: Sequence[dict]) -> Verdict:
  """What the runs of a report say of any claim."""
  about = claim.about(runs)
  held, of, found = claim.check(about) if about else (0, 0, "none of these runs is of the kind that could tell")
  return Verdict(claim, held, of, found + ".")
