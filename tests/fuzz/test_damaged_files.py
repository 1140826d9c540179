"""Damaged files of a run or a sweep: one line and a stop, or a result equal to the last bit; nothing else, and never a traceback."""

import contextlib
import json
import shutil
import traceback

import pytest

from pathstar.commands import cli
from pathstar.commands import sweep as sweep_command
from pathstar.errors import UserError
from pathstar.reports.collect import collect
from pathstar.storage import results, workdir
from pathstar.sweeps.folder import PLAN, SPLIT
from pathstar.training import ahead, metrics, program, train

pytestmark = pytest.mark.slow

FULL, PART = 520, 30


class Killed(BaseException):
  """Stands in for kill -9."""


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
  """What is compiled for a pack is there for the next one: only what is read and written is tried here."""
  memory = {}

  def remembered(configs, mesh):
    key = json.dumps([dict(c.fields) for c in configs]), mesh
    if key not in memory:
      memory[key] = program.compile_program(configs, mesh)
    return memory[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(ahead, "compile_program", remembered)
    yield


@pytest.fixture(scope="module")
def sweep(tiny, tmp_path_factory):
  """(command, whole, halves): a sweep of a pack of two runs and of one that was split, never interrupted; and killed in either."""
  root = tmp_path_factory.mktemp("sweep")
  fields = tiny.fields | {"train.num_steps": 40, "data.num_test": 50, "eval.num_examples": 20}
  (root / "grid.py").write_text(
      f"from pathstar.config import default, override\n\ndef get_config():\n  return override(default(), {fields!r})\n\n"
      "def sweep():\n  return [{'seed': 0}, {'seed': 1}, {'task.degree': 3, 'seed': 0}, {'task.degree': 3, 'seed': 1}]\n")
  command = lambda folder, *more: cli.run(sweep_command.main, [f"--config={root / 'grid.py'}", f"--workdir={folder}", *more])
  push = train.Recorder.push

  def pushed(dies_in, recorder, step, *args, **more):
    names = " ".join(writer._folder.name for writer in recorder._writers)
    if step == 15 and names.count("-d3-") == 2:
      raise RuntimeError("a bit fell over")
    if step == 35 and dies_in in names:
      raise Killed
    push(recorder, step, *args, **more)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train.Recorder, "push", lambda recorder, *args, **more: pushed("nobody", recorder, *args, **more))
    assert command(root / "whole") == 0 and len(list(root.glob("whole/packs/*/split.json"))) == 1
    for dies_in in ("-d2-", "-d3-l4-s1"):
      patch.setattr(train.Recorder, "push", lambda recorder, *args, _in=dies_in, **more: pushed(_in, recorder, *args, **more))
      with pytest.raises(Killed):
        command(root / dies_in)
  return command, root / "whole", [root / "-d2-", root / "-d3-l4-s1"]


def outcome(folder):
  """Every finished run's numbers, wall-clock figures apart."""
  timeless = lambda row: {k: v for k, v in row.items() if k != "train_seconds" and not k.startswith("perf/")}
  return {run.name: (timeless(json.loads((run / workdir.RESULT).read_text())), [timeless(row) for row in metrics.read(run)])
          for run in (folder / "runs").iterdir() if (run / workdir.RESULT).exists()}


def files_of(folder):
  """All that is read again, by kind."""
  of = lambda pattern: sorted(p for p in folder.glob(pattern) if p.is_file())
  return {
      "plan": of(PLAN), "split": of(f"packs/*/{SPLIT}"), "config": of("runs/*/config.json"), "environment": of("runs/*/environment.json"),
      "result": of("runs/*/result.json"), "sums": of("runs/*/SHA256SUMS"), "metrics": of("runs/*/metrics.jsonl"),
      "checkpoint": of("packs/*/checkpoints/*/**/*"),
  }


def escaped(chance, folder, kind, file):
  """Names that leave the folder, and values of the wrong type, in what is still JSON."""
  value = json.loads(file.read_text())
  odd = chance.choice(["../../victim", "/etc", "..", "a/../../..", "", None, 3, [], {}, "x" * 300, 1e30, -1, True])
  if kind in ("plan", "split"):
    packs = value["packs"] if kind == "plan" else value
    name = chance.choice(list(packs))
    where = chance.randrange(3)
    if where == 0:
      packs[name][0] = odd
    elif where == 1:
      packs[str(odd)] = packs.pop(name)
    else:
      packs[name] = odd
  else:
    value[chance.choice(list(value))] = odd
  return json.dumps(value, indent=2).encode()


def damage(chance, folder, broken):
  kinds = {kind: files for kind, files in files_of(folder).items() if files}
  kind = chance.choice([*kinds, "checkpoint", "metrics"])
  file = chance.choice(kinds[kind])
  if chance.random() < 0.1:
    file.unlink()
  elif chance.random() < 0.25 and file.suffix == ".json" and kind != "environment":
    file.write_bytes(escaped(chance, folder, kind, file))
  else:
    file.write_bytes(broken(chance, file.read_bytes()))
  return f"{kind} {file.relative_to(folder)}"


def what_is_wrong(command, folder, want, capfd):
  """After the sweep's command, its status and its report; None: nothing."""
  capfd.readouterr()
  try:
    status = command(folder)
    said = capfd.readouterr()
    errors = [line for line in said.err.splitlines() if line.startswith(("error: ", "failed: "))]
    if "Traceback" in said.err + said.out or any(len(line) > 900 for line in errors) or status not in (0, 1, 2):
      return said.err
    if status == 0 and outcome(folder) != want:
      return f"another result; {said.err}"
    if status and not errors:
      return f"status {status} without a word; {said.err}"
    for name, (result, _) in want.items() if status else ():  # what is finished and can be read is right
      with contextlib.suppress(UserError):
        found = results.read(folder / "runs" / name, (workdir.CONFIG, workdir.METRICS))
        if {k: v for k, v in found.items() if k != "train_seconds"} != result:
          return f"{name}: another result; {said.err}"
    if cli.run(sweep_command.main, ["--status", f"--workdir={folder}"]) not in (0, 2):
      return "--status"
    with contextlib.suppress(UserError):
      for row in collect([folder])[0]:
        result = want[row["run_id"]][0]
        if row["exact_match_test"] != result["eval/test/exact_match"] or row["steps"] != result["steps"]:
          return f"the report of {row}"
  except Exception:
    return traceback.format_exc()
  return None


def test_damage_is_said_or_makes_no_difference(sweep, trials, broken, tmp_path, capfd):
  command, whole, halves = sweep
  want, wrong, number = outcome(whole), {}, 0
  for trial, chance in trials(FULL, PART):
    folder, number = tmp_path / str(trial), number + 1
    shutil.copytree(chance.choice([whole, *halves]), folder)
    what = f"{trial}: {damage(chance, folder, broken)}"
    if said := what_is_wrong(command, folder, want, capfd):
      wrong[what] = said
    shutil.rmtree(folder)
  assert not wrong, f"{len(wrong)} of {number}:\n" + "\n".join(f"{what}\n  {said[-1500:]}" for what, said in wrong.items())
