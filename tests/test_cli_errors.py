"""What a user does wrong gets one line that names it, and exit status 2."""

import os
import subprocess
import sys

import jax
import pytest

from pathstar import run
from pathstar.commands import cli
from pathstar.commands import train as train_command

GET = "from pathstar.config import default\ndef get_config(arg=''):\n  config = default()\n"


@pytest.fixture
def pathstar(monkeypatch, capsys):
  """pathstar(words) -> (exit status, stdout, stderr) of the command line `pathstar words`."""

  def call(*words):
    monkeypatch.setattr("sys.argv", ["pathstar", *map(str, words)])
    capsys.readouterr()
    try:
      status = cli.command()
    except SystemExit as stop:
      status = stop.code
    return status, *capsys.readouterr()

  return call


@pytest.fixture
def place(tmp_path, tiny_file):
  """A folder with everything that the bad inputs below need; {FILE} is the tiny config, {TMP} the folder."""
  (tmp_path / "empty.py").write_text("")
  (tmp_path / "typo.py").write_text(GET + "  config.model.num_hads = 2\n  return config\n")
  (tmp_path / "update.py").write_text(GET + "  config.task.update(degre=2)\n  return config\n")
  (tmp_path / "section.py").write_text(GET + "  config.modle.width = 2\n  return config\n")
  (tmp_path / "arg.py").write_text("from pathstar.config import arguments, default\n"
                                   "def get_config(arg=''):\n  arguments(arg, degree=2)\n  return default()\n")
  (tmp_path / "number.py").write_text("def get_config(arg=''):\n  return 3\n")
  (tmp_path / "flat.py").write_text(GET + "  config.unlock()\n  config.task = 3\n  return config\n")
  (tmp_path / "plain.py").write_text("from pathstar.config import default\ndef get_config():\n  return default()\n")
  (tmp_path / "notes.txt").write_text("not Python")
  (tmp_path / "grid.py").write_text(GET + "  return config\ndef sweep(arg=''):\n  return [{'task.degre': 2}]\n")
  (tmp_path / "meshes.py").write_text(
      GET + "  return config\ndef sweep(arg=''):\n  return [{'mesh': 'data=1'}, {'mesh': 'run=1', 'seed': 1}]\n")
  (tmp_path / "none.py").write_text(GET + "  return config\ndef sweep(arg=''):\n  return []\n")
  (tmp_path / "file").write_text("in the way")
  (tmp_path / "foreign").mkdir()
  (tmp_path / "foreign" / "thesis.tex").write_text("mine")
  return lambda word: word.replace("{FILE}", str(tiny_file)).replace("{TMP}", str(tmp_path))


TRAIN = ["train", "--config={FILE}", "--workdir={TMP}/run"]
WRONG = {
    "unknown command": (["trian"], ["command = 'trian'", "did you mean 'train'?"]),
    "unknown field": ([*TRAIN, "--config.model.num_layer=4"],
                      ["unknown config field 'model.num_layer'", "did you mean 'model.num_layers'?"]),
    "unknown section": ([*TRAIN, "--config.modle.width=4"], ["'modle.width'", "did you mean 'model.width'?"]),
    "a section in place of a field": ([*TRAIN, "--config.model=4"], ["unknown config field 'model'"]),
    "override without a value": ([*TRAIN, "--config.seed"], ["--config.seed", "--config.seed=VALUE"]),
    "text for an integer": ([*TRAIN, "--config.task.degree=two"], ["task.degree = 'two'", "must be of type int"]),
    "fraction for an integer": ([*TRAIN, "--config.seed=0.5"], ["seed = '0.5'", "must be of type int"]),
    "text for a boolean": ([*TRAIN, "--config.model.remat=maybe"], ["model.remat = 'maybe'", "must be of type bool"]),
    "None where there must be a value": ([*TRAIN, "--config.model.width=None"], ["model.width", "of type int"]),
    "not a number": ([*TRAIN, "--config.optimizer.learning_rate=nan"], ["optimizer.learning_rate = 'nan'", "float"]),
    "no arms": ([*TRAIN, "--config.task.degree=0"], ["task.degree = 0", "an integer >= 1"]),
    "no path": ([*TRAIN, "--config.task.length=1"], ["task.length = 1", "an integer >= 2"]),
    "too few nodes": ([*TRAIN, "--config.task.num_nodes=6"], ["task.num_nodes = 6", "between 7", "G(2,4)"]),
    "more training examples than problems": ([*TRAIN, "--config.data.num_train=99999999"],
                                             ["data.num_train = 99999999", "at most", "G(2,4)"]),
    "more test examples than problems": ([*TRAIN, "--config.data.num_test=99999999"], ["data.num_test = 99999999", "at most"]),
    "heads that do not divide the width": ([*TRAIN, "--config.model.num_heads=3"],
                                           ["model.num_heads = 3", "a divisor of model.width = 16"]),
    "unknown objective": ([*TRAIN, "--config.objective.name=teacherles"],
                          ["objective.name = 'teacherles'", "did you mean 'teacherless'?"]),
    "unknown order": ([*TRAIN, "--config.objective.order=reverse"], ["objective.order = 'reverse'", "'reversed'"]),
    "unknown mixer": ([*TRAIN, "--config.model.mixer=atention"], ["model.mixer = 'atention'", "'attention'"]),
    "unknown task": ([*TRAIN, "--config.task.name=pathstar"], ["task.name = 'pathstar'", "did you mean 'path_star'?"]),
    "no learning rate": ([*TRAIN, "--config.optimizer.learning_rate=0"], ["optimizer.learning_rate = 0.0", "> 0"]),
    "steps that do not divide": ([*TRAIN, "--config.train.steps_per_call=3"], ["train.steps_per_call = 3", "a divisor of"]),
    "too few checkpoints": ([*TRAIN, "--config.train.keep_checkpoints=1"], ["train.keep_checkpoints = 1", ">= 2"]),
    "seed too large": ([*TRAIN, "--config.seed=3000000000"], ["seed = 3000000000", "2^31 - 1"]),
    "more devices than there are": ([*TRAIN, "--config.mesh=data=4"], ["mesh = 'data=4'", "at most 1 devices; it asks for 4"]),
    "unknown mesh axis": ([*TRAIN, "--config.mesh=batch=1"], ["mesh axis = 'batch'", "run, data, model"]),
    "missing config": (["train", "--config={TMP}/tipo.py", "--workdir={TMP}/run"],
                       ["{TMP}/tipo.py", "no such file", "did you mean '{TMP}/typo.py'?"]),
    "config without get_config": (["train", "--config={TMP}/empty.py", "--workdir={TMP}/run"], ["empty.py", "get_config(arg='')"]),
    "config that is no Python": (["train", "--config={TMP}/notes.txt", "--workdir={TMP}/run"], ["notes.txt", "a Python file"]),
    "config with an unknown field": (["train", "--config={TMP}/typo.py", "--workdir={TMP}/run"],
                                     ["typo.py", "unknown config field 'num_hads'", "did you mean 'num_heads'?"]),
    "config that updates with an unknown field": (["train", "--config={TMP}/update.py", "--workdir={TMP}/run"],
                                                  ["update.py", "unknown config field 'degre'", "did you mean 'degree'?"]),
    "config with an unknown section": (["train", "--config={TMP}/section.py", "--workdir={TMP}/run"],
                                       ["section.py", "unknown config field 'modle'", "did you mean 'model'?"]),
    "unknown file argument": (["train", "--config={TMP}/arg.py:degre=5", "--workdir={TMP}/run"],
                              ["file argument = 'degre'", "did you mean 'degree'?"]),
    "file argument of the wrong type": (["train", "--config={TMP}/arg.py:degree=x", "--workdir={TMP}/run"],
                                        ["file argument degree = 'x'", "of type int"]),
    "config that is a number": (["train", "--config={TMP}/number.py", "--workdir={TMP}/run"], ["get_config returned int", "default()"]),
    "config with a section overwritten": (["train", "--config={TMP}/flat.py", "--workdir={TMP}/run"], ["unknown config field 'task'"]),
    "argument for a config without": (["train", "--config={TMP}/plain.py:degree=5", "--workdir={TMP}/run"], ["takes no argument"]),
    "foreign workdir": (["train", "--config={FILE}", "--workdir={TMP}/foreign"],
                        ["workdir = '{TMP}/foreign'", "not a run's folder", "thesis.tex"]),
    "workdir that is a file": (["train", "--config={FILE}", "--workdir={TMP}/file"], ["workdir = '{TMP}/file'", "can't be made"]),
    "workdir below a file": (["train", "--config={FILE}", "--workdir={TMP}/file/run"], ["workdir = '{TMP}/file/run'", "can't be made"]),
    "sweep of a config without one": (["sweep", "--config={FILE}", "--workdir={TMP}/out"], ["has no function sweep(arg='')"]),
    "sweep in a foreign workdir": (["sweep", "--config={TMP}/grid.py", "--workdir={TMP}/foreign"], ["task.degre", "'task.degree'"]),
    "report of a remote folder": (["report", "--workdir=gs://bucket/runs"], ["workdir = 'gs://bucket/runs'", "fetch it"]),
    "report of nothing": (["report", "--workdir={TMP}/foreign"], ["workdir = '{TMP}/foreign'", "no finished run"]),
    "evaluation of nothing": (["eval", "--workdir={TMP}/foreign"], ["workdir = '{TMP}/foreign'", "not a run's folder"]),
    "no samples": (["sample", "--config={FILE}", "--n=0"], ["--n = 0", ">= 1"]),
    "samples over a file": (["sample", "--config={FILE}", "--out={TMP}/file"], ["--out = '{TMP}/file'", "can't be written"]),
    "a rate that float32 can't hold": ([*TRAIN, "--config.optimizer.learning_rate=1e39"], ["optimizer.learning_rate = '1e39'", "float32"]),
    "a rate that float32 rounds to 0": ([*TRAIN, "--config.optimizer.weight_decay=1e-50"], ["optimizer.weight_decay = '1e-50'", "float32"]),
    "more steps than int32": ([*TRAIN, "--config.train.num_steps=2147483648"], ["train.num_steps = 2147483648", "2^31"]),
    "a mesh that no devices can be": ([*TRAIN, "--config.mesh=data=3"], ["mesh = 'data=3'", "train.batch_size = 8"]),
    "an abbreviation": ([*TRAIN, "--config.optimizer.lr=1"], ["'optimizer.lr'", "did you mean 'optimizer.learning_rate'?"]),
    "an override given twice": ([*TRAIN, "--config.seed=1", "--config.seed=2"], ["--config.seed", "twice"]),
    "a file argument given twice": (["train", "--config={TMP}/arg.py:degree=2,degree=3", "--workdir={TMP}/run"], ["degree", "twice"]),
    "an unknown scheme": (["train", "--config={FILE}", "--workdir=foo://bucket/run"], ["workdir = 'foo://bucket/run'", "known scheme"]),
    "a sweep of nothing": (["sweep", "--config={TMP}/none.py", "--workdir={TMP}/out"], ["the sweep has no cells"]),
    "a report over a folder that is none": (["report", "--workdir={TMP}/foreign", "--out={TMP}/foreign"], ["{TMP}/foreign"]),
    "an option cut short": (["sweep", "--config={TMP}/grid.py", "--workdir={TMP}/out", "--stat"], ["--stat", "did you mean '--status'?"]),
    "an option given twice": (["sample", "--config={FILE}", "--n=3", "--n=4"], ["--n", "twice"]),
    "a field that the comparison sets": (["bench", "--config={FILE}", "--mixers=attention", "--config.model.mixer=mamba"],
                                         ["--config.model.mixer", "left out"]),
    "a field that nothing compared uses": (["bench", "--config={FILE}", "--mixers=attention", "--config.model.s5_state=64"],
                                           ["model.s5_state = 64", "not used"]),
    "packs of nothing": (["bench", "--config={FILE}", "--packs=,"], ["--packs = ','", ">= 1"]),
    "a plan over a file": (["plan", "--config={FILE}", "--json={TMP}/notes.txt"], ["--json = '{TMP}/notes.txt'", "not overwritten"]),
    "answers over a file": (["eval", "--workdir={TMP}/foreign", "--data={TMP}/file", "--out={TMP}/file"], ["--out = '{TMP}/file'"]),
    "a field that changes nothing as another stands": ([*TRAIN, "--config.model.inject=True"],
                                                       ["model.inject = True", "changes nothing with model.num_loops = 1"]),
    "no repeats": (["bench", "--config={FILE}", "--repeats=0"], ["--repeats = 0", ">= 1"]),
    "figures of one config where several are compared": (["bench", "--config={FILE}", "--packs=1,2", "--json={TMP}/x.json"],
                                                         ["--json = '{TMP}/x.json'", "--out"]),
    "figures to nowhere": (["bench", "--config={FILE}", "--json={TMP}/none/x.json"], ["--json = '{TMP}/none/x.json'"]),
    "a plan to nowhere": (["plan", "--config={FILE}", "--json={TMP}/none/x.json"], ["--json = '{TMP}/none/x.json'"]),
    "a plan's mesh without devices": (["plan", "--config={FILE}", "--mesh=data=2"], ["--mesh", "--topology"]),
    "a plan of two meshes": (["plan", "--config={FILE}", "--topology=v5e:1x1", "--mesh=data=1", "--config.mesh=run=1"],
                             ["--mesh", "data=1", "run=1"]),
    "a mesh for a plan that finds one": (["plan", "--config={FILE}", "--topology=v5e:1x1", "--config.mesh=data=1", "--find"],
                                         ["--find", "chooses the mesh itself"]),
    "a plan of several meshes": (["plan", "--config={TMP}/meshes.py", "--topology=v5e:1x1", "--compile=none"], ["data=1, run=1", "--mesh"]),
    "a part asked for twice": (["plan", "--config={TMP}/meshes.py", "--only=seed=0", "--only=seed=1"], ["--only seed", "seed=VALUE,VALUE"]),
    "a part of what is drawn again": (["report", "--out={TMP}/out", "--only=seed=0"], ["--only", "--workdir"]),
    "a scoreboard of a sweep": (["report", "--scoreboard={TMP}", "--workdir={TMP}"], ["--scoreboard", "alone"]),
    "options of a scheduler that is not asked for": (["sweep", "--config={TMP}/meshes.py", "--workdir={TMP}/out", "--slurm=--shards=2"],
                                                     ["--slurm = '--shards=2'", "--backend=slurm"]),
    "unknown split": (["sample", "--config={FILE}", "--split=tset"], ["--split = 'tset'", "'test'"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_users_error_is_one_line_that_names_it(pathstar, place, case):
  words, parts = WRONG[case]
  status, out, err = pathstar(*map(place, words))
  assert status == 2 and not out
  lines = err.splitlines()
  assert lines and lines[0].startswith("error: ")
  # A sweep lists its impossible cells, one a line.
  assert len(lines) == (2 if "impossible" in lines[0] else 1), err
  for part in map(place, parts):
    assert part in err


def test_nothing_is_written_for_a_bad_config(pathstar, place, tmp_path):
  status, *_ = pathstar(*map(place, [*TRAIN, "--config.task.degree=0"]))
  assert status == 2 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--config={TMP}/meshes.py", "--config.task.degree=2", "--dry_run"], ["--status"]])
def test_what_trains_nothing_waits_for_no_other_process(pathstar, place, monkeypatch, words):
  monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
  status, _, err = pathstar(*map(place, ["sweep", *words, "--workdir={TMP}/out"]))
  assert "TPU_WORKER_HOSTNAMES" not in err and (status == 0 or "no sweep" in err)


@pytest.mark.parametrize("words, named", [
    (["train", "--workdir=x"], "--config"), (["train", "--config={FILE}"], "--workdir"), (["sweep", "--config={FILE}"], "--workdir"),
    (["train", "--config={FILE}", "--workdir=x", "--wrkdir=y"], "--wrkdir"),
])
def test_options_that_are_missing_or_unknown_are_named(pathstar, place, words, named):
  status, out, err = pathstar(*map(place, words))
  assert status == 2 and not out and named in err.splitlines()[-1] and "error" in err.splitlines()[-1]


def test_without_a_command_the_commands_are_listed(pathstar):
  for words, want in (([], 2), (["--help"], 0)):
    status, out, _ = pathstar(*words)
    assert status == want and all(name in out for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(pathstar, command):
  status, out, _ = pathstar(command, "--help")
  assert status == 0 and f"pathstar {command}" in out


def test_a_malformed_data_file_is_refused_by_file_line_and_reason(pathstar, tmp_path, monkeypatch, tiny):
  file = tmp_path / "data.txt"
  task = tiny().task
  lines = task.to_text(task.examples(0, "test", [0, 1]))
  file.write_text("\n".join([*lines, lines[0].split("=")[0]]) + "\n")
  monkeypatch.setattr(run, "load", lambda folder: run.Run(None, {}, tiny(), 0, folder))
  status, out, err = pathstar("eval", "--workdir=x", f"--data={file}")
  assert status == 2 and not out and err.startswith(f"error: {file}: line 3: not of the form") and len(err.splitlines()) == 1
  status, _, err = pathstar("eval", "--workdir=x", f"--data={tmp_path / 'absent.txt'}")
  assert status == 2 and "absent.txt" in err and len(err.splitlines()) == 1


def test_sampling_shows_and_exports_the_same_examples(pathstar, place, tmp_path):
  status, out, _ = pathstar(*map(place, ["sample", "--config={FILE}", "--n=3", "--split=test"]))
  assert status == 0
  assert pathstar(*map(place, ["sample", "--config={FILE}", "--n=3", "--split=test", "--out={TMP}/new.txt"]))[0] == 0
  assert out.splitlines()[:3] == (tmp_path / "new.txt").read_text().splitlines()


def test_a_reader_that_leaves_early_is_no_traceback(tiny_file):
  with subprocess.Popen([sys.executable, "-m", "pathstar", "sample", f"--config={tiny_file}", "--n=50"],
                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 1


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.\nx"), MemoryError()])
def test_a_lack_of_memory_is_one_line_with_what_would_help(pathstar, place, tmp_path, monkeypatch, tiny_file, error):
  def train(*args):
    raise error

  monkeypatch.setattr(train_command, "train", train)
  status, _, said = pathstar("train", f"--config={tiny_file}", f"--workdir={tmp_path / 'run'}")
  assert status == 1 and said.startswith("error: out of memory") and said.count("\n") == 1 and "train.batch_size" in said


def test_home_is_expanded_in_every_option(pathstar, place, tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  status, out, err = pathstar(*map(place, ["sample", "--config={FILE}", "--n=3", "--out=~/some.txt"]))
  assert status == 0, err
  assert len((tmp_path / "some.txt").read_text().splitlines()) == 3


@pytest.mark.slow
def test_an_accelerator_that_is_not_there_is_named(tmp_path, tiny_file):
  done = subprocess.run([sys.executable, "-m", "pathstar", "train", f"--config={tiny_file}", f"--workdir={tmp_path / 'run'}"],
                        env=os.environ | {"JAX_PLATFORMS": "rocm"}, capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr.startswith("error: JAX_PLATFORMS = 'rocm'") and not (tmp_path / "run").exists(), done.stderr
