"""Each kind of task through a whole run: data, training, decoding, picture and report."""

import csv

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from pathstar.commands import report as report_command
from pathstar.tasks import draw
from pathstar.training import data, train

SHORT = {"data.num_train": 40, "data.num_test": 40, "train.num_steps": 5, "train.log_every": 5, "train.checkpoint_every": 5,
         "eval.every": 5}


@pytest.mark.parametrize("fields, row", [
    pytest.param({"task.name": "addition"},
                 {"task": "addition", "problem": "3-digit addition", "degree": "", "length": "", "num_nodes": ""},
                 marks=pytest.mark.slow),
    pytest.param({"task.target": "search"},
                 {"task": "path_star", "problem": "G(2,4) search", "degree": "2", "length": "4", "num_nodes": "12"},
                 marks=pytest.mark.slow),
])
def test_a_run_of_any_task_ends_with_a_score_and_a_report(tiny, tmp_path, fields, row):
  config = tiny(SHORT | fields)
  [result] = train.train([config], [tmp_path / "run"], tmp_path / "run" / "checkpoints")
  assert result["status"] == "done" and 0 <= result["eval/test/exact_match"] <= 1
  assert report_command.main(["--workdir", str(tmp_path)]) == 0
  with open(tmp_path / "report" / "runs.csv", newline="") as file:
    [written] = csv.DictReader(file)
  assert {name: written[name] for name in row} == row
  assert float(written["exact_match_test"]) == pytest.approx(result["eval/test/exact_match"])
  assert report_command.main(["--out", str(tmp_path / "report")]) == 0  # and again from the CSV files alone


@pytest.mark.parametrize("fields", [{"task.name": "addition"}, {"task.target": "search"}, {"task.target": "lookahead"}, {}])
def test_the_picture_shows_the_right_answer_as_right(tiny, fields):
  config = tiny(fields)
  example = {name: value[0] for name, value in data.eval_examples(config, "test").items()}
  answer = example["target"][example["answer"]]

  def text(answer):
    figure = draw.figure(config.task, example, answer)
    return " ".join(x.get_text() for x in [*figure.texts, *(axes.title for axes in figure.axes)])

  two = {name: np.stack([value, value]) for name, value in example.items()}
  many = draw.gallery(config.task, two, np.stack([answer, np.full_like(answer, config.task.dummy)]), "reversed, step 3")
  assert many.get_suptitle() == "reversed, step 3: 1 of 2 right" and f"(chance {config.task.chance:.2g})" in many.get_supxlabel()
  verdicts = [x.get_text() for x in many.findobj(Text)]
  assert sum("right" in said for said in verdicts) == 2 and sum("wrong" in said for said in verdicts) == 1  # and of the figure's title
  long = draw.gallery(config.task, two, np.stack([answer, answer]), "joint_multi_token, reversed, on something, step 100000 of 200000")
  for figure in (many, long):
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [x.get_window_extent(renderer) for x in figure.findobj(Text) if x.get_text()]
    assert len(boxes) > 3 and all(figure.bbox.fully_contains(*corner) for box in boxes for corner in (box.min, box.max))
  if "arms" in example:
    assert "(right)" in text(answer) and "(wrong)" in text(np.roll(answer, 1))
  else:
    [line] = config.task.to_text({name: value[None] for name, value in example.items()})
    assert text(answer).count(line) == 2 and text(np.full_like(answer, config.task.dummy)).count(line) == 1
