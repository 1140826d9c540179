"""What came of a sweep, in a few plain lines for a terminal; the table and the figures are in the report."""

import textwrap
from collections.abc import Sequence

from pathstar.reports import claims
from pathstar.reports.rows import by, defined, groups, ordered, score_of, titles

_MAX_SETTINGS = 12  # that are told one by one


def lines(runs: Sequence[dict]) -> list[str]:
  """What was trained; what came out, every seed, against which chance; and what it shows of the paper's claims."""
  settings = groups(runs)
  said = [f"trained: {_what(runs)}"]
  for chance, rows in by(runs, lambda row: row["chance"]).items():
    told = {key: same for key, same in settings.items() if same[0]["chance"] == chance}
    said.append(f"exact match on held-out problems, every seed (chance {chance:.2g}):")
    if len(told) > _MAX_SETTINGS:
      solved = sum(row[score_of(row)] >= claims.SOLVED for row in rows)
      said[-1] += f" {solved} of {len(rows)} runs reach {claims.SOLVED}; each is in the report"
      continue
    named = titles(told)
    width = max(len(_flat(named[key])) for key in told)
    for key in sorted(told, key=lambda key: ordered([k.method for k in told]).index(key.method)):
      seeds = " ".join(f"{row['exact_match_test']:.3f}" if row["status"] == "done" else row["status"] for row in told[key])
      cheat = defined(told[key], "cheat_accuracy")
      follows = f"   follows a wrong arm {min(cheat):.2f}" + (f" to {max(cheat):.2f}" if min(cheat) < max(cheat) else "") if cheat else ""
      said.append(f"  {_flat(named[key]):<{width}}  {seeds}{follows}")
  found = [claims.verdict(claim, runs) for claim in claims.CLAIMS if claim.anywhere]
  if told := [f"{v.claim.number} {v.word}" for v in found if v.of]:
    said += textwrap.wrap(f"claims of the paper that these runs can tell: {', '.join(told)}", 100, subsequent_indent="  ")
  return said


def _what(runs: Sequence[dict]) -> str:
  """`6 runs: transformer on G(2,4); next_token, reversed, teacherless; 2 seeds`."""
  unique = lambda values: ", ".join(dict.fromkeys(map(str, values)))
  few = lambda values: unique(values) if len(set(values)) <= 6 else f"{len(set(values))} of them, {values[0]} to {values[-1]}"
  methods = ordered(key.method for key in groups(runs))
  return (f"{len(runs)} runs: {few([row['architecture'] for row in runs])} on {few([row['problem'] for row in runs])}; "
          f"{', '.join(methods)}; seeds {few(sorted(row['seed'] for row in runs))}")


def _flat(title: str) -> str:
  return title.replace("\n", ", ")
