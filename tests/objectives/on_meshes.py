"""Run by test_registered.py: trains objectives on meshes of four simulated devices, on the last killed too, and prints JSON."""

import json
import pathlib
import sys

import jax

jax.config.update("jax_num_cpu_devices", 4)

from pathstar import config  # noqa: E402
from pathstar.training import metrics, train  # noqa: E402


def outcome(fields, mesh, folder, die_at=None):
  """(result, metrics of a run but for wall-clock figures); `die_at`: it is killed at that step, and started again."""
  made = config.resolve(config.override(config.default(), fields | {"mesh": mesh}), given=())
  push = train.Recorder.push

  def dying(recorder, step, *args, **more):
    if step == die_at:
      raise KeyboardInterrupt
    push(recorder, step, *args, **more)

  start = lambda: train.train([made], [folder], folder / "checkpoints")
  if die_at:
    train.Recorder.push = dying
    try:
      start()
    except KeyboardInterrupt:
      train.Recorder.push = push
  [result] = start()
  timeless = lambda row: {k: v for k, v in row.items() if k != "train_seconds" and not k.startswith("perf/")}
  return timeless(result), [timeless(row) for row in metrics.read(folder)]


def main(cases, folder):
  said = {}
  for name, fields in cases.items():
    for mesh in ("model=2", "data=2,fsdp"):
      place = folder / name / mesh
      said[f"{name} on {mesh}"] = [outcome(fields, mesh, place / "whole")]
    said[f"{name} on {mesh}"].append(outcome(fields, mesh, place / "killed", die_at=120))
  print(json.dumps(said))


main(json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]))
