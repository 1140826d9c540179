"""What `pathstar sweep --status` says of a sweep, from its folder alone."""

import fcntl
import json

import pytest
from etils import epath

from pathstar import config
from pathstar.commands import cli
from pathstar.commands import sweep as status_command
from pathstar.commands import sweep as sweep_command
from pathstar.errors import Held, UserError
from pathstar.storage import locks, workdir
from pathstar.storage.locks import lock
from pathstar.sweep import product
from pathstar.sweeps import packs as packing
from pathstar.sweeps import status
from pathstar.sweeps.folder import ERROR, SPLIT, prepare
from pathstar.sweeps.packs import plan


@pytest.fixture
def folder(tiny, tmp_path):
  """A sweep of five packs of two runs: done, crashed, split with one run done, and two untouched; one run diverged."""
  base = config.override(config.default(), tiny.fields)
  cells = product({"task.degree": [2, 3], "seed": range(6)})[:10]
  packs = plan(base, cells, max_pack=2)
  prepare(tmp_path, packs)
  for pack in packs:
    workdir.make(tmp_path / "packs" / pack.pack_id)
  for run, result in zip(packs[0].runs, ({"status": "done", "eval/test/exact_match": 0.75}, {"status": "diverged"})):
    finish(tmp_path, run.path, result | {"train_seconds": 10.0})
  (tmp_path / "packs" / packs[1].pack_id / ERROR).write_text("Traceback\n  here\nOSError: the device fell over\n")
  parts = {packing.pack([run]).pack_id: [run.path] for run in packs[2].runs}
  workdir.write_json(tmp_path / "packs" / packs[2].pack_id / SPLIT, parts)
  (tmp_path / "packs" / packs[2].pack_id / ERROR).write_text("ValueError: of the whole pack\n")
  finish(tmp_path, packs[2].runs[0].path, {"status": "done", "eval/test/exact_match": 0.25, "train_seconds": 10.0})
  return tmp_path, packs


def finish(folder, path, result):
  workdir.write_json(workdir.make(folder / "runs" / path) / workdir.RESULT, result)


def train_a_while(folder, pack, step, rate):
  for run in pack.runs:
    place = workdir.make(folder / "runs" / run.path)
    workdir.write_json(place / workdir.CONFIG, dict(run.config.fields))
    (place / workdir.METRICS).write_text(json.dumps({"step": step, "perf/steps_per_sec": rate}) + "\n")


def test_every_run_is_in_one_state(folder):
  place, packs = folder
  with lock(place / "packs" / packs[3].pack_id):
    states = {entry.path: entry.state for entry in status.read(place)}
  names = [run.path for pack in packs for run in pack.runs]
  assert [states[name] for name in names] == [
      "done", "diverged", "failed", "failed", "done", "waiting", "running", "running", "waiting", "waiting"]
  assert "running" not in [entry.state for entry in status.read(place)]  # its holder let go


def test_a_remote_sweep_reads_like_a_local_one(folder):
  place, _ = folder
  remote = status.show([epath.Path(place)])
  assert remote == status.show([place])


def test_to_look_takes_no_lock_from_anybody(folder):
  place, packs = folder
  status.show([place])
  with lock(place / "packs" / packs[3].pack_id):
    status.show([place])
    with pytest.raises(Held), lock(place / "packs" / packs[3].pack_id):
      pass


def test_who_looks_in_the_moment_of_a_start_does_not_stop_it(tmp_path, monkeypatch):
  looking = open(tmp_path / ".lock", "a")
  fcntl.flock(looking, fcntl.LOCK_SH)
  monkeypatch.setattr(locks.time, "sleep", lambda seconds: looking.close())
  with lock(tmp_path):
    assert locks.holder(tmp_path).startswith("process ")


def test_the_table_tells_counts_errors_speed_and_the_best_cells(folder):
  place, packs = folder
  train_a_while(place, packs[3], step=5, rate=0.5)
  with lock(place / "packs" / packs[3].pack_id):
    said = status.show([place])
  assert "10 runs in 6 packs" in said and "done 2   running 2   failed 2   diverged 1   waiting 3" in said
  [row] = [line for line in said.splitlines() if line.startswith(packs[3].pack_id)]
  assert "5/20" in row and "0.5" in row and "0:00:30" in row and "process" in row
  assert said.count("OSError: the device fell over") == 2 and "of the whole pack" not in said
  best = packs[0].runs[0].run_id
  group, _, cell = best.rpartition("-s0-")
  [row] = [line for line in said.splitlines() if line.startswith(group + " ") and "0.750" in line]
  assert row.endswith(f"s0-{cell}") and "0.750" in row
  assert not any(line != line.rstrip() for line in said.splitlines())


def test_groups_are_in_the_order_of_their_numbers():
  entries = [status.Entry(f"mamba-next_token-d{degree}-l5-s0-1f3a90bc", "p", "waiting", 1.0, {}) for degree in (10, 2, 5)]
  assert [row[0] for row in status._groups(entries)] == [f"mamba-next_token-d{degree}-l5" for degree in (2, 5, 10)]


def test_the_time_left_is_that_of_the_speed_so_far(folder):
  place, packs = folder
  entries = status.read(place)
  # Runs of one shape took 10 s each; those of degree 3 have more tokens. Three wait, nothing runs.
  waiting = [e for e in entries if e.state == "waiting"]
  rate = 30 / sum(e.work for e in entries if "train_seconds" in e.result)
  assert status.seconds_left(entries, []) == pytest.approx(rate * sum(e.work for e in waiting))
  busy = [status.Running("p", 10, 20, 0.1, "", 0), status.Running("q", 10, 20, 10.0, "", 0)]
  assert status.seconds_left(entries, busy) == pytest.approx(max((rate * sum(e.work for e in waiting) + 101) / 2, 100))
  fresh = [e for e in entries if not e.result]
  assert status.seconds_left(fresh, []) is None
  one = status.Running("p", 0, 20, 2.0, "", 5.0)
  assert status.seconds_left(fresh, [one]) == pytest.approx(10 + 2.0 * sum(e.work for e in fresh if e.state == "waiting"))


def test_what_holds_no_sweep_is_refused(tmp_path, capsys):
  assert cli.run(sweep_command.main, ["--status", f"--workdir={tmp_path}"]) == 2
  assert "holds no sweep (it has no sweep.json)" in capsys.readouterr().err
  with pytest.raises(UserError, match="--status takes --workdir and --only alone, not --shard=0/2"):
    status_command.main(["--status", f"--workdir={tmp_path}", "--shard=0/2"])


def test_several_folders_are_one_status_with_a_source(folder, tiny, tmp_path_factory, capsys):
  place, packs = folder
  other = tmp_path_factory.mktemp("other")
  cells = product({"task.degree": [4], "task.num_nodes": [16], "seed": range(2)})
  prepare(other, plan(config.override(config.default(), tiny.fields), cells))
  with lock(place / "packs" / packs[3].pack_id):
    train_a_while(place, packs[3], 10, 2.0)
    assert cli.run(status_command.main, ["--status", f"--workdir={place}", f"--workdir={other}"]) == 0
  said = capsys.readouterr().out
  assert f"{place}, {other}: 12 runs in 7 packs" in said and "done 2   running 2   failed 2   diverged 1   waiting 5" in said
  lines = [line.split() for line in said.splitlines() if line]
  assert {line[-1] for line in lines if line[0].startswith("transformer")} - {str(place), str(other)} == {
      line[-1] for line in lines if line[-1].endswith("error.txt")}
  assert [line[0] for line in lines if line[-1] == str(other)] == ["transformer-next_token-d4-l4"]
  assert cli.run(status_command.main, ["--status", f"--workdir={place}", f"--workdir={place}"]) == 2
  assert f"--workdir = '{place}': is given twice" in capsys.readouterr().err


def test_where_there_is_no_sweep_one_line_says_where_one_is(folder, tmp_path, capsys):
  place, packs = folder

  def said(where):
    assert cli.run(status_command.main, ["--status", f"--workdir={where}"]) == 2
    text = capsys.readouterr().err
    assert text.startswith("error: workdir = ") and text.count("\n") == 1
    return text

  group = workdir.make(place / "group" / "mine" / "a").parents[1]
  (place / "sweep.json").rename(group / "mine" / "a" / "sweep.json")
  assert f"below it there are sweeps: {group / 'mine' / 'a'}; --workdir may be given several times" in said(group)
  (group / "mine" / "a" / "sweep.json").rename(place / "sweep.json")
  assert f"it belongs to the sweep in {place}" in said(place / "runs")
  assert "holds no sweep (it has no sweep.json)\n" in said(place.parent / "nothing" / "here")
  assert "must be a local folder or one of a known scheme" in said("ftp://here/runs")
