"""What came of a sweep, in five plain items for a terminal; the table and the figures are in the report."""

import shutil
import textwrap
from collections.abc import Sequence

from pathstar.reports import claims
from pathstar.reports.rows import by, defined, groups, method, ordered, score_of, span, titles

_MAX_SETTINGS = 12  # that are told one by one
_LABEL = 10  # characters of the column that says what a line is
_WIDTH = 100  # of lines, if the terminal has as many


def lines(runs: Sequence[dict], more: Sequence[str] = ()) -> list[str]:
  """What was trained; what came out, every seed; against which chance; what it shows of the paper's claims; and what to do next.

  No line is wider than the terminal but those of `more`, which are commands and addresses.
  """
  told = [claims.verdict(claim, runs) for claim in claims.CLAIMS if claims.differs(claim, runs)]
  verdicts = "; ".join(f"{one.claim.number} {one.claim.brief}: {one.word}" for one in told if one.of)
  said = [*_item("trained", _what(runs)), *_item("result", *_results(runs)), *_item("chance", _chance(runs)),
          *(_item("claims", verdicts) if verdicts else ())]
  return said + [f"{'more' if number == 0 else '':<{_LABEL}}{line}" for number, line in enumerate(more)]


def _results(runs: Sequence[dict]) -> list[str]:
  """A line a setting with the score of every seed; or how many runs solve it, by method, where there are many settings."""
  settings = groups(runs)
  scores = {"exact_match_test": "exact match on held-out problems", "branch_accuracy": "first moves right on held-out problems"}
  head = " and ".join(scores[name] for name in dict.fromkeys(map(score_of, runs)))
  if len(settings) > _MAX_SETTINGS:
    solved = {name: [row[score_of(row)] >= claims.SOLVED for row in rows] for name, rows in by(runs, method).items()}
    counts = "; ".join(f"{name} {sum(solved[name])} of {len(solved[name])}" for name in ordered(solved))
    return [f"{head} reaches {claims.SOLVED} in: {counts}", "each run is in the report"]
  named = {key: title.replace("\n", ", ") for key, title in titles(settings, "method").items()}
  width = max(map(len, named.values()))
  rank = ordered(key.method for key in settings)
  score = lambda row: f"{row[score_of(row)]:.3f}" if row["status"] == "done" else row["status"]
  return [f"{head}, every seed:", *(f"  {named[key]:<{width}}  {' '.join(map(score, settings[key]))}"
                                    for key in sorted(settings, key=lambda key: rank.index(key.method)))]


def _what(runs: Sequence[dict]) -> str:
  """`6 runs: transformer on G(2,4); next_token, reversed, teacherless; seeds 0, 1`."""
  return (f"{len(runs)} runs: {_few([row['architecture'] for row in runs])} on {_few([row['problem'] for row in runs])}; "
          f"{', '.join(ordered(map(method, runs)))}; seeds {_few(sorted(row['seed'] for row in runs))}")


def _few(values: Sequence[object]) -> str:
  """The distinct values, or of many how many."""
  unique = list(dict.fromkeys(map(str, values)))
  return ", ".join(unique) if len(unique) <= 6 else f"{len(unique)} of them, {unique[0]} to {unique[-1]}"


def _chance(runs: Sequence[dict]) -> str:
  """`0.5; forced onto a wrong arm, next_token follows it in 0.98 to 1.00 of its steps`."""
  of = {chance: _few([row["problem"] for row in rows]) for chance, rows in by(runs, lambda row: f"{row['chance']:.2g}").items()}
  said = "; ".join(f"{chance} on {problems}" if len(of) > 1 else chance for chance, problems in of.items())
  cheating = [row for row in runs if defined([row], "cheat_accuracy")]
  if cheating:
    said += (f"; forced onto a wrong arm, {_few(ordered(map(method, cheating)))} follows it in "
             f"{span(cheating, 'cheat_accuracy', '.2f')} of its steps")
  return said


def _item(label: str, *texts: str) -> list[str]:
  """Lines under a label, each wrapped with what it begins with."""
  width = max(40, min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)) - _LABEL
  indent = lambda text: " " * (len(text) - len(text.lstrip()) + 2 * (label == "result"))
  wrapped = [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent=indent(text), break_on_hyphens=False)]
  return [f"{label if number == 0 else '':<{_LABEL}}{line}" for number, line in enumerate(wrapped)]
