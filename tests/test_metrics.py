"""metrics.jsonl and TensorBoard hold the same numbers, cut back to where a run resumes."""

import json
import math
import re
import time
import urllib.parse

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from pathstar.training import metrics, tensorboard


def accumulator(folder):
  events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
  events.Reload()
  return events


def scalars(folder):
  events = accumulator(folder)
  return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def write(folder, start, steps, sign=1):
  writer = metrics.Writer(folder, start)
  for step in steps:
    writer.write(step, {"train/loss": np.float32(sign * step / 4), "eval/test/loss": step})
  writer.close()


def test_rows_come_back_in_order_and_equal_tensorboards(tmp_path):
  write(tmp_path, 0, [0, 10, 20])
  assert metrics.read(tmp_path) == [{"step": s, "train/loss": s / 4, "eval/test/loss": float(s)} for s in (0, 10, 20)]
  assert scalars(tmp_path) == {"train/loss": [(0, 0.0), (10, 2.5), (20, 5.0)], "answer/test/loss": [(0, 0), (10, 10), (20, 20)]}


@pytest.mark.parametrize("start", [0, 10, 20])
def test_resuming_cuts_both_back_to_its_step(tmp_path, start):
  again = [s for s in (0, 10, 20, 30) if s > start or start == 0]
  (tmp_path / "interrupted").mkdir()
  write(tmp_path / "interrupted", 0, [0, 10, 20])
  time.sleep(1.1)  # event files are read in the order of their names, which begin with the second
  write(tmp_path / "interrupted", start, again, sign=-1)
  sign = lambda s: -1 if s in again else 1
  want = [(s, sign(s) * s / 4) for s in (0, 10, 20, 30)]
  assert [(row["step"], row["train/loss"]) for row in metrics.read(tmp_path / "interrupted")] == want
  assert scalars(tmp_path / "interrupted")["train/loss"] == want


def test_a_line_cut_short_is_passed_over_and_gone_after_resuming(tmp_path):
  write(tmp_path, 0, [0, 10, 20])
  file = tmp_path / "metrics.jsonl"
  file.write_text(file.read_text() + '{"step": 30, "train/l')
  assert [row["step"] for row in metrics.read(tmp_path)] == [0, 10, 20]
  write(tmp_path, 20, [30])
  assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [0, 10, 20, 30]


def test_numbers_that_are_undefined_are_left_out(tmp_path):
  writer = metrics.Writer(tmp_path, 0)
  writer.write(1, {"train/loss": math.nan, "train/grad_norm": np.float32(np.inf), "train/accuracy": 0.5})
  writer.close()
  assert metrics.read(tmp_path) == [{"step": 1, "train/accuracy": 0.5}]
  assert set(scalars(tmp_path)) == {"train/accuracy"}


def test_a_folder_without_metrics_has_none(tmp_path):
  assert metrics.read(tmp_path) == []


def test_flushed_rows_are_on_disk_while_the_writer_lives(tmp_path):
  writer = metrics.Writer(tmp_path, 0)
  writer.write(1, {"train/loss": 1.0})
  writer.flush()
  assert metrics.read(tmp_path) and scalars(tmp_path)
  writer.close()


def test_tensorboard_gets_the_config_a_layout_and_the_hyperparameters(tmp_path, tiny):
  writer = metrics.Writer(tmp_path, 0)
  writer.describe(tiny(), "trial")
  writer.close()
  events = accumulator(tmp_path)
  text = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
  assert "| task.degree | 2 |" in text and "| model.width | 16 |" in text
  assert "custom_scalars__config__" in events.Tags()["tensors"]
  content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
  values = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
  assert values["task.degree"].number_value == 2 and values["objective.name"].string_value == "next_token"


def test_hyperparameter_domains_are_of_one_type_each_and_stay_when_the_run_starts(tmp_path):
  domains = {"a": [1, 2, 2], "b": [None, 5], "c": [True, False], "d": ["x"]}
  (tmp_path / tensorboard.DOMAINS).write_bytes(tensorboard.domains(domains, ["eval/test/loss"]))
  write(tmp_path, 0, [0, 10])
  events = accumulator(tmp_path)
  assert len(events.Tensors("_hparams_/experiment")) == 1
  experiment = plugin_data_pb2.HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/experiment").plugin_data.content).experiment
  assert [info.name.tag for info in experiment.metric_infos] == ["answer/test/loss"]
  columns = experiment.hparam_infos
  domains = {c.name: [v.number_value or v.string_value or v.bool_value for v in c.domain_discrete.values] for c in columns}
  assert domains == {"a": [1, 2], "b": ["5", "None"], "c": [False, True], "d": ["x"]}


def test_a_chart_has_at_most_eight_lines_and_exact_match_is_first():
  for length in (2, 5, 8, 9, 20):
    pages = tensorboard.charts(length)
    assert list(pages)[0] == "exact match"
    for tags in pages["positions"].values():
      assert all(tag.startswith(("positions/", "generated/")) for tag in tags)
      places = [int(re.search(r"position_(\d+)/", tag)[1]) for tag in tags]
      assert len(places) == min(8, length) and places[0] == 0 and places[-1] == length - 1 and len(set(places)) == len(places)


def test_the_address_pins_what_tells_the_story():
  parts = urllib.parse.urlsplit(tensorboard.address(["reversed", "teacherless", "teacherless-reversed", "reversed"]))
  words = urllib.parse.parse_qs(parts.query)
  assert parts.fragment == "timeseries" and words["smoothing"] == ["0"]
  colour = re.compile(words["runColorGroup"][0].removeprefix("regex:"))
  for method in ("reversed", "teacherless", "teacherless-reversed"):
    assert colour.search(f"runs/d2-l4/transformer-{method}-d2-l4-s0-1f3a90bc")[1] == method
  pins = [pin["tag"] for pin in json.loads(words["pinnedCards"][0])]
  assert pins == ["answer/test/exact_match", "answer/train/exact_match", "branch/test/branch_accuracy", "cheat/test/cheat_accuracy"]


def test_the_answer_comes_first_and_what_nothing_declares_keeps_its_name():
  names = [f"eval/test/{name}" for name in ("position_3/accuracy", "position_3/generated_accuracy", "cheat_accuracy", "exact_match", "own")]
  tags = sorted(map(tensorboard.tag_of, [*names, "train/loss", "perf/steps_per_sec"]))
  assert tags == ["answer/test/exact_match", "cheat/test/cheat_accuracy", "eval/test/own", "generated/test/position_3/generated_accuracy",
                  "perf/steps_per_sec", "positions/test/position_3/accuracy", "train/loss"]
