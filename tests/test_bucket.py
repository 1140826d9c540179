"""Processes that share a sweep on a bucket: leases instead of locks."""

import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from pathstar.errors import Held, UserError
from pathstar.storage import leases

SCRIPT = pathlib.Path(__file__).parent / "bucket_sweep.py"


@pytest.fixture
def lease(monkeypatch):
  monkeypatch.setattr(leases, "LEASE_S", 0.6)


def test_a_folder_is_one_process_s_until_it_gives_it_back(tmp_path, lease):
  with leases.hold(tmp_path, "the first", wait=False):
    assert leases.holder(tmp_path) == "the first"
    with pytest.raises(Held, match="in use by the first"), leases.hold(tmp_path, "another", wait=False):
      pass
    time.sleep(1.2)  # it is renewed
    assert leases.holder(tmp_path) == "the first"
  assert leases.holder(tmp_path) is None
  with leases.hold(tmp_path, "another", wait=False):
    assert leases.holder(tmp_path) == "another"


def test_one_thread_renews_however_many_folders_were_held(tmp_path):
  before = threading.active_count()
  for _ in range(5):  # each for less than the time after which it is renewed
    with leases.hold(tmp_path / "a", "me", wait=False), leases.hold(tmp_path / "b", "me", wait=False):
      pass
  deadline = time.monotonic() + 10
  while threading.active_count() > before and time.monotonic() < deadline:
    time.sleep(0.01)
  assert threading.active_count() <= before


@pytest.mark.parametrize("again", range(20))  # a race: a wrong lease is taken by two in one of some ten
def test_a_lease_that_is_not_renewed_expires_and_one_alone_follows(tmp_path, monkeypatch, again):
  monkeypatch.setattr(leases, "LEASE_S", 0.1)
  fs, place = leases._on_bucket(tmp_path)
  assert leases._take(fs, place, "the dead")  # and never renewed
  assert leases._newest(fs, place)[0] == 0
  time.sleep(0.12)
  assert leases.holder(tmp_path) is None
  monkeypatch.setattr(leases, "LEASE_S", 60)  # that of who follows does not expire while the others try
  taken, at_once = [], threading.Barrier(8)

  def follow(number):
    at_once.wait()
    taken.append(leases._take(fs, place, f"{number}"))

  threads = [threading.Thread(target=follow, args=(number,)) for number in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len([one for one in taken if one]) == 1 and len(taken) == 8
  assert leases.holder(tmp_path) and leases._take(fs, place, "x") is None


@pytest.mark.parametrize("content", ["{}", "{", "3", '{"by": "a", "until": "x"}'])
def test_a_damaged_lease_is_named_and_what_is_none_is_passed_over(tmp_path, content):
  place = tmp_path / leases._FOLDER
  place.mkdir()
  (place / "notes").write_text("not ours")
  assert leases.holder(tmp_path) is None
  (place / "0").write_text(content)
  with pytest.raises(UserError, match="claims/0: says not who holds the folder"), leases.hold(tmp_path, "me", wait=False):
    pass


def test_who_looked_too_long_ago_takes_nothing(tmp_path, lease, monkeypatch):
  fs, place = leases._on_bucket(tmp_path)
  looked = leases._newest(fs, place)
  for by in ("one", "two", "three"):  # come and go, and tidy up
    with leases.hold(tmp_path, by, wait=False):
      pass
  with leases.hold(tmp_path, "four", wait=False):
    with monkeypatch.context() as patch:
      patch.setattr(leases, "_newest", lambda *_: looked)
      assert leases._take(fs, place, "five") is None
    assert leases.holder(tmp_path) == "four"


@pytest.mark.slow
def test_four_processes_one_of_them_killed_train_every_pack_once(tiny, tmp_path):
  file, bucket = tmp_path / "grid.py", tmp_path / "bucket"
  file.write_text("from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
                  f"def get_config(arg=''):\n  return override(default(), {tiny.fields!r})\n\n"
                  "def sweep(arg=''):\n  return product({'seed': range(16)})\n")
  words = [SCRIPT, bucket, "6", "1.5", f"--config={file}", "--workdir=gs://lab/grid", "--max_pack=2"]
  start = lambda: subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
  first = start()
  said = []
  while not (said and said[-1].startswith("begins")):
    said.append(first.stdout.readline())
  others = [start() for _ in range(3)]
  os.kill(first.pid, signal.SIGKILL)  # in the middle of its pack
  first.communicate()
  outputs = [process.communicate(timeout=120)[0] for process in others]
  assert [process.returncode for process in others] == [0, 0, 0], outputs
  ended = collections.Counter(re.findall(r"^ends (.*)$", "\n".join(outputs), re.MULTILINE))
  assert len(ended) == 8 and set(ended.values()) == {1}, outputs
  assert re.search(r"^begins (.*)$", said[-1])[1] in ended  # what it held went on elsewhere
  assert any("16 of 16 runs finished" in output for output in outputs), outputs
  assert len(list(bucket.glob("lab/grid/runs/*/result.json"))) == 16
