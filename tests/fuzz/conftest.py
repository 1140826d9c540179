"""What the suites of damage share. With PATHSTAR_FUZZ=full in the environment they run as many trials as a release needs, else a part:

    PATHSTAR_FUZZ=full bash tests/run.sh -m slow tests/fuzz
"""

import os
import random

import pytest


@pytest.fixture(scope="session")
def trials():
  """trials(full, part) -> that many numbers, each with a generator of its own: a trial is the same whatever ran before it."""
  number = lambda full, part: full if os.environ.get("PATHSTAR_FUZZ") == "full" else part
  return lambda full, part: ((trial, random.Random(trial)) for trial in range(number(full, part)))


@pytest.fixture(scope="session")
def broken():
  """broken(chance, content) -> damaged content: torn, bits turned over, a piece lost, doubled, replaced or moved, lines lost or swapped."""

  def damage(chance, content: bytes) -> bytes:
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    lines = content.splitlines(keepends=True)
    i, j = (chance.randrange(len(lines)) for _ in range(2)) if lines else (0, 0)
    kind = chance.randrange(9)
    if kind == 0:
      return content[:a]
    if kind == 1:
      return content[:a] + content[b:]
    if kind == 2:
      return content[:b] + content[a:]
    if kind == 3:
      return content[:a] + chance.randbytes(min(b - a, 50)) + content[b:]
    if kind == 4:
      return b"".join(line for n, line in enumerate(lines) if n != i)
    if kind == 5:
      return b"".join(lines[:i + 1] + lines[i:])
    if kind == 6 and lines:
      lines[i], lines[j] = lines[j], lines[i]
      return b"".join(lines)
    turned = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
      if turned:
        turned[chance.randrange(len(turned))] ^= 1 << chance.randrange(8)
    return bytes(turned)

  return damage
