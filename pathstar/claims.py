"""The paper's claims, and what the runs in results/ say of them: every verdict and number is computed from the CSV files.

A check takes (runs, curves) of one report and returns (held, found): how many of its runs or groups agree with the claim, of
how many, and a sentence with the numbers. The numbers of the claims are those of the talk.
"""

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Callable, Sequence

from pathstar.errors import UserError
from pathstar.tables import SOLVED, by, groups, mean, method, paths, read_csv, values

NEAR = 0.05  # exact match this close to 1/degree is a guess of the arm
Check = Callable[[Sequence[dict], Sequence[dict]], tuple[int, int, str]]


@dataclasses.dataclass(frozen=True)
class Claim:
  """One claim: its number in the talk, what it says, the config and results folder that show it, the figure, the check."""

  number: str
  folder: str
  text: str
  figure: str
  check: Check


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What one report says of a claim: `held`, `held in k of n` or `not held`."""

  claim: Claim
  verdict: str
  found: str


def _next_token(runs, architecture="transformer"):
  return [row for row in paths(runs) if method(row) == "next_token" and row["architecture"] == architecture]


def _each(runs: Sequence[dict], right: Callable[[dict], bool], column: str, digits: int = 2) -> tuple[int, int, str]:
  """Counts the runs that are `right`, and lists by group the mean of a column and the number of seeds."""
  said = []
  for (problem, architecture, name, _, _), rows in groups(runs).items():
    found = values(rows, column)
    spread = f" ({min(found):.{digits}f} to {max(found):.{digits}f})" if len(found) > 1 and min(found) != max(found) else ""
    said.append(f"{problem}{'' if architecture == 'transformer' else ' ' + architecture}"
                f"{'' if name in ('next_token', 'teacherless', 'reversed') else ' ' + name} {mean(rows, column):.{digits}f}{spread}")
  seeds = {len(rows) for rows in groups(runs).values()}
  return sum(map(right, runs)), len(runs), "; ".join(said) + f"; {'/'.join(map(str, sorted(seeds)))} seeds each"


def fails(runs, curves):
  near = lambda row: all(abs(row[name] - row["chance"]) <= NEAR for name in ("exact_match_test", "exact_match_train"))
  held, of, said = _each(_next_token(runs), near, "exact_match_test")
  worst = max((abs(row["exact_match_train"] - row["exact_match_test"]) for row in _next_token(runs)), default=math.nan)
  return held, of, f"exact match {said}; train and test differ by at most {worst:.2f}"


def cheats(runs, curves):
  runs = [row for row in _next_token(runs) if values([row], "cheat_accuracy")]
  held, of, said = _each(runs, lambda row: row["cheat_accuracy"] >= 0.98, "cheat_accuracy", 3)
  return held, of, f"accuracy along a wrong arm {said}"


def indecipherable(runs, curves):
  runs = _next_token(runs)
  relative = [row | {"entropy": row["branch_entropy"] / math.log(row["degree"])} for row in runs]
  held, of, said = _each(relative, lambda row: row["entropy"] >= 0.97 and row["legal_mass"] >= 0.95, "entropy", 3)
  return held, of, f"entropy over legal first moves, of log(degree), {said}; probability on legal moves {mean(runs, 'legal_mass'):.3f}"


def cheat_comes_first(runs, curves):
  runs = _next_token(runs)
  stays = lambda row: not math.isnan(row["cheat_step"]) and row["branch_accuracy_best"] < row["chance"] + 2 * NEAR
  held, of, _ = _each(runs, stays, "cheat_step")
  best = "; ".join(f"{key[0]} {max(values(rows, 'branch_accuracy_best'), default=math.nan):.2f}" for key, rows in groups(runs).items())
  steps = values(runs, "cheat_step")
  return held, of, (f"the cheat is learned at step {min(steps, default=math.nan)} to {max(steps, default=math.nan)}; "
                    f"the best accuracy of the first move after that is {best}, of chance plus sampling noise")


def both_or_neither(runs, curves):
  runs = [row for row in runs if method(row) == "teacherless"]
  both = lambda row: min(row["exact_match_test"], row["exact_match_train"]) >= SOLVED
  alike = lambda row: abs(row["exact_match_test"] - row["exact_match_train"]) <= NEAR
  held, of, said = _each(runs, alike, "exact_match_test")
  return held, of, f"{sum(map(both, runs))} of {of} runs fit train and test, the rest neither; exact match on test {said}"


def reversed_solves(runs, curves):
  runs = [row for row in paths(runs) if method(row) == "reversed"]
  held, of, said = _each(runs, lambda row: row["exact_match_test"] >= 0.99, "exact_match_test", 3)
  return held, of, f"exact match {said}"


def later_first(runs, curves):
  held, of, said = 0, 0, []
  for (problem, _, name, _, _), rows in groups(paths(runs)).items():
    if name not in ("reversed", "teacherless"):
      continue
    steps = [[row[f"position_{k}_step_95"] for k in range(1, row["length"])] for row in rows]
    held += sum(all(a >= b for a, b in zip(run, run[1:]) if not math.isnan(b)) and not math.isnan(run[-1]) for run in
                ([math.inf if math.isnan(s) else s for s in run] for run in steps))
    of += len(rows)
    middle = [sorted(math.inf if math.isnan(run[k]) else run[k] for run in steps)[len(steps) // 2] for k in range(len(steps[0]))]
    said.append(f"{name} {problem}: " + ", ".join(f"{k + 1} at step {step:.0f}" for k, step in reversed(list(enumerate(middle)))))
  return held, of, "position, and median step of 95 % accuracy: " + "; ".join(said)


def any_architecture(runs, curves):
  near = lambda row: abs(row["exact_match_test"] - row["chance"]) <= NEAR
  right = lambda row: near(row) if method(row) == "next_token" else row["exact_match_test"] >= 0.99
  parts = []
  held = of = 0
  for name in ("next_token", "reversed"):
    count, number, said = _each([row for row in paths(runs) if method(row) == name], right, "exact_match_test")
    held, of = held + count, of + number
    parts.append(f"{name} {said}")
  return held, of, "exact match " + ". ".join(parts)


def flat_in_length(runs, curves):
  runs = _next_token(runs)
  near = lambda row: abs(row["exact_match_test"] - row["chance"]) <= NEAR < abs(row["snowball_prediction"] - row["exact_match_test"])
  held, of, said = _each(runs, near, "exact_match_test")
  _, _, forecast = _each(runs, near, "snowball_prediction")
  return held, of, f"exact match {said}; (1 - e)^length {forecast}"


def verifier_is_blind(runs, curves):
  runs = [row for row in runs if values([row], "verifier/best_of_1")]
  gains = lambda row: max((value - row[f"{name}_blind"] for name, value in row.items() if re.fullmatch(r"verifier/\w+_\d+", name)
                           and not math.isnan(value)), default=math.nan)
  runs = [row | {"gain": gains(row)} for row in runs]
  held, of, said = _each(runs, lambda row: row["gain"] <= NEAR, "gain", 3)
  return held, of, f"largest gain over a blind guess, of all k, {said}"


def shown_work(runs, curves):
  runs = [row for row in runs if row["problem"].endswith(("search", "lookahead"))]
  held, of, said = _each(runs, lambda row: row["exact_match_test"] >= SOLVED, "exact_match_test", 3)
  return held, of, f"exact match of the answer {said}"


def needle(runs, curves):
  by_length = sorted(by([row for row in runs if row["objective"] == "branch_only"], lambda row: row["length"]).items())
  middle, said = [], []
  for length, rows in by_length:
    steps = sorted(math.inf if math.isnan(row["branch_step"]) else row["branch_step"] for row in rows)
    middle.append(steps[len(steps) // 2])
    solved = sum(step < math.inf for step in steps)
    when = f", median step {middle[-1]:.0f}" if middle[-1] < math.inf else f" in {rows[0]['steps']} steps"
    said.append(f"length {length}: {solved} of {len(rows)} solved{when}")
  pairs = [a < b for a, b in zip(middle, middle[1:]) if a < math.inf]  # two censored lengths can't be told apart
  return sum(pairs), len(pairs), "; ".join(said)


def fewer_examples(runs, curves):
  held = of = 0
  said = []
  for order, rows in by(runs, lambda row: row["order"]).items():
    parts = []
    for number, same in sorted(by(rows, lambda row: row["num_train"]).items()):
      taught, free = (mean([r for r in same if r["objective"] == name], "exact_match_test") for name in ("next_token", "teacherless"))
      if max(taught, free) - min(taught, free) > 0.02:  # else the number of examples does not tell them apart
        held, of = held + (free > taught), of + 1
      parts.append(f"{number:,}: {taught:.2f}, {free:.2f}")
    said.append(f"{order} " + "; ".join(parts))
  return held, of, "exact match by number of examples, next_token and teacherless: " + ". ".join(said)


CLAIMS = (
    Claim("1", "failure", "Next-token prediction is right with probability 1/degree, on its own training set too.", "exact_match", fails),
    Claim("2", "failure", "Forced onto a wrong arm, the model follows it: the Clever Hans cheat.", "timeline", cheats),
    Claim("3", "failure", "The first move stays a uniform guess among the legal ones.", "timeline", indecipherable),
    Claim("4", "timeline", "The cheat is learned first; then nothing is left that could teach the first move.", "timeline",
          cheat_comes_first),
    Claim("5", "targets", "Teacherless training fits both train and test, or neither.", "exact_match", both_or_neither),
    Claim("6", "targets", "The reversed path is learned perfectly.", "exact_match", reversed_solves),
    Claim("7", "learning_order", "Where it is solved, later tokens are learned before earlier ones.", "learning_order", later_first),
    Claim("8", "architectures", "None of it is due to the architecture.", "exact_match", any_architecture),
    Claim("9a", "inference", "Errors do not snowball: accuracy is flat in the length, and (1 - e)^length misses it.", "snowball",
          flat_in_length),
    Claim("9b", "inference", "A perfect verifier or backtracker around the model does no better than blind guessing.", "verifier",
          verifier_is_blind),
    Claim("10", "chain_of_thought", "With the work shown (search, or lookahead from the goal) the same model learns the task.",
          "exact_match", shown_work),
    Claim("11", "needle", "Without supervision in between, the first move is a needle in a haystack: exponential in length.",
          "steps_to_solve", needle),
    Claim("12", "addition", "Teacherless training learns addition from fewer examples.", "examples", fewer_examples),
)


def verdicts(runs: Sequence[dict], curves: Sequence[dict], source: dict) -> list[Verdict]:
  """What a report says of the claims of its config; none if its command is not of configs/claims/NAME.py or architectures.py."""
  config = re.search(r"--config=\S*?(\w+)\.py", source.get("command", ""))
  return [_verdict(claim, runs, curves) for claim in CLAIMS if config and claim.folder == config[1]]


def _verdict(claim: Claim, runs, curves) -> Verdict:
  held, of, found = claim.check(runs, curves)
  word = "no run" if of == 0 else "held" if held == of else "not held" if held == 0 else f"held in {held} of {of}"
  return Verdict(claim, word, found + ".")


def scoreboard(root: pathlib.Path) -> str:
  """Markdown: one line a claim, from the reports in `root`."""
  lines = ["| claim | paper | ours | scale | verdict | figure |", "|---|---|---|---|---|---|"]
  for claim in CLAIMS:
    folder = root / claim.folder
    if not (folder / "runs.csv").exists():
      lines.append(f"| {claim.number} | {claim.text} |  |  | not run |  |")
      continue
    runs, curves = read_csv(folder / "runs.csv"), read_csv(folder / "curves.csv")
    source = json.loads((folder / "provenance.json").read_text())
    found = _verdict(claim, runs, curves)
    minutes = sum(row["train_seconds"] for row in runs) / 60
    scale = f"{', '.join(sorted(set(source.get('devices', ['unknown']))))}, {len(runs)} runs, {minutes:.0f} min"
    picture = f"[figure]({claim.folder}/{claim.figure}.png)" if (folder / f"{claim.figure}.png").exists() else ""
    ours = f"[{claim.folder}]({claim.folder}/README.md): {found.found}"
    lines.append(f"| {claim.number} | {claim.text} | {ours} | {scale} | {found.verdict} | {picture} |")
  return "\n".join(lines) + "\n"


def summary(root: pathlib.Path) -> str:
  """Markdown: claim and verdict alone, for the front page."""
  lines = [line.split(" | ") for line in scoreboard(root).splitlines()]
  return "\n".join(" | ".join([*line[:2], line[4]]) + " |" if number != 1 else "|---|---|---|" for number, line in enumerate(lines)) + "\n"


def write_scoreboard(root: pathlib.Path) -> int:
  """Writes `root`/README.md. Raises UserError if there is no report below it."""
  if not list(root.glob("*/runs.csv")):
    raise UserError(f"scoreboard = {str(root)!r}: holds no report (a folder with runs.csv)")
  (root / "README.md").write_text("\n".join([
      "# What was replicated", "",
      "Claims of the talk and paper *The pitfalls of next-token prediction* (Bachmann and Nagarajan, ICML 2024), each with what",
      "the committed runs say. Every number and verdict is computed from the CSV files beside it, by",
      "`pathstar report --scoreboard=results`.", "",
      scoreboard(root),
      "`held in k of n`: runs, or for claims 11 and 12 steps of a comparison, that agree with the claim. A guess is an exact match",
      f"within {NEAR} of 1/degree, solved is an exact match of {SOLVED} or more; both on held-out problems.", "",
      "The CPU scale is graphs of at most 24 nodes and transformers of 29 to 70 thousand parameters (see `pathstar/scales.py`); the",
      "paper's has 12 layers of width 384, 50 to 100 node ids and 200,000 training examples. The configs of all claims are ready for",
      "that scale (`scale=paper`); where the column `scale` names no GPU or TPU, it has not been run.", ""]))
  print(f"scoreboard: {root}/README.md")
  return 0
