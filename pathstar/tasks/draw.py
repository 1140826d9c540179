"""Pictures of one example: text for a terminal (graphs only), a figure for TensorBoard."""

import numpy as np


def text(task, example: dict) -> str:
  """The arms, one a line, the goal's marked."""
  arms, target = example["arms"], example["target"][example["answer"]]
  width = len(str(task.num_nodes - 1))
  lines = []
  for arm in arms:
    arm = arm[arm != task.dummy]
    nodes = " -> ".join(f"{node:>{width}}" for node in arm)
    lines.append(nodes + ("   <- goal" if np.array_equal(arm, target) else ""))
  return "\n".join(lines)


def _line(task, example: dict) -> str:
  """The example in its task's file format."""
  return task.to_text({name: value[None] for name, value in example.items()})[0]


def with_answer(example: dict, answer: np.ndarray) -> np.ndarray:
  """The target with another answer in its place."""
  target, place = example["target"].copy(), np.flatnonzero(example["answer"])
  target[place] = answer[:len(place)]
  return target


def figure(task, example: dict, answer=None):
  """The graph with the true path in grey and the model's answer (tokens of the path, from the start) drawn over it.

  An answer token that is not a node, or a move along no edge, is drawn dashed and red. Of a task without a graph: two
  lines of text.
  """
  from matplotlib.figure import Figure  # slow to import, and only figures need it

  if answer is not None:  # a token that is not the task's own, such as a mask, is shown as the dummy
    answer = np.where((np.asarray(answer) >= 0) & (np.asarray(answer) < task.vocab_size), answer, task.dummy)
  if "arms" not in example:
    figure = Figure(figsize=(5, 1.2))
    given = "" if answer is None else "\nmodel: " + _line(task, example | {"target": with_answer(example, answer)})
    figure.text(0.05, 0.5, _line(task, example) + given, family="monospace", va="center")
    return figure
  arms, target = example["arms"], example["target"][example["answer"]]
  arms = [arm[arm != task.dummy] for arm in arms]
  place = {int(example["start"]): (0.0, 0.0)}
  for a, arm in enumerate(arms):
    angle = 2 * np.pi * a / len(arms)
    place |= {int(node): (k * np.cos(angle), k * np.sin(angle)) for k, node in enumerate(arm) if k}
  edges = {(int(u), int(v)) for arm in arms for u, v in zip(arm, arm[1:])}
  figure = Figure(figsize=(5, 5), layout="constrained")
  axes = figure.add_subplot()
  for u, v in edges:
    axes.annotate("", place[v], place[u], arrowprops=dict(arrowstyle="-|>", color="0.75", shrinkA=11, shrinkB=11, lw=1.5))
  for u, v in zip(target, target[1:]):
    axes.plot(*zip(place[int(u)], place[int(v)]), color="0.85", lw=12, solid_capstyle="round", zorder=0)
  for node, (x, y) in place.items():
    end = node in (int(example["start"]), int(example["goal"]))
    axes.scatter(x, y, s=420, facecolor="0.15" if end else "white", edgecolor="0.15", zorder=2)
    axes.text(x, y, str(node), color="white" if end else "0.15", ha="center", va="center", zorder=3)
  title = f"{task}: from {example['start']} to {example['goal']}"
  if answer is not None:
    nodes = [int(t) for t in answer][:len(target)]  # what a model says behind the answer does not count
    for u, v in zip(nodes, nodes[1:]):
      if u in place and v in place:
        legal = (u, v) in edges
        axes.annotate("", place[v], place[u], zorder=4, arrowprops=dict(
            arrowstyle="-|>", color="C0" if legal else "C3", ls="-" if legal else "--", lw=2.5, shrinkA=11, shrinkB=11))
    title += f"\nmodel: {' '.join(map(str, nodes))} ({'right' if nodes == [int(t) for t in target] else 'wrong'})"
  axes.set_title(title)
  reach = max(map(len, arms)) - 0.4  # said, not left to the data: two arms are a line, which has no height
  axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach))
  axes.axis("off")
  return figure
