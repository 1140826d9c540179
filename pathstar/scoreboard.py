"""The scoreboard of all claims, results/README.md: computed from the CSV files of the reports beside it."""

import json
import pathlib
from collections.abc import Iterable, Sequence

from pathstar.claims import CLAIMS, NEAR, verdicts
from pathstar.errors import UserError
from pathstar.tables import SOLVED, paths, read_csv, values

_CONFIGS = {claim.number: claim.config for claim in CLAIMS}


def _rows(root: pathlib.Path) -> list[list[str]]:
  """(claim, what it says, the paper, ours, scale, verdict, figure): all claims, with a row for each report in `root` of its config."""
  found = {claim.number: [] for claim in CLAIMS}
  for folder in sorted(file.parent for file in root.glob("*/curves.csv")):
    runs, source = read_csv(folder / "runs.csv"), json.loads((folder / "provenance.json").read_text())
    for verdict in verdicts(runs, source):
      file = f"{folder.name}/{verdict.claim.figure}.png"
      ours, picture = f"[{folder.name}]({folder.name}/README.md): {verdict.found}", f"[figure]({file})" if (root / file).exists() else ""
      found[verdict.claim.number].append([ours, scale(runs, source), verdict.verdict, picture])
  return [[claim.number, claim.text, claim.paper, *rest] for claim in CLAIMS for rest in found[claim.number] or [["", "", "not run", ""]]]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def table(root: pathlib.Path) -> str:
  """Markdown: all claims, from the reports in `root`."""
  return _markdown(["claim", "what it says", "the paper reports", "ours", "scale", "verdict", "figure"], _rows(root))


def summary(root: pathlib.Path) -> str:
  """Markdown for the front page: claim and verdict alone, of the report that is named as the claim's config if there are several."""
  rows = {}
  for row in sorted(_rows(root), key=lambda row: row[3].startswith(f"[{_CONFIGS[row[0]]}]")):
    rows[row[0]] = (row[0], row[1], row[5])
  return _markdown(["claim", "what it says", "verdict"], [rows[claim.number] for claim in CLAIMS])


def scale(runs: Sequence[dict], source: dict) -> str:
  """In words: hardware, number of runs and minutes, node ids, size of the models, and the note of a report."""
  devices = {"CPU" if name.startswith("cpu:") else name.split(":", 1)[-1] for name in source.get("devices", ["unknown hardware"])}
  span = lambda numbers, form: " to ".join(dict.fromkeys(form(n) for n in (min(numbers), max(numbers))))
  minutes = sum(row["train_seconds"] for row in runs) / 60
  parts = [f"{', '.join(sorted(devices))}, {len(runs)} runs, {minutes:.0f} min",
           f"models of {span([row['parameters'] for row in runs], lambda n: f'{n / 1000:,.0f} thousand')} parameters"]
  if nodes := values(paths(runs) or runs, "num_nodes"):
    parts.append(f"{span(nodes, str)} node ids")
  if "note" in source:
    parts.append(source["note"])
  return "; ".join(parts)


def write(root: pathlib.Path) -> int:
  """Writes `root`/README.md. Raises UserError if there is no report below it."""
  if not list(root.glob("*/runs.csv")):
    raise UserError(f"scoreboard = {str(root)!r}: holds no report (a folder with runs.csv)")
  (root / "README.md").write_text("\n".join([
      "# What was replicated", "",
      "Claims of the talk and paper *The pitfalls of next-token prediction* (Bachmann and Nagarajan, ICML 2024), each with what",
      "the committed runs say. Every number and verdict is computed from the CSV files beside it, by",
      "`pathstar report --scoreboard=results`. The paper's setting is a transformer of 12 layers and width 384 (and Mamba, and a",
      "pretrained GPT-2 Large, which is not replicated here) on G(2,5), G(2,20), G(5,5), G(10,5) and G(20,5), 50 or 100 node ids,",
      "200,000 training examples and up to 500 epochs. The column `scale` says what ran here: where it names no GPU or TPU, it is",
      "smaller graphs, models and budgets (`pathstar/scales.py`). Every claim's config has the paper's setting ready (`scale=paper`).",
      "Settings at the CPU scale were chosen on held-out problems, so that each way of training learns what it can in minutes.", "",
      table(root),
      "`held in k of n`: runs, or for claims 11 and 12 comparisons, that agree with the claim; `k of n agree` likewise, within one",
      f"setting. A guess is an exact match within {NEAR} of 1/degree (or a quarter of it, if that is less). A run agrees with claim 1",
      f"if train and test are a guess; 2: cheat >= 0.98; 3: entropy >= 0.97 log(degree) and probability on legal moves >= {SOLVED}; 4: the",
      f"cheat reaches {SOLVED}, and the first move is a guess ever after; 5: train and test within {NEAR} of each other; 6: exact match",
      f">= 0.99; 7: no position later than an earlier one, of runs that learn all; 8: a guess with cheat >= {SOLVED} forward, >= 0.99",
      f"reversed; 9a: a guess, and the forecast off by more than {NEAR}; 9b: at most {NEAR} above a blind guess for every k, with cheat >=",
      f"{SOLVED}; 10: exact match >= {SOLVED}; 11: the median step at least doubles with a node; 12: teacherless is above next-token",
      f"training where they differ by more than {NEAR}. Scores are of held-out problems but for `train`.", ""]))
  print(f"scoreboard: {root}/README.md")
  return 0
