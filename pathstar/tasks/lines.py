"""Lines of text as examples: what every task's file format shares."""

from collections.abc import Callable, Iterable

from pathstar.errors import UserError


def read(lines: Iterable[str], parse: Callable[[str], tuple]) -> list[tuple]:
  """What `parse` makes of each line that is not blank; it raises UserError on a malformed one. Raises UserError with the line's number."""
  found = []
  for number, line in enumerate(lines, 1):
    if line := line.strip(" \t\r\n"):
      try:
        found.append(parse(line))
      except UserError as error:
        raise UserError(f"line {number}: {error}") from None
  if not found:
    raise UserError("no example in the file")
  return found
