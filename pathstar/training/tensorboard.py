"""TensorBoard files through the tensorboard wheel's own protos, without TensorFlow."""

import io
import itertools
import json
import os
import pathlib
import re
import socket
import time
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams import summary_v2 as hparams
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.summary.writer import record_writer
from tensorboard.util import tensor_util

from pathstar import evals

# The first screen: the metrics that are pinned on the page of time series.
PINS = ("eval/test/exact_match", "eval/train/exact_match", "eval/test/branch_accuracy", "eval/test/cheat_accuracy")
# Those in the table of hyperparameters, whose parallel coordinates drop every run that lacks one: a sweep lists what all its runs have.
HPARAM_METRICS = (*PINS, "eval/test/loss")
# Of the file with a sweep's hyperparameters, which lies beside a run's own, for a file elsewhere would be one more run, without a curve.
DOMAINS = ".tfevents.hyperparameters"
_FLUSH_S = 30  # whoever reads along is at most so much behind
_numbers = itertools.count()  # of the files of this process
_MAX_LINES = 8  # of a chart that puts positions together


def tag_of(metric: str) -> str:
  """A metric's tag. The page shows tags together that begin alike, so evaluations have the group that they declare in place of `eval`."""
  first, _, rest = metric.partition("/")
  evaluation = evals.evaluation_of(rest.partition("/")[2]) if first == "eval" else None
  return metric if evaluation is None else f"{evals.EVALS[evaluation].GROUP}/{rest}"


def address(methods: Iterable[str], port: int = 6006) -> str:
  """The page that tells the story: exact match and what is behind it pinned, unsmoothed, coloured by method."""
  pins = json.dumps([{"plugin": "scalars", "tag": tag_of(metric)} for metric in PINS], separators=(",", ":"))
  names = "|".join(re.escape(name) for name in sorted(set(methods), key=len, reverse=True))  # teacherless-reversed before teacherless
  words = {"pinnedCards": pins, "smoothing": "0", "runColorGroup": f"regex:-({names})-"}
  return f"http://localhost:{port}/?{urllib.parse.urlencode(words)}#timeseries"


def charts(num_positions: int) -> dict[str, dict[str, list[str]]]:
  """The custom-scalars page of a run: exact match first; of a long answer some positions, both ends among them."""
  step = max(1, (num_positions - 1) / (_MAX_LINES - 1))
  places = sorted({round(i * step) for i in range(min(num_positions, _MAX_LINES))})
  exactly = lambda metric: tag_of(metric) + "$"
  positions = {f"{name} on {split}": [exactly(f"eval/{split}/position_{k}/{name}") for k in places]
               for name in ("accuracy", "loss", "generated_accuracy") for split in ("test", "train")}
  return {"exact match": {"exact match": [exactly(f"eval/{split}/exact_match") for split in ("test", "train")]}, "positions": positions}


def domains(values: Mapping[str, Sequence[object]], metrics: Iterable[str]) -> bytes:
  """The file DOMAINS: a sweep's hyperparameters with all their values, and its metrics; there before the first run starts.

  TensorBoard's table shows five columns unless told otherwise, and takes those that are marked as different first.
  """
  columns = [hparams.HParam(name, hparams.Discrete(_one_type(of))) for name, of in values.items()]
  measures = [hparams.Metric(tag_of(metric), display_name=metric.removeprefix("eval/")) for metric in metrics]
  summary = hparams.hparams_config_pb(columns, measures)
  plugin_data = summary.value[0].metadata.plugin_data
  content = plugin_data_pb2.HParamsPluginData.FromString(plugin_data.content)
  for info in content.experiment.hparam_infos:
    info.differs = len(_one_type(values[info.name])) > 1
  plugin_data.content = content.SerializeToString()
  file = io.BytesIO()
  writer = record_writer.RecordWriter(file)
  # Before all steps: the run's own file begins by dropping what a start before it may have left, from step 0 on.
  for event in (event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"),
                event_pb2.Event(wall_time=time.time(), step=-1, summary=summary)):
    writer.write(event.SerializeToString())
  return file.getvalue()


class Events:
  """One event file in `folder`. There is one writer per folder."""

  def __init__(self, folder: pathlib.Path, start_step: int = 0):
    # Written from here, not by a thread of its own, as the wheel's writer does: what goes wrong is then an error of the run.
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
    self._file = open(folder / name, "xb")
    self._writer, self._flushed = record_writer.RecordWriter(self._file), time.monotonic()
    self._add(event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2"))
    # Tells readers to drop what an interrupted start wrote after its last checkpoint; all of it if there was none.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._add(event_pb2.Event(wall_time=time.time(), step=start_step + 1 if start_step else 0, session_log=start))

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    self._summary(step, [summary_pb2.Summary.Value(tag=tag_of(metric), simple_value=value) for metric, value in values.items()])

  def text(self, step: int, tag: str, markdown: str) -> None:
    self._tensor(step, tag, [markdown.encode()], text_metadata.create_summary_metadata("", ""))

  def image(self, step: int, tag: str, png: bytes, width: int, height: int) -> None:
    content = [str(width).encode(), str(height).encode(), png]
    self._tensor(step, tag, content, image_metadata.create_summary_metadata("", ""))

  def layout(self, charts: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Custom-scalars page: {category: {chart: [tag patterns]}}."""
    categories = [
        layout_pb2.Category(title=category, chart=[
            layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
            for title, tags in lines.items()])
        for category, lines in charts.items()
    ]
    content = layout_pb2.Layout(category=categories).SerializeToString()
    self._tensor(0, custom_scalar.CONFIG_SUMMARY_TAG, [content], custom_scalar.create_summary_metadata())

  def hparams(self, values: Mapping[str, object], trial: str) -> None:
    """The hyperparameters of the run in this folder."""
    self._add(event_pb2.Event(wall_time=time.time(), summary=hparams.hparams_pb(plain(values), trial_id=trial)))

  def flush(self) -> None:
    self._file.flush()
    self._flushed = time.monotonic()

  def close(self) -> None:
    self._file.close()

  def _add(self, event) -> None:
    self._writer.write(event.SerializeToString())
    if time.monotonic() - self._flushed > _FLUSH_S:
      self.flush()

  def _summary(self, step: int, values) -> None:
    self._add(event_pb2.Event(wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=values)))

  def _tensor(self, step: int, tag: str, content: list[bytes], metadata) -> None:
    tensor = tensor_util.make_tensor_proto(np.array(content, dtype=object))
    self._summary(step, [summary_pb2.Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


def plain(values: Mapping[str, object]) -> dict[str, object]:
  """Values as the HParams plugin takes them: numbers, booleans and text."""
  return {name: value if isinstance(value, bool | int | float | str) else str(value) for name, value in values.items()}


def _one_type(values: Sequence[object]) -> list:
  """Distinct values of one type, as a discrete domain needs them."""
  values = sorted(set(plain(dict(enumerate(values))).values()), key=str)
  return values if len({type(v) for v in values}) == 1 else [str(v) for v in values]


def png_of(figure) -> tuple[bytes, int, int]:
  """A matplotlib figure as PNG bytes, width and height in pixels."""
  buffer = io.BytesIO()
  figure.savefig(buffer, format="png", dpi=100)
  width, height = (int(x) for x in figure.get_size_inches() * 100)
  return buffer.getvalue(), width, height
