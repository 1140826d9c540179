"""Packs run: once each, by however many processes, through crashes and kills."""

import io
import json
import os
import signal
import types

import jax
import pytest

from pathstar import run
from pathstar.commands import cli
from pathstar.commands import sweep as sweep_command
from pathstar.commands import train as train_command
from pathstar.commands.cli import EXIT_STOPPED
from pathstar.errors import Held, Stopped
from pathstar.storage import workdir
from pathstar.storage.locks import _no_locks, lock
from pathstar.sweeps import execute, status


@pytest.fixture
def sweep_file(tmp_path, tiny):
  """A config file with two packs: two seeds each of next_token and teacherless."""
  file = tmp_path / "grid.py"
  file.write_text(
      f"from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
      f"def sweep(arg=''):\n  return product({{'objective.name': ['next_token', 'teacherless'], 'seed': range(2)}})\n")
  return file


@pytest.fixture
def trained(monkeypatch):
  """Replaces training by the writing of results.

  `trained.packs` lists what was asked for, `trained.crash(configs)` is an error to raise, or None.
  """
  record = types.SimpleNamespace(packs=[], crash=lambda configs: None)

  def fake(configs, folders, checkpoint_folder, inherited, progress, ahead):
    record.packs.append([folder.name for folder in folders])
    if error := record.crash(configs):
      raise error
    for folder in folders:
      workdir.write_json(workdir.make(folder) / workdir.RESULT, {"status": "done"})
    return []

  monkeypatch.setattr(execute, "train", fake)
  return record


@pytest.fixture
def command(sweep_file, tmp_path):
  """command(*more) -> exit status of the sweep, in this process."""
  return lambda *more: cli.run(sweep_command.main, [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}", *more])


def test_a_sweep_trains_each_pack_once_and_skips_what_is_finished(command, trained, tmp_path):
  assert command() == 0
  assert [len(names) for names in trained.packs] == [2, 2]
  results = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "runs").glob("*/result.json")}
  assert {file.parent.name for file in results} == {name for names in trained.packs for name in names}
  assert command() == 0
  assert len(trained.packs) == 2 and {file: file.stat().st_mtime_ns for file in results} == results


def test_a_run_of_a_sweep_is_not_trained_by_itself(command, trained, sweep_file, tmp_path, capsys):
  assert command() == 0
  member = next((tmp_path / "out" / "runs").iterdir())
  (member / workdir.RESULT).unlink()
  (member / workdir.METRICS).write_text('{"step": 0}\n')
  (tmp_path / "link").symlink_to(member)
  for name in (member, tmp_path / "link"):
    capsys.readouterr()
    assert cli.run(train_command.main, [f"--config={sweep_file}", f"--workdir={name}"]) == 2
    assert f"is a run of the sweep in {tmp_path / 'out'}; go on with pathstar sweep" in capsys.readouterr().err
  assert (member / workdir.METRICS).read_text() == '{"step": 0}\n'


def test_a_run_done_again_never_goes_on_from_its_old_pack(command, trained, tmp_path, monkeypatch):
  inherits, folder = {}, tmp_path / "out"
  trained.crash = lambda configs: Stopped()  # before the first checkpoint
  assert command() == EXIT_STOPPED
  [pack] = (folder / "packs").iterdir()
  workdir.make(pack / "checkpoints" / "10")
  workdir.make(folder / "packs" / f"{trained.packs[0][1]}-x1" / "checkpoints")  # where nothing was saved yet
  for name in trained.packs[0]:
    (workdir.make(folder / "runs" / name) / workdir.METRICS).write_text("{}")
  fake = execute.train

  def seen(configs, folders, checkpoint_folder, inherited, *more):
    inherits.setdefault(folders[0].name, []).append(inherited and inherited.folder)
    return fake(configs, folders, checkpoint_folder, inherited, *more)

  monkeypatch.setattr(execute, "train", seen)
  again, sibling = trained.packs[0]
  trained.crash = lambda configs: Stopped() if len(inherits) == 2 else None
  assert command(f"--redo={again}") == EXIT_STOPPED
  (folder / "runs" / again / workdir.METRICS).write_text("{}")  # it had begun
  assert command() == EXIT_STOPPED
  assert inherits == {sibling: [pack / "checkpoints"], again: [None, None]}
  assert run._pack_of(folder / "runs" / sibling) == ([folder / "runs" / name for name in trained.packs[0]], pack / "checkpoints")
  assert run._pack_of(folder / "runs" / again) == ([folder / "runs" / again], folder / "packs" / f"{again}-x1" / "checkpoints")


def test_a_run_of_another_share_is_not_done_again(command, trained, tmp_path, capsys):
  assert command() == 0
  [first, *_], [other, *_] = trained.packs
  trained.packs.clear()
  assert command(f"--redo={first}", f"--redo={other}", "--shard=0/2") == 2
  assert f"--redo = '{other}': is not in --shard = '0/2'; give it to the share" in capsys.readouterr().err
  assert not list(tmp_path.rglob("redone.*")) and not trained.packs
  assert command(f"--redo={other}", "--shard=1/2") == 0 and trained.packs == [[other]]


def test_a_smaller_max_pack_splits_what_has_not_saved_yet(command, trained, tmp_path, capsys):
  trained.crash = lambda configs: Stopped() if len(trained.packs) == 2 else None
  assert command() == EXIT_STOPPED
  (tmp_path / "out" / "runs" / trained.packs[0][0] / workdir.RESULT).unlink()
  [saved] = (tmp_path / "out" / "packs").glob(f"{trained.packs[0][0]}-x2")
  workdir.make(saved / "checkpoints" / "10")
  capsys.readouterr()
  assert command("--dry_run", "--max_pack=1") == 0
  said = capsys.readouterr().out
  assert f"{saved.name}: to do" in said and "4 runs in 3 packs: 1 finished, 3 to do" in said
  first, second = trained.packs
  trained.crash, trained.packs[:] = lambda configs: None, []
  assert command("--max_pack=1") == 0 and trained.packs == [first, *([name] for name in second)]
  assert len(workdir.read_json(tmp_path / "out" / "sweep.json")["packs"]) == 2  # its plan is what it was


def test_a_reader_that_is_gone_stops_no_pack(sweep_file, trained, tmp_path, monkeypatch):
  class Closed(io.StringIO):
    def flush(self):
      raise BrokenPipeError(32, "Broken pipe")

  fake = execute.train
  monkeypatch.setattr(execute, "train", lambda configs, *more: [*fake(configs, *more), *({"train_seconds": 1.0} for _ in configs)])
  trained.crash = lambda configs: RuntimeError("once") if len(trained.packs) == 1 else None
  with pytest.MonkeyPatch.context() as patch:
    for name in ("stdout", "stderr"):
      patch.setattr(f"sys.{name}", Closed())
    assert sweep_command.main([f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]) == 0
  assert [len(names) for names in trained.packs] == [2, 2, 2] and len(list(tmp_path.rglob(workdir.RESULT))) == 4
  [error] = tmp_path.rglob("*error.txt")
  assert "RuntimeError: once" in error.read_text()


def test_a_pack_that_is_stopped_in_its_second_try_has_not_failed(command, trained, tmp_path, capsys):
  trained.crash = lambda configs: RuntimeError("once") if len(trained.packs) == 1 else Stopped()
  for crash in (trained.crash, lambda configs: Stopped()):
    trained.crash = crash
    assert command() == EXIT_STOPPED
    said = status.show([tmp_path / "out"])
    assert "failed 0" in said and "waiting 4" in said and said.count("RuntimeError: once") == 2
  trained.crash = failing(Held("in use by process 1"))
  assert command() == 1
  assert "failed 4" in (said := status.show([tmp_path / "out"])) and "RuntimeError: once" not in said
  trained.crash = lambda configs: Stopped()
  assert command() == EXIT_STOPPED
  assert "failed 2" in (said := status.show([tmp_path / "out"])) and said.count("Held: ") == 4


def test_a_dry_run_prints_the_plan_and_touches_nothing(command, trained, tmp_path, capsys):
  assert command("--dry_run") == 0
  out = capsys.readouterr().out
  assert out.count("transformer-next_token-d2-l4-s") >= 3 and out.count(": to do") == 2
  assert "4 runs in 2 packs: 0 finished, 4 to do" in out and "\n  seed: 0, 1" in out
  assert not trained.packs and not (tmp_path / "out").exists()


def failing(error, *, seed=None, larger_than=0):
  """A crash of packs that hold `seed` (or any) and more than so many runs."""
  return lambda configs: error if len(configs) > larger_than and (seed is None or seed in [c.seed for c in configs]) else None


def test_a_crash_is_tried_once_more_then_only_the_guilty_run_fails(command, trained, tmp_path, capsys):
  fell = failing(RuntimeError("the device fell over"), seed=1)
  trained.crash = lambda configs: fell(configs) if configs[0].method == "next_token" else None
  assert command() == 1
  out, err = capsys.readouterr()
  assert [len(names) for names in trained.packs] == [2, 2, 1, 1, 1, 2]  # twice whole, seed 0, seed 1 twice, the other pack
  assert err.count("crashed (RuntimeError: the device fell over)") == 4 and "3 of 4 runs finished" in out
  assert "failed: transformer-next_token-d2-l4-s1-" in err
  for file in (tmp_path / "out" / "packs").glob("*/error.txt"):
    assert "Traceback" in file.read_text() and "RuntimeError: the device fell over" in file.read_text()
  done = {file.parent.name for file in (tmp_path / "out" / "runs").glob("*/result.json")}
  assert len(done) == 3 and not any("next_token-d2-l4-s1" in name for name in done)
  trained.crash, trained.packs[:] = lambda configs: None, []
  assert command() == 0  # the same command again does what is left, as it was split
  [[name]] = trained.packs
  assert "next_token-d2-l4-s1" in name


def test_a_crash_that_does_not_come_again_splits_nothing(command, trained, tmp_path):
  trained.crash = lambda configs: RuntimeError("once") if len(trained.packs) == 1 else None
  assert command() == 0
  assert [len(names) for names in trained.packs] == [2, 2, 2] and not list((tmp_path / "out").rglob("split.json"))


@pytest.mark.slow
def test_a_pack_that_runs_out_of_memory_is_split_in_halves(sweep_file, trained, tmp_path, capsys):
  sweep_file.write_text(sweep_file.read_text().replace("range(2)", "range(7)"))
  trained.crash = failing(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), larger_than=2)
  argv = [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]
  assert cli.run(sweep_command.main, argv) == 0
  assert [len(names) for names in trained.packs] == 2 * [7, 4, 2, 2, 3, 2, 1]
  trained.crash, trained.packs[:] = failing(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")), []
  assert cli.run(sweep_command.main, [*argv[:1], f"--workdir={tmp_path / 'other'}", "--max_pack=1"]) == 1
  assert len(trained.packs) == 14  # a run alone that is too large is not tried again


def test_what_is_left_of_a_crashed_pack_shares_its_mesh_out_to_fewer_runs(sweep_file, trained, tmp_path, monkeypatch):
  sweep_file.write_text(sweep_file.read_text().replace("range(2)", "range(4)"))
  monkeypatch.setattr(sweep_command, "check_meshes", lambda packs: None)  # there are no 8 devices here
  meshes = []

  def crash(configs):
    meshes.append(configs[0].mesh)
    return RuntimeError("no") if len(configs) > 1 else None

  trained.crash = crash
  assert cli.run(sweep_command.main, [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}", "--mesh=run=4,data=2"]) == 0
  assert meshes == 2 * (2 * ["run=4,data=2"] + 4 * ["run=1,data=2"])


def test_a_mesh_that_fits_no_pack_is_refused_before_the_first_one_starts(command, trained, tmp_path, capsys):
  assert command("--mesh=run=300") == 2
  said = capsys.readouterr().err
  assert "2 of 2 packs are impossible here" in said and said.count("run=300") == 2
  assert not trained.packs and not (tmp_path / "out").exists()


def test_bad_input_is_not_tried_again(command, trained, capsys):
  trained.crash = failing(Held("in use by process 1"))
  assert command() == 1
  assert len(trained.packs) == 2 and capsys.readouterr().err.count("failed: ") == 4


def test_what_another_process_holds_is_passed_over_and_looked_at_again(command, trained, tmp_path, capsys, monkeypatch):
  assert command("--dry_run") == 0
  first, second = (line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ": to do" in line)
  with lock(workdir.make(tmp_path / "out" / "packs" / first)) as _, pytest.MonkeyPatch.context() as patch:
    patch.setattr(sweep_command, "prepare", lambda folder, packs, grid: packs)
    assert command() == 0
    assert [len(names) for names in trained.packs] == [2]
    assert "2 of 4 runs finished" in (out := capsys.readouterr().out) and "2 more are in the hands of other processes" in out
    # Its holder ends while the other pack trains.
    trained.packs.clear()
    attempts = []
    hold = lock
    patch.setattr(execute, "lock", lambda folder, wait=False: (
        attempts.append(folder.name), hold(tmp_path if folder.name == first and attempts.count(first) > 1 else folder))[1])
    for file in (tmp_path / "out" / "runs").glob("*/result.json"):
      file.unlink()
    assert command() == 0
  assert attempts == [first, second, first] and len(trained.packs) == 2


def test_a_signal_between_packs_stops_the_sweep(command, trained, capsys):
  trained.crash = lambda configs: os.kill(os.getpid(), signal.SIGTERM)  # during the first pack, which finishes
  assert command() == EXIT_STOPPED
  assert len(trained.packs) == 1 and "stopped by a signal between packs; the same command resumes" in capsys.readouterr().err
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  trained.crash = lambda configs: None
  assert command() == 0 and len(trained.packs) == 2


def test_programs_are_kept_in_the_sweep_s_folder_unless_said_otherwise(command, trained, tmp_path):
  before = jax.config.jax_compilation_cache_dir
  try:
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    assert command() == 0 and jax.config.jax_compilation_cache_dir == "elsewhere"
    jax.config.update("jax_compilation_cache_dir", None)
    assert command() == 0 and jax.config.jax_compilation_cache_dir == str(tmp_path / "out" / "compiled")
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


def test_without_locks_the_sweep_says_so_once_and_runs(command, trained, monkeypatch, capsys):
  def flock(file, how):
    raise OSError(37, "No locks available")

  monkeypatch.setattr("fcntl.flock", flock)
  _no_locks.cache_clear()
  assert command("--shard=0/2") == 0 and len(trained.packs) == 1
  assert capsys.readouterr().err.count("no locks on this file system") == 1


@pytest.mark.slow
def test_a_sweep_for_real_leaves_what_a_run_alone_leaves(sweep_file, tmp_path, tiny):
  assert cli.run(sweep_command.main, [f"--config={sweep_file}", f"--workdir={tmp_path / 'out'}"]) == 0
  folders = sorted((tmp_path / "out" / "runs").iterdir())
  assert len(folders) == 4
  [member] = [folder for folder in folders if "next_token-d2-l4-s1" in folder.name]
  [alone] = execute.train([tiny(seed=1)], [tmp_path / "alone"], tmp_path / "alone" / "checkpoints")
  result = json.loads((member / workdir.RESULT).read_text())
  assert result.keys() == alone.keys()
  assert result["status"] == alone["status"] == "done"
  for name in result.keys() - {"train_seconds", "status"}:
    assert result[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-4), name
  assert {p.name for p in member.iterdir()} >= {"config.json", "environment.json", "metrics.jsonl", "result.json"}


@pytest.mark.parametrize("error", [
    OSError(28, "No space left on device"), OSError(30, "Read-only file system"), OSError(122, "Disk quota exceeded"),
    ValueError("INTERNAL: tensorstore: No space left on device [OS error 28]"),
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: writing: No space left on device"),
])
def test_an_outage_of_the_machine_stops_the_sweep_and_is_no_runs_fault(command, trained, tmp_path, capsys, error):
  trained.crash = lambda configs: error
  assert command() == 2
  said = capsys.readouterr().err
  assert len(trained.packs) == 1 and len(said.splitlines()) == 1 and "nothing is wrong with its runs" in said
  assert not list((tmp_path / "out" / "packs").glob("*/*.txt")) and not list((tmp_path / "out" / "packs").glob("*/split.json"))
  trained.crash = lambda configs: None
  assert command() == 0


def test_an_outage_below_another_error_is_found(command, trained, capsys):
  def crash(configs):
    try:
      raise OSError(28, "No space left on device")
    except OSError as error:
      raise RuntimeError("could not save") from error

  def raised(configs):
    try:
      crash(configs)
    except RuntimeError as error:
      return error

  trained.crash = raised
  assert command() == 2 and "no space left on device" in capsys.readouterr().err
