"""A run's result.json, which is written last, and SHA256SUMS beside it: what is read later is what was written then.

`sha256sum -c SHA256SUMS` in the run's folder says the same. Folders of earlier versions have none, and are taken as they are.
"""

import hashlib
import json
import math
import pathlib
from collections.abc import Mapping, Sequence

from pathstar.errors import UserError, first_line, shown
from pathstar.storage.workdir import CONFIG, METRICS, RESULT, read_json, write_text

SUMS = "SHA256SUMS"
_STATES = ("done", "diverged")


def write(folder: pathlib.Path, result: Mapping) -> None:
  """Ends a run whose other files are complete."""
  text = json.dumps(result, indent=2) + "\n"
  contents = {name: (folder / name).read_bytes() for name in (CONFIG, METRICS)} | {RESULT: text.encode()}
  write_text(folder / SUMS, "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()))
  write_text(folder / RESULT, text)


def read(folder: pathlib.Path, beside: Sequence[str] = ()) -> dict:
  """The result of a run that has ended. `beside`: other files of it that must be as they were then.

  Raises:
    UserError: a file is damaged, or was changed since.
  """
  result, file = read_json(folder / RESULT), folder / RESULT
  if result.get("status") not in _STATES:
    raise UserError(f"{file}: status = {shown(result.get('status'))}: must be one of {', '.join(_STATES)}; it is damaged or not ours")
  for name, value in result.items():
    if name != "status" and (type(value) not in (int, float) or not math.isfinite(value)):
      raise UserError(f"{file}: {shown(name)} = {shown(value)}: must be a number; it is damaged or not ours")
  if (folder / SUMS).exists():
    sums = _sums(folder)
    for name in (RESULT, *beside):
      if hashlib.sha256((folder / name).read_bytes() if (folder / name).exists() else b"").hexdigest() != sums.get(name):
        raise UserError(f"{folder / name}: is not what was written when the run ended ({SUMS} beside it tells); put back a copy, or train "
                        "the run again")
  return result


def _sums(folder: pathlib.Path) -> dict[str, str]:
  try:
    lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
    return {name: number for number, name in (line.split("  ") for line in lines)}
  except (OSError, ValueError) as error:
    raise UserError(f"{folder / SUMS}: can't be read ({first_line(error)}); it is damaged") from None
