"""The scoreboard of all claims, results/README.md: a section a claim, computed from the CSV files of the reports beside it."""

import collections
import math
import pathlib
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pathstar.errors import UserError
from pathstar.presets import PAPER_TOPOLOGIES
from pathstar.reports.checks import is_early, margin
from pathstar.reports.claims import CLAIMS, LONG, NEAR, Claim, Verdict, differs, interval, is_made_for, lots, verdict
from pathstar.reports.csv_files import is_of_runs, read_report
from pathstar.reports.rows import by, defined, ended, groups, mean, method, on_grid, paths, score_of
from pathstar.reports.scale import GRAPHS, PAPER, SCALES, scale_of
from pathstar.storage import workdir

_TITLE = "# What was replicated"


class Report(NamedTuple):
  """A committed report, or those of its runs that are of one scale.

  Attributes:
    name: its folder, as seen from the page: `failure`, `objectives/ladder`.
    runs: rows of its runs.csv.
    source: its provenance.json.
  """

  name: str
  folder: pathlib.Path
  runs: list[dict]
  source: dict

  @property
  def scale(self) -> str:
    return scale_of(self.runs[0])

  @property
  def link(self) -> str:
    return f"[{self.name}]({self.name}/README.md)"


def read(root: pathlib.Path) -> list[Report]:
  """All reports of runs below `root`, once for every scale of their runs; the smallest scale first. Raises UserError if there is none."""
  folders = sorted(file.parent for file in root.rglob("runs.csv") if is_of_runs(file.parent))
  found = [Report(folder.relative_to(root).as_posix(), folder, rows, workdir.read_json(folder / "provenance.json"))
           for folder in folders for rows in by(read_report(folder, "runs"), scale_of).values()]
  if not found:
    raise UserError(f"scoreboard = {str(root)!r}: holds no report of runs (a folder with runs.csv)")
  return sorted(found, key=lambda report: SCALES.index(report.scale))


def _verdicts(reports: Sequence[Report]) -> list[tuple[list[tuple[Report, Verdict]], list[tuple[Report, Verdict]]]]:
  """For every claim: what the reports of its config say, and what the same check says of the others that can tell.

  A report whose provenance has `superseded_by` is of an earlier setting, and one of the others.
  """
  found = []
  for claim in CLAIMS:
    own, others = [], []
    for report in reports:
      made_for_it = is_made_for(claim, report.runs, report.source)
      if not made_for_it and not differs(claim, report.runs):
        continue
      said = verdict(claim, report.runs)
      if made_for_it and "superseded_by" not in report.source:
        own.append((report, said))
      elif said.of:
        others.append((report, said))
    found.append((own, others))
  return found


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def _of_lot(text: str, lot: str) -> str:
  return f"{text.rstrip('.')} ({lot})." if lot else text


def _rate(held: int, of: int) -> str:
  """`12 of 12 (76 to 100 %)`: how many agree, with the 95 % interval of the rate."""
  low, high = interval(held, of)
  return f"{held} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


def _counts(claim: Claim, reports: Iterable[Report]) -> dict[tuple[str, str], tuple[int, int]]:
  """How many runs agree with a claim, of those that can tell, in all of these reports, by scale and lot."""
  found = {}
  for report in reports:
    for lot, said in lots(claim, report.runs).items():
      held, of = found.get((report.scale, lot), (0, 0))
      if said.of:
        found[report.scale, lot] = (held + said.held, of + said.of)
  return found


def overview(reports: Sequence[Report], page: str) -> str:
  """Markdown: a line a claim and lot of runs, the scales side by side: `4 of 4 + 7 of 9` agree in reports of its config + in all others.

  `page`: of the sections that claims link to.
  """
  rows = []
  for claim, (own, others) in zip(CLAIMS, _verdicts(reports)):
    told, elsewhere = collections.defaultdict(list), _counts(claim, [report for report, _ in others])
    for report, _ in own:
      for lot, said in lots(claim, report.runs).items():
        told[report.scale, lot].append(f"{said.held} of {said.of}" if said.of else said.word)
    text = claim.text
    for lot in dict.fromkeys([lot for _, lot in (*told, *elsewhere)] or [""]):
      beside = {scale: f" + {held} of {of}" for scale in SCALES for held, of in [elsewhere.get((scale, lot), (0, 0))] if of}
      rows.append([f"[{claim.number}]({page}#claim-{claim.number})", _of_lot(text, lot),
                   *((", ".join(told[scale, lot]) + beside.get(scale, "")).strip() for scale in SCALES)])
      text = "The same."
  return _lines(["claim", "what it says", "small graphs", *SCALES[1:]], rows)


def summary(reports: Sequence[Report]) -> str:
  """Markdown: a line a claim, report of its config, scale, and lot of runs."""
  rows = []
  before = {(one.name, one.source["superseded_by"]) for one in reports if "superseded_by" in one.source}  # each once, at any scale
  earlier = collections.Counter(name for _, name in before)
  of_several = lambda name: f", the last of {earlier[name] + 1} settings" if earlier[name] else ""
  for claim, (own, others) in zip(CLAIMS, _verdicts(reports)):
    elsewhere = _counts(claim, [report for report, _ in others])
    number, text = f"[{claim.number}](#claim-{claim.number})", claim.text
    said_of = [((report.scale, lot), f"{report.link}: {_where(report)}{of_several(report.name)}", said)
               for report, _ in own for lot, said in lots(claim, report.runs).items()]
    told = {place for place, *_ in said_of}
    said_of += [(place, place[0], None) for place in elsewhere if place not in told]
    for place, where, said in said_of or [(("", ""), "", None)]:
      (held, of), lot = elsewhere.pop(place, (0, 0)), place[1]
      counted = "no report of its own" if said is None else _rate(said.held, said.of) if said.of else said.word
      rows.append([number, _of_lot(text, lot), where, counted, f"{held} of {of}" if of else ""])
      text = "The same."
  return _lines(["claim", "what it says", "where", "runs that agree", "other runs"], rows)


def held_out(reports: Sequence[Report]) -> str:
  """In a sentence: how many next-token runs of length 5 and more are above a guess on held-out problems; nothing if there are none."""
  claim = CLAIMS[0]
  runs = [(report.name, row) for report in reports for row in claim.about(report.runs)
          if row["status"] == "done" and claim.lot(row) == LONG]
  above = [(name, row) for name, row in runs if row["exact_match_test"] > row["chance"] + margin(row)]
  which = "; ".join(f"{name}, {problem}: " + ", ".join(f"{row['exact_match_test']:.2f}" for _, row in same)
                    for (name, problem), same in by(above, lambda one: (one[0], one[1]["problem"])).items())
  early = sum(is_early(row) for _, row in runs)
  told = f"{len(above) or 'none'} {'are' if len(above) > 1 else 'is'} above a guess on problems that training has not seen"
  return (f"Of all {len(runs)} runs of a transformer by next-token prediction at length 5 and more where a guess is 1/degree"
          f"{f' ({early} before they follow edges)' * bool(early)}, {told}{f' ({which})' * bool(above)}." if runs else "")


def graphs(reports: Sequence[Report]) -> str:
  """Markdown: a line for each of the paper's graphs, of a small model and of its own, and report: exact match by way of training, with the
  number of seeds; of next_token on train too, and whether it follows edges and is even about the first move; minutes of training."""
  early = lambda rows: f", {count} before it knows the edges" if (count := sum(map(is_early, rows))) else ""
  scores = lambda rows: f"{mean(rows, score_of(rows[0])):.2f} ({len(rows)}{early(rows)})"
  entropy = lambda rows: f"{mean(rows, 'branch_entropy') / math.log(rows[0]['degree']):.2f}"
  of = lambda column: lambda rows: f"{mean(rows, column):.2f}"
  told = {"on train": of("exact_match_train"), "cheat": of("cheat_accuracy"), "legal mass": of("legal_mass"), "entropy": entropy}
  columns = {"next_token": ("next_token", scores)} | {name: ("next_token", say) for name, say in told.items()}
  columns |= {name: (name, scores) for name in ("reversed", "teacherless", "branch_only")}

  def line(pair, report, shown):
    here = [row for row in shown if row["problem"] == f"G({pair[0]},{pair[1]})"]
    model = lambda key: "" if key.architecture == "transformer" else f"{key.architecture} "
    alike = lambda name: groups([row for row in here if method(row) == name]).items()
    cell = lambda name, say: "; ".join(f"{model(key)}{say(rows)}" for key, rows in alike(name))
    minutes = f"{sum(defined(here, 'train_seconds')) / 60:.0f}"
    start = [f"G({pair[0]},{pair[1]})", models[report.scale], report.link, f"{1 / pair[0]:.2f}"]
    return [*start, *(cell(*column) for column in columns.values()), minutes] if here else []

  models = {GRAPHS: "small", PAPER: "the paper's size"}
  kept = [(report, [row for row in ended(on_grid(paths(report.runs))) if method(row) in columns])
          for report in reports if report.scale in models and "superseded_by" not in report.source]
  lines = [line(pair, *report) for pair in PAPER_TOPOLOGIES for report in kept]
  return _lines(["graph", "model", "report", "1/degree", *columns, "minutes"], list(filter(None, lines)))


def markdown(reports: Sequence[Report]) -> str:
  """Markdown: a section a claim, with a part for each report of the claim's config."""
  parts = []
  for claim, (own, others) in zip(CLAIMS, _verdicts(reports)):
    parts += [f'<a id="claim-{claim.number}"></a>', f"## {claim.number}. {claim.text}", "",
              f"The paper: {claim.paper}. Criterion: {claim.criterion}.", ""]
    parts += [line for report, said in own for line in _section(report, said)]
    parts += [] if own else ["Not run.", ""]
    if others:
      parts += ["Other runs, by the same check: " + "; ".join(
          f"{report.link} " + ", ".join(
              f"{one.held} of {one.of}" + f" at {lot}" * bool(lot) for lot, one in lots(claim, report.runs).items() if one.of)
          for report, _ in others) + ".", ""]
  return "\n".join(parts)


def _section(report: Report, said: Verdict) -> list[str]:
  """What one report says of a claim: verdict, table, figure."""
  claim = said.claim
  words = [(f"{_rate(one.held, one.of)} agree" if one.of else one.word) + f" at {lot}" * bool(lot)
           for lot, one in lots(claim, report.runs).items()]
  at = lambda case: next((text for start, text in claim.paper_at.items() if case.setting.startswith(start)), "")
  counted, compared = any(case.of for case in said.cases), any(at(case) for case in said.cases)
  head = ["setting", claim.measured, *["runs that agree"] * counted, *["the paper"] * compared]
  rows = [[case.setting, case.measured, *[_rate(case.held, case.of) if case.of else ""] * counted, *[at(case)] * compared]
          for case in said.cases]
  return [f"{report.link}: **{'; '.join(words)}**. {_setting(report)}.", "",
          *([_lines(head, rows)] if rows else [said.found, ""]),
          *([f"![{claim.text}]({report.name}/{claim.figure}.png)", ""] if (report.folder / f"{claim.figure}.png").exists() else [])]


def _where(report: Report) -> str:
  """The scale of a report, if it is not that of a CPU's small graphs, and its hardware."""
  devices = {"CPU" if name.startswith("cpu:") else name.split(":", 1)[-1] for name in report.source.get("devices", ["unknown hardware"])}
  return ", ".join(filter(None, (report.scale, *sorted(devices))))


def _setting(report: Report) -> str:
  """In words: scale and hardware, number of runs and minutes, node ids, size of the models, and the note of a report."""
  runs = report.runs
  span = lambda numbers, form: " to ".join(dict.fromkeys(form(n) for n in (min(numbers), max(numbers))))
  minutes = sum(row["train_seconds"] for row in runs) / 60
  where = _where(report)
  parts = [f"{where[0].upper()}{where[1:]}, {len(runs)} runs, {minutes:.0f} min",
           f"models of {span([row['parameters'] for row in runs], lambda n: f'{n / 1000:,.0f} thousand')} parameters"]
  if nodes := defined(paths(runs) or runs, "num_nodes"):
    parts.append(f"{span(nodes, str)} node ids")
  if "note" in report.source:
    parts.append(report.source["note"])
  return "; ".join(parts)


def write(root: pathlib.Path, reports: Sequence[Report]) -> None:
  """Writes `root`/README.md. Raises UserError if there is one that is none of ours."""
  page = root / "README.md"
  if page.exists() and not page.read_text().startswith(_TITLE):
    raise UserError(f"scoreboard = {str(root)!r}: its README.md is not a scoreboard, and is not overwritten")
  workdir.write_text(page, "\n".join([
      _TITLE, "",
      *(textwrap.fill(text, 130, break_long_words=False, break_on_hyphens=False) + "\n" for text in (
          "Claims of the paper *The pitfalls of next-token prediction* (Bachmann and Nagarajan, ICML 2024) and of its authors' talk on it, "
          "each with what the committed runs say. Every number, verdict and table is computed from the CSV files beside this page, by "
          "`pathstar report --scoreboard=results`. The paper's setting is a transformer of 12 layers and width 384 (and Mamba, and a "
          "pretrained GPT-2 Large, which is not replicated here) on G(2,5), G(2,20), G(5,5), G(10,5) and G(20,5), 50 or 100 node ids, "
          "200,000 training examples and up to 500 epochs. Where no GPU or TPU is named, what ran here is far smaller graphs, models and "
          "budgets (`pathstar/presets.py`), or, where it says so, a small model on the paper's graphs (`scale=graphs`); every claim's "
          "config has a setting of the paper's model, graphs and data too, for up to 100 epochs (`scale=paper`). Which scale a run is of "
          "goes by its graph, its node ids and the size of its model. The paper's numbers stand here as later work and notes on it quote "
          "them.",
          "Settings at the CPU scale were chosen by trials on the same test split, so that each way of training learns what it can in "
          "minutes, and for next-token prediction so that the cheat is learned well and the guess is even: they are a selection. Reports "
          "of earlier settings stay beside the last, whose line says so, and `other runs` counts, by the same check, every report that "
          "can tell.",
          "Rates are of runs (for claims 11 and 12: of comparisons) that agree, of those that can tell, with Wilson's 95 % interval of "
          "seeds alone, which in a line of this table pools the graphs of a report, and below is of each setting; numbers are means over "
          f"seeds, with their range. A guess is an exact match within {NEAR} of 1/degree (or a quarter "
          "of it, if that is less). Scores are of held-out problems but for `train`. Lengths 3 and 4 are told apart: there the goal is one "
          "and two lookups from the first move, and in the paper all paths are longer. That was decided when runs at length 4 were seen to "
          "plan; their node ids and numbers of steps are not those of length 5.",
          "A run that has not learned to follow edges, and is no better than a guess, decides nothing of claims 1, 3 and 4, a rule that "
          "came with the first runs of that kind; it has a line in their tables, and counts in claim 2, where only the inner nodes of an "
          "arm are scored. Train and test can differ only where training examples come again (`epochs`): most runs here see each once.")),
      *(f"{said}\n" for said in [held_out(reports)] if said), summary(reports), "## The paper's graphs", "",
      textwrap.fill((
          "Exact match on held-out problems (of branch_only: of the first move), with the number of seeds; empty: not run. Of next_token "
          "on training problems too, how often it follows a wrong arm, and of its first move the probability on legal ones and the entropy "
          "among these over log(degree). Minutes are those that the line's runs trained, alone or beside others."), 120), "",
      graphs(reports), markdown(reports)]))
