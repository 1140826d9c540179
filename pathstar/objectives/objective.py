"""What every objective is: a frozen dataclass of a task, an order and its own fields, which says what it is and what it needs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pathstar.errors import choose, require
from pathstar.objectives import decode
from pathstar.objectives.target import ORDERS, Aux, turned


@dataclasses.dataclass(frozen=True)
class Objective:
  """Base of all objectives; see `pathstar.objectives` for the interface. Tokens are int32, logits float32.

  Unless it says otherwise an objective reads the problem and the target but for its last token, sees causally, and is read out by
  greedy decoding, token by token.
  """

  # What it says of itself; the shared tests prove it.
  one_pass = True  # the answer that `predict` gives is right if and only if `logits` on the true answer are
  sees_answer = True  # `logits` of a target token depend on the tokens before it, as given in the batch
  scores_all = True  # the loss scores every token of the target
  mask = "causal"  # what a token sees: causal | prefix (a causal problem, an answer that sees all) | full | beside (causal, with tokens
  # in training that the others do not see: model.hidden_beside)
  extra_tokens = 0  # tokens of its own, numbered from the task's vocab_size on
  extra_positions = 0  # positions that it adds to problem and target
  values = ()  # its float fields that runs of one pack may differ in, as in the learning rate
  batch_keys = ()  # what it asks of the task's examples beside prefix, target and weight: "arms", "answer", ...
  year, source = None, ""  # of the table in the README

  task: Any
  order: str = "forward"  # order in which the target is produced: forward | reversed

  def __post_init__(self):
    choose("objective.order", self.order, ORDERS)
    require(self.order == "forward" or self.task.separator is None, "objective.order", self.order,
            f"forward for {self.task}: the answer follows from the trace before it")

  @property
  def vocab_size(self) -> int:
    return self.task.vocab_size + self.extra_tokens

  @property
  def max_length(self) -> int:
    """Positions that the model needs."""
    return self.task.prefix_length + self.task.target_length + self.extra_positions

  @property
  def input_length(self) -> int:
    """Tokens of one example that the model reads in training."""
    return self.max_length - 1

  def check(self, model) -> None:
    """Raises UserError where the model does not fit: extend it for what else is needed."""
    choose("objective.mask", self.mask, ("causal", "prefix", "full", "beside"))
    require(self.mask == "causal" or model.any_mask, "model.mixer", model.fields.mixer,
            f"one that can see ahead, as attention, for an objective whose mask is {self.mask}")
    for name in self.batch_keys:
      choose("objective.batch_keys", name, self.task.examples(0, "train", np.arange(1)))

  def init(self, key: jax.Array, model) -> dict:
    """Parameters of its own (heads), boxed as the model's are (`model.init_block`, ...), or {}."""
    return {}

  def kept(self, params: dict) -> dict:
    """The parameters that `logits` and `predict` use: what remains of {"model", "objective"} after training."""
    return {"model": params["model"]}

  def free_from(self, batch: dict) -> int | None:
    """The model's `free_from` under `mask`."""
    return {"causal": None, "beside": None, "prefix": self.prompt(batch).shape[1], "full": 0}[self.mask]

  def prompt(self, batch: dict) -> jax.Array:
    """What stands before the answer, tokens (B, P): the problem, and whatever the objective adds."""
    return batch["prefix"]

  def inputs(self, batch: dict) -> jax.Array:
    """What the model sees in training, tokens (B, T)."""
    return jnp.concatenate([self.prompt(batch), batch["target"][:, :-1]], axis=1)

  def readout(self, model, params: dict, hidden_BxLxD: jax.Array, token_BxL: jax.Array) -> jax.Array:
    """Logits (B, L, V) of the next token from normalised hidden states at tokens."""
    return model.unembed(params["model"], hidden_BxLxD)

  def logits(self, model, params: dict, batch: dict) -> jax.Array:
    """Scores (B, L, V) of the target in one pass; no token's depend on that token."""
    tokens_BxT, length = self.inputs(batch), batch["target"].shape[1]
    hidden_BxLxD = model.hidden(params["model"], tokens_BxT, length, self.free_from(batch))
    return self.readout(model, params, hidden_BxLxD, tokens_BxT[:, -length:])

  def loss(self, model, params: dict, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    """What is minimised, a scalar, and its record. `key` is of this step alone; `step` counts from 0."""
    raise NotImplementedError

  def predict(self, model, params: dict, batch: dict, key: jax.Array) -> jax.Array:
    """The answer as it is produced, tokens (B, L) in the objective's order; of the batch's target it knows the shape alone."""
    return decode.autoregressive(self, model, params, batch)

  def in_order(self, batch: dict) -> dict:
    """The task's batch with its target in the objective's order. Its own inverse."""
    if self.order == "forward":
      return batch
    length_B = self.lengths(batch)
    return {k: turned(v, length_B) if k in ("target", "weight", "answer") else v for k, v in batch.items()}

  def along_path(self, x_BxL: jax.Array, batch: dict) -> jax.Array:
    """Values by place in the target in the order of the path (0 = start), so that positions mean the same everywhere."""
    return x_BxL if self.order == "forward" else turned(x_BxL, self.lengths(batch))

  def at_branch(self, batch: dict) -> jax.Array:
    """Where in the target the branch token stands, bool (B, L) or (1, L)."""
    length = batch["target"].shape[1]
    length_B = self.lengths(batch)
    ends_B = jnp.array([length]) if length_B is None else length_B
    place_B = self.task.branch + 0 * ends_B if self.order == "forward" else ends_B - 1 - self.task.branch
    return jnp.arange(length)[None] == place_B[:, None]

  def lengths(self, batch: dict) -> jax.Array | None:
    """Number of tokens of each answer (B,) before the padding; None: all have as many as the target, L."""
    return jnp.sum(batch["weight"] > 0, axis=1) if self.task.answers_vary else None


def with_values(record, values: Mapping[str, Any]):
  """A dataclass with some fields replaced, unchecked: they may be traced numbers of one run of a pack.

  It has its fields alone: what was derived from the old ones is not taken for what follows from the new ones.
  """
  changed = object.__new__(type(record))
  for field in dataclasses.fields(record):
    object.__setattr__(changed, field.name, values[field.name] if field.name in values else getattr(record, field.name))
  return changed
