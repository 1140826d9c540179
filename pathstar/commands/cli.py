"""`pathstar <command>`: finds the command's module and turns what a user did wrong into one line.

Each command is a module with `main(argv) -> exit status`. Exit status: 0 done, 1 something failed, 2 bad input, 75 stopped by a signal
after a checkpoint (the same command resumes).
"""

import argparse
import collections
import importlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence

import pathstar
from pathstar.errors import Stopped, UserError, choose, nearest, out_of_memory, outage
from pathstar.training import signals

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_STOPPED = 1, 2, signals.EXIT_STOPPED

COMMANDS = {
    "train": "one run",
    "sweep": "all cells of a config's grid",
    "plan": "what a config costs on hardware that is not here",
    "report": "tables and figures of a folder of runs",
    "eval": "a finished run's model on the test split or on a file",
    "sample": "show, draw or export examples",
    "bench": "speed against what this machine can do",
}
_TRAIN = ("train", "sweep")


class Parser(argparse.ArgumentParser):
  """The options of a command: each is written whole and, if it doesn't add up, once."""

  def __init__(self, command: str, description: str):
    super().__init__(f"pathstar {command}", description=description, allow_abbrev=False)

  def parse_args(self, argv: Sequence[str]) -> argparse.Namespace:
    """Raises UserError."""
    given = collections.Counter(word.partition("=")[0] for word in argv)
    for action in self._actions:
      if sum(given[name] for name in action.option_strings) > 1 and action.nargs != 0 and not isinstance(action.default, list):
        raise UserError(f"{action.option_strings[0]}: is given twice")
    args, unknown = self.parse_known_args(argv)
    for word in unknown:
      name = word.partition("=")[0]
      raise UserError(f"{name}: is not an option of {self.prog}{nearest(name, self._option_string_actions)}")
    return args


def parse(parser: Parser, argv: Sequence[str], **folders: str):
  """Adds `--config` (and a required `--NAME` for each of `folders`), and reads `--config.FIELD=VALUE` overrides.

  A command with a `workdir` trains: it also takes `--mesh`, and `--distributed`, which is acted on here unless there is `--dry_run`.

  Returns (arguments, config.Loaded). Raises UserError.
  """
  from pathstar import config  # JAX, which `pathstar --help` does without
  from pathstar.devices import hosts
  from pathstar.devices.mesh import cores_as_devices

  parser.add_argument("--config", required=True, metavar="FILE[:ARGS]", help="config file or the name of a packaged one, and its "
                      "arguments; --config.FIELD=VALUE (or a number of them) overrides a field")
  for name, text in folders.items():
    parser.add_argument(f"--{name}", required=True, help=text)
  if "workdir" in folders:
    parser.add_argument("--mesh", metavar="SPEC", help="devices by axis, as run=4,data=8,model=2 (,fsdp), or auto; "
                        "the same as --config.mesh")
    parser.add_argument("--distributed", nargs="?", const=hosts.AUTO, metavar="ADDRESS:PORT,COUNT,ID",
                        help="this is one process of a job: as said, or as the cluster says (SLURM step, MPI, TPU pod)")
  overrides = [word for word in argv if word.startswith("--config.")]
  args = parser.parse_args([word for word in argv if not word.startswith("--config.")])
  changes = {}
  for word in overrides:
    name, equals, value = word.removeprefix("--config.").partition("=")
    if not equals:
      raise UserError(f"{word}: must be written --config.{name}=VALUE")
    if changes.setdefault(name, value) != value:
      raise UserError(f"--config.{name} is given twice, as {changes[name]!r} and as {value!r}")
  if getattr(args, "mesh", None) is not None:
    if changes.setdefault("mesh", args.mesh) != args.mesh:
      raise UserError(f"--mesh and --config.mesh are the same, and given as {args.mesh!r} and as {changes['mesh']!r}")
  if "workdir" in folders:
    cores_as_devices()
    if not getattr(args, "dry_run", False):
      hosts.join(args.distributed)
    signals.joined(hosts.leave_together(signals.leave))
  return args, config.load(args.config, changes)


def add_only(parser: Parser) -> None:
  """`--only FIELD=VALUE,...`: a part of a grid, in every command that has to do with one."""
  parser.add_argument("--only", metavar="FIELD=VALUE,...", action="append", default=[],
                      help="the runs alone that have one of these values; may be given several times, and then all must hold")


def program(name: str) -> str:
  """How to call an installed program from here: by its name, or where the environment is not active by its path."""
  beside = os.path.join(os.path.dirname(sys.executable), name)
  here = os.path.relpath(beside)
  return name if shutil.which(name) or not os.path.exists(beside) else beside if here.startswith("..") else here


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
  """Runs a command; a user's error becomes one line and status 2."""
  logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
  for name in ("absl", "asyncio"):  # Orbax says in tracebacks what it raises as well
    logging.getLogger(name).setLevel(logging.CRITICAL)
  try:
    status = main([_expanded(word) for word in argv])
    sys.stdout.flush()
    return status
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return EXIT_BAD_INPUT
  except Stopped as error:
    print(error, file=sys.stderr)
    return EXIT_STOPPED
  except KeyboardInterrupt:  # of a command that has nothing to save
    print("stopped", file=sys.stderr)
    return EXIT_STOPPED
  except BrokenPipeError:  # the reader of standard output has seen enough, as `| head`
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
    return EXIT_FAILED
  except Exception as error:  # that no command foresaw: of a place that the user named, or of the machine
    if out_of_memory(error):
      print(f"error: out of memory: {str(error).partition(chr(10))[0]}; a smaller train.batch_size or model, model.remat=true, or more "
            "devices (--mesh) would help", file=sys.stderr)
      return EXIT_FAILED
    if not (said := outage(error) or (isinstance(error, OSError) and error.filename and error.strerror)):
      raise
    print(f"error: {getattr(error, 'filename', None) or 'the disk'}: {said.lower()}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _expanded(word: str) -> str:
  """`--workdir=~/x` as the shell would have it, were it two words."""
  return re.sub(r"(?<=^--)([\w.]+=)(~.*)", lambda found: found[1] + os.path.expanduser(found[2]), word)


def main() -> int:
  """Entry point of the console script: `command`, and the end of the process."""
  status = command()
  if sys.argv[1:2] and sys.argv[1] in _TRAIN:
    signals.end(status)
  return status


def command() -> int:
  """Runs the command that sys.argv names. Returns its exit status."""
  argv = sys.argv[1:]
  if argv[:1] == ["--version"]:
    print(f"pathstar {pathstar.__version__}")
    return 0
  if not argv or argv[0] in ("-h", "--help"):
    print("usage: pathstar COMMAND [--help] | --version\n\n" + "\n".join(f"  {name:8} {text}" for name, text in COMMANDS.items()))
    return 0 if argv else EXIT_BAD_INPUT
  try:
    choose("command", argv[0], COMMANDS)
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return EXIT_BAD_INPUT
  if argv[0] in _TRAIN:
    signals.listen(job=any(word.startswith("--distributed") for word in argv))
  return run(importlib.import_module(f"pathstar.commands.{argv[0]}").main, argv[1:])
