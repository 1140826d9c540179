"""The notebook runs as it stands, in an empty folder, and is short."""

import json
import pathlib

import numpy as np
import pytest

NOTEBOOK = pathlib.Path(__file__).parent.parent / "results" / "tour.ipynb"


def cells():
  return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_it_is_short_and_its_outputs_are_committed():
  lines = [line for cell in cells() for line in "".join(cell["source"]).splitlines() if line.strip()]
  assert len(lines) < 40
  assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
  outputs = [output for cell in cells() for output in cell["outputs"]]
  assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
  assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
  assert "/home/" not in NOTEBOOK.read_text() and "/tmp/" not in NOTEBOOK.read_text()


@pytest.mark.slow
def test_its_cells_run(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  made = {}
  for cell in cells():
    exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), made)
  run, question = made["run"], made["question"]
  assert repr(run).startswith("Run(transformer, next_token, G(2,5), step 500, ")
  [answer] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(question)]
  assert answer in (question + "0,1,2,3,4", question + "0,5,6,7,8")  # it follows an arm, right or wrong
  last = run.metrics[-1]
  assert last["eval/test/cheat_accuracy"] > 0.9 and abs(last["eval/test/exact_match"] - 0.5) < 0.1
  looked = run.attention(question, 0)[0][:, len(made["seen"]) - 1]
  assert looked.shape[1] == run.config.input_length and np.allclose(looked.sum(axis=1), 1, atol=1e-5)
