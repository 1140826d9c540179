"""Damaged data files for `pathstar eval --data`: the right answers, or a message that names the line at fault, in linear time."""

import random
import re
import time

import numpy as np
import pytest

from pathstar.errors import UserError
from pathstar.tasks import TASKS, files

pytestmark = pytest.mark.slow

TRIALS = 600
ODD = ["-1", "x", "٣", "1e3", "0x1", "1_0", "99999999999", "9" * 5000, "+1", " 1"]
SOURCES = [TASKS["path_star"](2, 4, 12), TASKS["path_star"](3, 3, 20, layout="query_first"),
           TASKS["path_star"](2, 5, 20, min_length=3, arm_lengths="unequal"), TASKS["addition"](3), TASKS["in_weights"](4, 4)]


def dressed(chance, lines):
  """The lines as files come: other ends of lines, a mark at the beginning, blank lines; these are no damage."""
  text = chance.choice(["\n", "\r\n", "\r"]).join(lines + [""] * chance.randrange(3))
  return chance.choice([b"", b"\xef\xbb\xbf"]) + text.encode()


def wrong(chance, lines):
  """A file with something else in it, that keeps its form or not."""
  i = chance.randrange(len(lines))
  lines, line = list(lines), lines[i]
  kind = chance.randrange(12)
  numbers = re.findall(r"\d+", line)
  lines[i] = {
      0: lambda: line.replace(",", chance.choice([" ", ";", ", ", "\t", ",,", "，"])),
      1: lambda: line.replace("|", chance.choice(["||", " | ", ";", "\n"])),
      2: lambda: line.replace("=", chance.choice(["", "==", " = ", ":"])),
      3: lambda: line + "," + chance.choice(numbers),
      4: lambda: re.sub(rf"\b{chance.choice(numbers)}\b", chance.choice(numbers), line, count=1),  # an edge twice, a cycle, a wrong path
      5: lambda: line + line,
      6: lambda: line[::-1],
      7: lambda: line.replace(chance.choice(numbers), chance.choice(ODD)),
      8: lambda: "|".join([line] * 2000),
      9: lambda: chance.choice(["", " ", "\t"]) + line + chance.choice(["\x00", " ", "\x0b", "\u2028" + line, "#", " # right"]),
      10: lambda: "1," * 100_000 + "1",
      11: lambda: line.split("=")[0] + "=",
  }[kind]()
  return "\n".join(lines).encode()


def test_a_file_is_read_right_or_refused_by_its_line(trials, broken, tmp_path):
  file, read = tmp_path / "data.txt", 0
  for trial, chance in trials(TRIALS, TRIALS):
    task = chance.choice(SOURCES)
    lines = task.to_text(task.examples(0, "test", np.arange(chance.randint(1, 6))))
    how = chance.randrange(8)
    content = dressed(chance, lines) if how == 0 else wrong(chance, lines) if how < 5 else broken(chance, dressed(chance, lines))
    if how == 7:
      content = chance.choice([b"", b"\n\n", chance.randbytes(200), content.decode(errors="replace").encode("utf-16"), b"\xff" + content])
    file.write_bytes(content)
    begin = time.monotonic()
    try:
      batch = files.read(task, str(file), "--data")
    except UserError as error:
      assert how != 0, (trial, str(error))
      assert re.match(rf"{re.escape(str(file))}: (line \d+: |no example in the file)", str(error)), (trial, str(error))
      assert len(str(error).splitlines()) == 1 and len(str(error)) < 600, (trial, str(error))
    else:  # what is read is what stands there
      read += 1
      text = content.removeprefix(b"\xef\xbb\xbf").decode().replace("\r\n", "\n").replace("\r", "\n")
      there = [line.strip(" \t") for line in text.split("\n") if line.strip(" \t")]
      again = task.to_text(batch)
      assert len(again) == len(there), trial
      assert how != 0 or again == lines, trial
      for one, other in zip(again, there):
        plain = re.sub(r"\b0+(?=\d)", "", other) if task.__class__.__name__ != "Addition" else other
        assert one == plain or (plain.endswith("=") and one.startswith(plain)), (trial, one, other)
    assert time.monotonic() - begin < 5, trial
  assert TRIALS / 10 < read < TRIALS / 1.2  # both happen


def test_an_arm_of_30000_edges_and_100000_lines_take_seconds():
  begin = time.monotonic()
  long = TASKS["path_star"](1, 30_001, 2**15)
  edges = [f"{u},{u + 1}" for u in range(30_000)]
  random.Random(0).shuffle(edges)
  batch = long.from_text(["|".join(edges) + "/0,30000="])
  np.testing.assert_array_equal(batch["target"][0], np.arange(30_001))
  assert time.monotonic() - begin < 5
  with pytest.raises(UserError, match="line 1: wrong length"):
    TASKS["path_star"](1, 5, 2**15).from_text(["|".join(edges) + "/0,30000="])
  begin, task = time.monotonic(), TASKS["path_star"](2, 4, 12)
  lines = task.to_text(task.examples(0, "test", np.arange(1000)))
  assert len(task.from_text(lines * 100)["target"]) == 100_000
  assert time.monotonic() - begin < 30
