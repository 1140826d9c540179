"""What is registered, as the README's table has it: tasks, objectives and architectures, with where they come from and where they are."""

import inspect
import pathlib

import pathstar
from pathstar.errors import UserError
from pathstar.models import MIXERS
from pathstar.objectives import OBJECTIVES
from pathstar.tasks import TASKS

_ROOT = pathlib.Path(pathstar.__file__).parent.parent


def markdown() -> str:
  """One row a registered thing, in the order of the registries. Raises UserError on one that does not say itself where it comes from."""
  lines = ["| | name | year | source | file |", "|---|---|---|---|---|"]
  for kind, registry in (("task", TASKS), ("objective", OBJECTIVES), ("architecture", MIXERS)):
    for name, one in registry.items():
      if missing := {"year", "source"} - vars(one).keys():
        raise UserError(f"{kind} {name}: {' and '.join(sorted(missing))}: must be said by {one.__name__} itself; its base's is another")
      lines.append(f"| {kind} | `{name}` | {one.year} | {one.source} | `{_file(one)}` |")
  return "\n".join(lines) + "\n"


def _file(one: type) -> str:
  return pathlib.Path(inspect.getsourcefile(one)).relative_to(_ROOT).as_posix()
