"""The paper's claims, and what the runs in results/ say of them: every verdict and number is computed from the CSV files.

The numbers of the claims are those of the talk, and those of the paper as others quote them.
"""

import dataclasses
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from pathstar.reports import checks, comparisons
from pathstar.reports.checks import EVEN, FOLLOWS, NEAR, PERFECT, STEEP, Case, Told
from pathstar.reports.rows import SOLVED, by, defined, ended, method, on_grid, paths

_GRAPHS = ("G(2,5)", "G(2,20)", "G(5,5)", "G(10,5)", "G(20,5)")  # of the paper
LONG = "length 5 and more"
Select = Callable[[Sequence[dict]], Sequence[dict]]


@dataclasses.dataclass(frozen=True)
class Claim:
  """A claim of the paper.

  Attributes:
    number: in the talk.
    config: the config that shows it; `also`: those whose runs may show it too.
    brief: what it says in a few words.
    paper: what the paper reports; `paper_at`: of a setting, by how its name begins.
    figure: of the report, which shows it.
    about: which runs of a report it is about.
    criterion: when a run, or a comparison, agrees.
    measured: what the cases of its check list.
    compares: the column in which runs must differ before they can tell, as its config lays them side by side; "": any run can.
    lot: what runs are told apart by, because they come out differently; a word each.
  """

  number: str
  config: str
  brief: str
  text: str
  paper: str
  figure: str
  about: Select
  check: Callable[[Sequence[dict]], Told]
  criterion: str
  measured: str
  compares: str = ""
  also: Sequence[str] = ()
  paper_at: Mapping[str, str] = dataclasses.field(default_factory=dict)
  lot: Callable[[dict], str] = lambda row: ""


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What one report says of a claim: how many of its runs, or comparisons, that can tell agree with it, and what they are."""

  claim: Claim
  held: int
  of: int
  found: str
  cases: Sequence[Case] = ()

  @property
  def word(self) -> str:
    """`held in k of n`, `not held in n`, or `undecided` if none can tell."""
    if self.of == 0:
      return "undecided"
    return f"held in {self.held} of {self.of}" if self.held else f"not held in {self.of}"


def interval(held: int, of: int) -> tuple[float, float]:
  """The 95 % interval of Wilson (1927) of a rate of which `held` of `of` were counted."""
  z = 1.959964
  middle, half = held + z * z / 2, z * math.sqrt(held * (of - held) / of + z * z / 4)
  return max(0.0, (middle - half) / (of + z * z)), min(1.0, (middle + half) / (of + z * z))


def by_length(row: dict) -> str:
  """At length 4 the goal is two lookups from the first move, and many runs learn to look there."""
  if not defined([row], "length"):
    return "arms of several lengths"
  return LONG if row["length"] >= 5 else f"length {row['length']}"


def _trained_by(*methods: str, has: str = "") -> Select:
  """Path-star runs of these methods that have an arm to choose, of those that have a value in the column `has`."""
  return lambda runs: [row for row in paths(runs) if method(row) in methods and row["chance"] < 1 and (not has or defined([row], has))]


def _side_by_side(runs: Sequence[dict]) -> Sequence[dict]:
  """Next-token and reversed runs: where there are several architectures, on the problems that more than one was tried on."""
  about = _trained_by("next_token", "reversed")(runs)
  tried = {problem: {row["architecture"] for row in rows} for problem, rows in by(about, lambda row: row["problem"]).items()}
  return [row for row in about if len(tried[row["problem"]]) > 1] or about


def _next_token(has: str = "") -> Select:
  return lambda runs: [row for row in _trained_by("next_token", has=has)(runs) if row["architecture"] == "transformer"]


CLAIMS = (
    Claim("1", "failure", "the arm is a guess, on train too",
          "Next-token prediction is right with probability 1/degree, on its own training set too.",
          "48 to 50 % (degree 2), 19 to 20 % (5), 8 to 10 % (10)", "exact_match",
          lambda runs: list(filter(checks.one_in_degree, _next_token()(runs))), checks.fails, "train and test are a guess",
          "exact match", also=("length",), lot=by_length,
          paper_at=dict(zip(_GRAPHS, ("48 to 50 %", "48 to 50 %", "19 to 20 %", "8 to 10 %")))),
    Claim("2", "failure", "a wrong arm is followed", "Forced onto a wrong arm, the model follows its inner nodes: the Clever Hans cheat.",
          "96 to 100 %, but for G(20,5), which no model fits", "timeline", _next_token(has="cheat_accuracy"),
          checks.follows_a_wrong_arm,
          f"accuracy at the inner nodes of the wrong arm >= {FOLLOWS}; its last token may be the goal's copy, and whether the paper counts "
          "it is not known here", "accuracy along a wrong arm",
          paper_at=dict.fromkeys(_GRAPHS[:-1], "96 to 100 %") | {"G(20,5)": "no model fits"}),
    Claim("3", "failure", "the first move is an even guess", "The first move stays a uniform guess among the legal ones.",
          "a random legal move, after 500 epochs too; trained on it alone, 50 % (degree 2), 18.9 % (5), 10.4 % (10), 4.5 % (20)",
          "first_move", lambda runs: list(filter(checks.one_in_degree, on_grid(_next_token()(runs)))), checks.indecipherable,
          f"entropy >= {EVEN} log(degree) and probability on legal moves >= {SOLVED}",
          "entropy over legal first moves, of log(degree)", lot=by_length),
    Claim("4", "timeline", "after the cheat it stays a guess", "The cheat is learned, and the first move stays a guess after it.",
          "argued", "timeline", _next_token(has="cheat_accuracy"), checks.stays_a_guess,
          f"the cheat reaches {SOLVED}, and the best score of the first move in all evaluations after is less than twice the margin of a "
          "guess above 1/degree", "the cheat is learned at; the first move after it, at best", lot=by_length),
    Claim("5", "targets", "teacherless fits train and test, or neither", "Teacherless training fits both train and test, or neither.",
          "both, or neither", "exact_match", _trained_by("teacherless"), checks.both_or_neither,
          "it fits both, or is a guess on both; less than a guess tells nothing", "exact match on test"),
    Claim("6", "targets", "the reversed path is learned", "The reversed path is learned perfectly.",
          "100 %", "exact_match", _trained_by("reversed"), checks.reaches(PERFECT, "exact_match_test", "exact match"),
          f"exact match >= {PERFECT}", "exact match"),
    Claim("7", "learning_order", "later tokens are learned first", "Where it is solved, later tokens are learned before earlier ones.",
          "a plot", "learning_order", _trained_by("reversed", "teacherless"), checks.later_first,
          "no position later than an earlier one, of runs that learn all, and not all at one evaluation; the goal, which the question "
          "names, is left out", "position, and median step of 95 % accuracy", lot=by_length),
    Claim("8", "architectures", "all architectures alike", "None of it is due to the architecture.",
          "transformers and Mamba alike", "exact_match", _side_by_side, checks.any_architecture,
          f"those of claims 1, 2 and 6: forward a guess, on train too, with cheat >= {FOLLOWS}; reversed >= {PERFECT}", "exact match",
          compares="architecture",
          also=("failure", "targets")),
    Claim("9a", "inference", "errors do not snowball",
          "Errors do not snowball: accuracy is flat in the length, and (1 - e)^length misses it.", "argued", "snowball",
          lambda runs: on_grid(_next_token()(runs)), comparisons.flat_in_length,
          "as right as the shortest path that is a guess, to the margin of one, where the errors of that one forecast less; chosen with "
          "the runs at hand", "exact match; (1 - e)^length by the errors a token of the shortest path that is a guess", compares="length"),
    Claim("9b", "inference", "no verifier helps", "A perfect verifier or backtracker around the model does no better than blind guessing.",
          "argued", "verifier", lambda runs: [row for row in runs if defined([row], "verifier/best_of_1")], checks.verifier_is_blind,
          f"at most {NEAR} above a blind guess for every k, with cheat >= {SOLVED}", "largest gain over a blind guess, of all k"),
    Claim("10", "chain_of_thought", "with the work shown it is learned",
          "With the work shown (search, or lookahead from the goal) the same model learns the task.", "argued",
          "exact_match", lambda runs: [row for row in runs if row["problem"].endswith(("search", "lookahead"))],
          checks.reaches(SOLVED, "exact_match_test", "exact match of the answer"),
          f"exact match >= {SOLVED}", "exact match of the answer"),
    Claim("11", "needle", "the first move alone is a needle in a haystack",
          "Without supervision in between, the first move is a needle in a haystack: exponential in length.",
          "never learned: 50.2, 50.4, 18.9, 10.4, 4.5 % right on G(2,5), G(2,20), G(5,5), G(10,5), G(20,5)", "steps_to_solve",
          lambda runs: on_grid(row for row in runs if row["objective"] == "branch_only"), comparisons.needle,
          f"the median step is at least {STEEP} times as large with a node more, in at least two comparisons",
          "runs that learn the first move", paper_at=dict(zip(_GRAPHS, ("50.2 % right", "50.4 %", "18.9 %", "10.4 %", "4.5 %")))),
    Claim("12", "addition", "teacherless needs fewer additions", "Teacherless training learns addition from fewer examples.",
          "a plot of the talk", "examples", lambda runs: [row for row in runs if row["task"] == "addition"], comparisons.fewer_examples,
          f"teacherless is above next-token training where they differ by more than {NEAR}", "exact match, next_token and teacherless"),
)


def verdicts(runs: Sequence[dict], source: dict) -> list[Verdict]:
  """What a report says of the claims of its config; none if its command names no claim's config."""
  return [verdict(claim, runs) for claim in CLAIMS if is_made_for(claim, runs, source)]


def is_made_for(claim: Claim, runs: Sequence[dict], source: dict) -> bool:
  """Whether a report's command, or one of several, is of the claim's config, or of another whose runs differ in what the claim compares."""
  commands = (each.get("command", "") for one in (source, *source.get("others", ())) for each in (one, *one.get("grown", ())))
  configs = set(filter(None, map(_packaged, commands)))
  return bool(claim.about(runs)) and (claim.config in configs or bool(configs & set(claim.also)) and differs(claim, runs))


def _packaged(command: str) -> str | None:
  """The packaged config that a command names, by its name or as a file in configs/; None if it names a file elsewhere."""
  try:
    words = shlex.split(command)
  except ValueError:  # not of a shell
    words = command.split()
  given = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
  given += [words[k + 1] for k, word in enumerate(words[:-1]) if word == "--config"]
  name = r"(?:(?:.*/)?configs/(?:claims/)?(\w+)\.py|(?:claims/)?(\w+))(?::.*)?"
  found = re.fullmatch(name, given[0], re.DOTALL) if given else None
  return found and (found[1] or found[2])


def differs(claim: Claim, runs: Sequence[dict]) -> bool:
  """Whether runs differ in what the claim compares, if it compares anything."""
  return not claim.compares or len({row[claim.compares] for row in claim.about(runs)}) > 1


def verdict(claim: Claim, runs: Sequence[dict]) -> Verdict:
  """What the runs of a report say of any claim."""
  about = claim.about(runs)
  known = ended(about)
  told = claim.check(known) if known else Told(0, 0, "none of these runs is of the kind that could tell")
  lost = f" {len(about) - len(known)} runs diverged and are left out." if len(known) < len(about) else ""
  return Verdict(claim, told.held, told.of, f"{told.found}.{lost}", told.cases)


def lots(claim: Claim, runs: Sequence[dict]) -> dict[str, Verdict]:
  """The verdict on the runs of a report, or on each lot of those that come out differently, by its name."""
  about = claim.about(runs)
  parts = sorted(by(about, claim.lot).items(), reverse=True) or [("", [])]
  return {name: verdict(claim, rows) for name, rows in parts}
