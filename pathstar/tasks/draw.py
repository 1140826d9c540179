"""Pictures of examples: text for a terminal (graphs only), one as a figure, or many side by side for TensorBoard."""

import math

import numpy as np

_RIGHT, _WRONG = "C0", "C3"
_AS_IT_IS = {"parse_math": False}  # what stands between dollars, which are tokens here, is no formula
_WIDTH = 7.5  # inches of many side by side
_ABOVE, _BELOW, _TITLE = 0.35, 0.5, 0.3  # inches of the heading, of what is said of chance, and of the line over each


def text(task, example: dict) -> str:
  """The arms, one a line, the goal's marked."""
  arms, target = example["arms"], example["target"][example["answer"]]
  width = len(str(arms[arms != task.dummy].max()))
  lines = []
  for arm in arms:
    arm = arm[arm != task.dummy]
    nodes = " -> ".join(f"{node:>{width}}" for node in arm)
    lines.append(nodes + ("   <- goal" if np.array_equal(arm, target) else ""))
  return "\n".join(lines)


def with_answer(example: dict, answer: np.ndarray) -> np.ndarray:
  """The target with another answer in its place."""
  target, place = example["target"].copy(), np.flatnonzero(example["answer"])
  target[place] = answer[:len(place)]
  return target


def right(example: dict, answer: np.ndarray) -> bool:
  """Whether an answer is the example's; what a model says behind its end does not count."""
  target = example["target"][example["answer"]]
  return np.array_equal(np.asarray(answer)[:len(target)], target)


def figure(task, example: dict, answer=None):
  """The graph with the true path in grey and the model's answer (tokens of the path, from the start) drawn over it.

  The arms are rows, from the start on. A wrong answer is red, a move along no edge dashed. Of a task without a graph: two lines of text.
  """
  from matplotlib.figure import Figure  # slow to import, and only figures need it

  if "arms" not in example:
    figure = Figure(figsize=(5, 0.8))
    given = "" if answer is None else "\nmodel: " + _line(task, example | {"target": with_answer(example, _own(task, answer))})
    figure.text(0.05, 0.5, _line(task, example) + given, family="monospace", va="center", **_AS_IT_IS)
    return figure
  rows, columns = _size(example)
  figure = Figure(figsize=(max(3.2, 0.6 * columns), 0.6 * rows + 0.6), layout="constrained")
  axes = _paper(figure.add_subplot(), columns, rows)
  _graph(axes, task, example, answer, numbers=True)
  title = f"{task}: from {example['start']} to {example['goal']}"
  if answer is not None:
    said = [int(t) for t in _own(task, answer)][:int(example["answer"].sum())]
    title += f"\nmodel: {' '.join(map(str, said))} ({'right' if right(example, answer) else 'wrong'})"
  axes.set_title(title, fontsize=10, **_AS_IT_IS)
  return figure


def gallery(task, examples: dict, answers, title: str):
  """As `figure`, of several (N, ...) side by side with a model's answers (N, A): how many are right, and how many are by chance."""
  from matplotlib.figure import Figure

  number = len(answers)
  each = [({name: x[n] for name, x in examples.items()}, answers[n]) for n in range(number)]
  hits = sum(right(*one) for one in each)
  head, chance = f"{title}: {hits} of {number} right", f"by chance {number * task.chance:.2g} of {number} (chance {task.chance:.2g})"
  if "arms" not in examples:
    lines = [f"{_line(task, one)}   {'right' if right(one, answer) else 'wrong: ' + _line(task, one | {'target': said})}"
             for one, answer in each for said in [with_answer(one, _own(task, answer))]]
    figure = Figure(figsize=(max(5.0, 0.085 * max(map(len, lines))), 0.22 * number + _ABOVE + _BELOW))
    for k, line in enumerate(lines):
      figure.text(0.03, 1 - (_ABOVE + 0.15 + 0.22 * k) / figure.get_figheight(), line, family="monospace", fontsize=9, va="center",
                  color=_WRONG if "wrong: " in line else _RIGHT, **_AS_IT_IS)
  else:
    rows, columns = np.max([_size(one) for one, _ in each], axis=0)
    shape = lambda n: n * columns / (math.ceil(number / n) * (rows + 0.7))  # of n columns of graphs: width over height
    across = min((n for n in range(1, number + 1) if number % n == 0), key=lambda n: abs(math.log(shape(n) / 1.4)))
    unit = _WIDTH / (across * columns)
    down = number // across
    tall = rows + _TITLE / unit  # of one and its title, in distances of two nodes
    height = down * tall * unit + _ABOVE + _BELOW
    figure = Figure(figsize=(_WIDTH, height))
    # One pair of axes for all: with a pair for each and a layout by matplotlib it takes several times as long.
    axes = _paper(figure.add_axes([0, _BELOW / height, 1, 1 - (_ABOVE + _BELOW) / height]), across * columns, down * tall)
    for n, (one, answer) in enumerate(each):
      left, top = n % across * columns, n // across * tall
      _graph(axes, task, one, answer, numbers=unit > 0.3, size=min(1.0, unit / 0.6), left=left, top=top + tall - rows)
      verdict = "right" if right(one, answer) else "wrong"
      axes.text(left + columns / 2, top + _TITLE / unit / 2, f"{one['start']} to {one['goal']}: {verdict}", ha="center", va="center",
                fontsize=9, color=_RIGHT if verdict == "right" else _WRONG)
    chance += "\ngrey: the path asked for; line: the model's, dashed where there is no edge"
  width, height = figure.get_size_inches()
  fitting = min(13, 115 * width / len(head))  # a letter of 13 points is 0.11 inches wide
  figure.suptitle(head, fontsize=fitting, y=1 - 0.08 / height, **_AS_IT_IS)
  figure.supxlabel(chance, fontsize=9, y=0.08 / height)
  return figure


def _line(task, example: dict) -> str:
  """The example in its task's file format."""
  return task.to_text({name: value[None] for name, value in example.items()})[0]


def _own(task, answer):
  """The answer, with the dummy for what is no token of the task, such as a mask."""
  return np.where((np.asarray(answer) >= 0) & (np.asarray(answer) < task.vocab_size), answer, task.dummy)


def _size(example: dict) -> tuple[int, int]:
  return example["arms"].shape


def _paper(axes, width: float, height: float):
  """Axes without marks, `width` by `height` distances of two nodes, from the upper left corner on."""
  axes.set(aspect="equal", xlim=(0, width), ylim=(height, 0))
  axes.axis("off")
  return axes


def _graph(axes, task, example: dict, answer, numbers: bool, size: float = 1.0, left: float = 0.0, top: float = 0.0) -> None:
  """The arms as rows of nodes, `size` times as large as by themselves, from a corner on; `numbers`: with the nodes' ids."""
  from matplotlib.collections import LineCollection

  rows, _ = _size(example)
  start, target = int(example["start"]), [int(t) for t in example["target"][example["answer"]]]
  place, edges = {start: (left + 0.5, top + rows / 2)}, set()
  for row, arm in enumerate(example["arms"]):
    nodes = [int(node) for node in arm if node != task.dummy]
    place |= {node: (left + 0.5 + column, top + 0.5 + row) for column, node in enumerate(nodes) if column}
    edges |= set(zip(nodes, nodes[1:]))
  line = lambda pairs, **style: axes.add_collection(
      LineCollection([(place[u], place[v]) for u, v in pairs], capstyle="round", **style), autolim=False)
  line(edges, color="0.75", lw=1.2 * size + 0.3, zorder=1)
  line(zip(target, target[1:]), color="0.85", lw=14 * size, zorder=0)
  ends = [place[start], place[int(example["goal"])]]
  for spots, color in ((list(place.values()), "white"), (ends, "0.15")):
    axes.scatter(*zip(*spots), s=(20 * size) ** 2, facecolor=color, edgecolor="0.15", lw=0.8, zorder=3)
  for node, spot in place.items() if numbers else ():
    axes.text(*spot, str(node), color="white" if spot in ends else "0.15", ha="center", va="center", fontsize=9 * size + 1, zorder=4)
  if answer is not None:
    color = _RIGHT if right(example, answer) else _WRONG
    said = [int(t) for t in answer][:len(target)]
    moves = [(u, v) for u, v in zip(said, said[1:]) if u in place and v in place]
    line([move for move in moves if move in edges], color=color, lw=3 * size + 0.5, zorder=2)
    line([move for move in moves if move not in edges], color=color, lw=2 * size + 0.5, ls=(0, (2, 2)), zorder=2)
