"""Training, top to bottom: one or several runs that differ in values alone (a pack) as one program.

`steps_per_call` optimiser steps are one dispatch; its numbers are fetched while the next one runs.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import time
import zlib
from collections.abc import Sequence

import jax

from pathstar import evals
from pathstar.config import Config, differences
from pathstar.devices import hosts
from pathstar.devices.mesh import over_runs
from pathstar.errors import Stopped, UserError, require, say
from pathstar.storage import results as results_of
from pathstar.storage import workdir
from pathstar.storage.environment import environment
from pathstar.storage.locks import lock
from pathstar.training import extra as extra_of
from pathstar.training import flops, growth, metrics
from pathstar.training.ahead import Ahead
from pathstar.training.checkpoint import Checkpoints
from pathstar.training.feed import device_batches, eval_inputs
from pathstar.training.metrics import Recorder
from pathstar.training.program import Program, at_the_end, pack_values, parameter_counts
from pathstar.training.progress import Progress
from pathstar.training.signals import save_first, stop_on_signals

_PICTURED = 12  # problems in a picture
_SAME = 0.02  # exact match of one pass and of what is generated may differ by this, through rounding, and be the same


@dataclasses.dataclass(frozen=True)
class Inherited:
  """Checkpoints of a larger pack that some runs come from: their places in it, and how many runs it has."""

  folder: pathlib.Path
  rows: tuple[int, ...]
  number: int


def train(configs: Sequence[Config], folders: Sequence[pathlib.Path], checkpoint_folder: pathlib.Path,
          inherited: Inherited | None = None, progress: Progress | None = None, ahead: Ahead | None = None) -> list[dict]:
  """Trains a pack, resuming from its newest checkpoint, and returns the result of each run, as in its result.json.

  Runs that were trained for fewer steps go on from there (growth.py). Of several processes all call this, and all but the first return an
  empty list.

  Args:
    configs: the runs; they differ in `Config.value_fields` alone.
    folders: a folder for each run.
    checkpoint_folder: where the pack's checkpoints go.
    inherited: where the pack goes on from if it has no checkpoint of its own.
    progress: of the command that the pack is a part of; None: it is all that the command trains.
    ahead: makes the command's programs; None: this is the only one.

  Raises:
    UserError: a folder is in use, belongs to something else, or holds a run with another config.
    Stopped: a signal came; a checkpoint is saved.
  """
  with contextlib.ExitStack() as stack:
    enter = lambda resource: stack.enter_context(contextlib.closing(resource))
    finished = lambda: hosts.of_first(all((folder / workdir.RESULT).exists() for folder in folders))
    ahead = ahead or Ahead()
    program = None if finished() else ahead.program(configs)  # what can't run here leaves nothing behind
    configs = _claim(stack, configs, folders, [checkpoint_folder, *([inherited.folder] if inherited else [])])
    config, num_steps, steps_per_call = configs[0], configs[0].train.num_steps, configs[0].steps_per_call
    if finished():  # nothing finished is undone
      return [results_of.read(folder, (workdir.CONFIG,)) for folder in folders] if hosts.is_first() else []
    program = program or ahead.program(configs)  # of a finished run that goes on
    mesh = program.mesh
    stack.enter_context(jax.set_mesh(mesh))
    values = over_runs(mesh, pack_values(configs))

    checkpoints = enter(Checkpoints(checkpoint_folder, config.train.keep_checkpoints))
    restored = _restore(configs, folders, checkpoints, program)
    if restored is None and inherited and all((folder / workdir.METRICS).exists() for folder in folders):
      restored = _restore(configs, folders, enter(Checkpoints(inherited.folder, config.train.keep_checkpoints)), program, inherited)
    for one, folder in zip(configs, folders, strict=True) if restored is None and hosts.is_first() else ():
      _keep_rows(one, folder)
    start_step, state, extra = restored or (0, program.init(values), {"train_seconds": 0.0})
    require(start_step % steps_per_call == 0, "train.steps_per_call", steps_per_call,
            f"a divisor of the step {start_step} of the newest checkpoint")
    if start_step and hosts.is_first():
      say(f"resuming from step {start_step}")

    examples = eval_inputs(configs, mesh)
    batches = device_batches(configs, program.batch_sharding, start_step)
    progress = progress or enter(Progress())
    progress.begin(configs, start_step)

    def evaluated(step):
      generate = _due(step, config.eval.decode_every, num_steps)
      due = generate or _due(step, config.eval.every, num_steps)
      return evaluate(program, values, state["params"], examples, generate) if due else {}

    ended = start_step < num_steps and hosts.of_first(hosts.is_first() and growth.ended_at(folders[0], start_step))
    recorder = enter(Recorder(configs, folders, start_step, progress, evaluated(start_step) if ended else None))
    signalled = stack.enter_context(stop_on_signals())
    begin = time.monotonic()
    seconds = lambda: extra["train_seconds"] + time.monotonic() - begin
    if start_step == 0:
      recorder.push(0, evaluate(program, values, state["params"], examples, generate=True))

    def pictures(step):
      _, answer_RxNxA = program.generate(values, state["params"], examples["test"])
      recorder.pictures(step, *jax.device_get(hosts.everywhere((answer_RxNxA[:, :_PICTURED], state["diverged_at"]))))

    pictured = lambda step: step == num_steps or step - steps_per_call < num_steps / 2 <= step
    if ended and pictured(start_step):
      pictures(start_step)
    votes = None
    for step in range(start_step + steps_per_call, num_steps + 1, steps_per_call):
      state, logged = program.steps(state, values, next(batches))
      if step == start_step + steps_per_call:
        ahead.begin()
      found = dict(logged) if step % config.train.log_every == 0 else {}
      if measured := evaluated(step):
        if step == num_steps:
          state["diverged_at"] = logged["diverged_at"] = at_the_end(step, logged["diverged_at"], measured["eval/test/loss"])
        found |= measured | {"diverged_at": logged["diverged_at"]}
      recorder.push(step, found, after=logged)
      if pictured(step):  # before the checkpoint, as all that is written of a step: resumed after it, a run has its picture
        pictures(step)
      stop, votes = hosts.poll(signalled.is_set(), votes)
      save_first(stop is not None)  # until all are here, who is signalled need not wait for the others' compilers
      all_diverged = bool((recorder.diverged_at >= 0).all())
      due = step // config.train.checkpoint_every > (step - steps_per_call) // config.train.checkpoint_every
      if due or step == num_steps or stop or all_diverged:
        recorder.flush()  # before the checkpoint: what is on disk must reach at least as far
        checkpoints.save(step, state, extra_of.made(configs, seconds(), recorder.digests()))
      if all_diverged:
        break
      if stop:
        checkpoints.wait()
        raise Stopped(f"stopped by a signal at step {step} of {num_steps}; the same command resumes")

    recorder.flush()
    checkpoints.wait()
    diverged_at = jax.device_get(hosts.everywhere(state["diverged_at"]))
    costs = {"flops_per_step": round(flops.of_program(program, configs).total), **parameter_counts(config)}
    results = [_result(one, folder, int(diverged_at[run]), {"train_seconds": round(seconds() / len(configs), 2)} | costs)
               for run, (one, folder) in enumerate(zip(configs, folders, strict=True)) if hosts.is_first()]
    with hosts.together():  # no process goes on before the results are there, and nobody else has the folders
      for folder, result in zip(folders, results, strict=False):
        results_of.write(folder, result)
  return results


def _restore(configs: Sequence[Config], folders: Sequence[pathlib.Path], checkpoints: Checkpoints, program: Program,
             inherited: Inherited | None = None):
  """The newest checkpoint that the metrics of every run reach: what is written is never continued with a gap.

  Raises:
    UserError: there are checkpoints, and some run's metrics reach none of them.
  """
  at_most, lost, state_of = None, "", (program.abstract_state, program.state_shardings)
  newest = lambda: (checkpoints.restore(*state_of, at_most) if inherited is None else
                    checkpoints.restore_rows(*state_of, inherited.rows, inherited.number, at_most))
  while (restored := newest()) is not None:
    step, state, extra = restored
    with hosts.together():
      extra_of.check(extra, configs, checkpoints.folder, inherited and inherited.rows)
    digests = [extra["metrics"][row] if "metrics" in extra else None for row in (inherited.rows if inherited else range(len(configs)))]
    diverged_at = jax.device_get(hosts.everywhere(state["diverged_at"]))
    reached = step
    for config, folder, diverged, digest in zip(configs, folders, diverged_at, digests, strict=True) if hosts.is_first() else ():
      due = [s for s in _written(config) if s <= step and not 0 <= diverged <= s]
      if growth.ended_at(folder, step):  # what was evaluated there gives way to what a longer run evaluates
        digest = None
      if (whole := metrics.reach(folder, step, due, digest)) < reached:
        reached = whole
        lost = f"{folder}: its metrics " + (f"are not what was written beyond step {whole}" if whole >= 0 else "are missing")
    if (at_most := hosts.of_first(reached)) == step:
      return restored
    if lost:
      say(f"{lost}, though there is a checkpoint of step {step}")
  with hosts.together():
    if lost:
      raise UserError(f"{lost}, and no checkpoint is as old; to train it again from the start, start the sweep once with --redo=RUN, or "
                      "choose another workdir for a run of its own")
  return None


def _keep_rows(config: Config, folder: pathlib.Path) -> None:
  """Sets the metrics of a run aside that has no checkpoint though they reach beyond the first one, by how often it was saved or will be."""
  recorded, (rows, damaged) = workdir.read_json(folder / workdir.CONFIG), metrics.read_good(folder)
  often = [config.train.checkpoint_every, config.train.num_steps - 1]
  if "train.checkpoint_every" in recorded:
    often.append(recorded["train.checkpoint_every"])
  if damaged or (rows and rows[-1]["step"] > min(often)):
    aside = workdir.free_name(folder / f"unsaved.{workdir.METRICS}")
    (folder / workdir.METRICS).rename(aside)
    say(f"{folder}: has metrics and no checkpoint; it starts again, and they are set aside as {aside.name}")


def _written(config: Config) -> list[int]:
  """The steps at which a run's metrics have a row."""
  every = [n for n in (config.train.log_every, config.eval.every, config.eval.decode_every) if n is not None]
  return sorted({step for n in every for step in range(0, config.train.num_steps + 1, n)} | {config.train.num_steps})


def evaluate(program: Program, values, params, examples: dict[str, dict], generate: bool) -> dict[str, jax.Array]:
  """All metrics of each run (R,) by tag, on both splits; `generate`: also those of what the models produce."""
  found = {}
  for split, batch in examples.items():
    measured = program.evaluate(values, params, batch)
    if generate:
      measured = evals.together(measured, program.generate(values, params, batch)[0])
    found |= {f"eval/{split}/{name}": value for name, value in measured.items()}
  return found


def _claim(stack: contextlib.ExitStack, configs: Sequence[Config], folders: Sequence[pathlib.Path],
           checkpoints: Sequence[pathlib.Path]) -> list[Config]:
  """Locks the runs' folders until the stack is left, and records in them what runs there or checks that it is the same.

  Returns the configs with all that was derived from them when the runs began.
  """
  with hosts.together():
    mine = zlib.crc32(json.dumps([config.identity for config in configs], sort_keys=True).encode()) >> 1
    if hosts.of_first(mine) != mine:
      raise UserError("this process has another config than the first one of the job; files of examples must hold the same on all")
  with hosts.together():
    shorter, about = [], functools.cache(environment)  # which asks git
    for config, folder in zip(configs, folders, strict=True) if hosts.is_first() else ():

      def changed(old, config=config, folder=folder):
        if growth.steps_before(config, old, lambda one: _steps_per_call(one, folder)):
          shorter.append((config, folder))
          return []
        return differences(config, old)

      workdir.refuse_foreign(folder, workdir.CONFIG, "a run's", (workdir.ENVIRONMENT,))  # and no lock is left there
      workdir.make(folder)
      if folder == folders[0] or not workdir.is_remote(folder):  # on a bucket each costs a few requests, and one is enough for a pack
        stack.enter_context(lock(folder))
      workdir.claim(folder, config.fields, about, changed)
    growth.begin(shorter, checkpoints)
  steps = hosts.of_first(_steps_per_call(configs[0], folders[0]) if hosts.is_first() else 0)
  return [dataclasses.replace(c, train=dataclasses.replace(c.train, steps_per_call=steps)) for c in configs]


def _steps_per_call(config: Config, folder: pathlib.Path) -> int:
  """What a dispatch logs is a mean over its steps: the number stays what it was when the run began."""
  about = folder / workdir.ENVIRONMENT
  if not about.exists() or "random" in workdir.read_json(about):  # which version 0.1 did not record
    return config.steps_per_call
  return config.steps_per_call_of_version_0_1(workdir.read_json(folder / workdir.CONFIG)["train.checkpoint_every"])


def _due(step: int, every: int | None, num_steps: int) -> bool:
  return step == num_steps or (every is not None and step % every == 0)


def _result(config: Config, folder: pathlib.Path, diverged_at: int, costs: dict) -> dict:
  """result.json: how the run ended and its last evaluation; a diverged run has no scores."""
  ended = {"status": "done", "steps": config.train.num_steps, **costs}
  if diverged_at >= 0:
    return ended | {"status": "diverged", "steps": diverged_at}
  last = metrics.read(folder)[-1]
  scores = {name: value for name, value in last.items() if name.startswith("eval/")}
  if last["step"] != config.train.num_steps or not scores:
    raise UserError(f"{folder / workdir.METRICS}: ends at step {last['step']}, without the evaluation of step {config.train.num_steps}; no "
                    "result is written")
  one_pass, generated = scores.get("eval/test/exact_match"), scores.get("eval/test/generated_exact_match")
  if one_pass is not None and generated is not None and abs(one_pass - generated) > _SAME:
    say(f"warning: {folder.name}: exact match is {one_pass:.3f} by one pass and {generated:.3f} of what is generated; objective "
          f"{config.fields['objective.name']} says one_pass = {config.objective.one_pass}, which must then be wrong")
  return ended | scores
