"""Joint multi-token prediction: behind each hidden state a small layer writes the next tokens, each knowing those before it.

Ahn et al. 2025, "Efficient joint prediction of multiple future tokens" (arXiv 2503.21801), as in public code. At every place t that
predicts a token of the answer, a short sequence of its hidden state and of the tokens to come,

    u_i = norm(E(x_(t+i)) + g h_t)      i = 0 .. d, the horizon; g is learned, and 0.1 at first

goes through one causal layer of attention with relative biases. Its output 0 predicts the next token x_(t+1), its output i, plus h_t, the
one after x_(t+i), each through a norm and the model's unembedding:

    L = CE_0 + joint_weight mean_(i >= 1) CE_i

What the layer can know of the problem must pass through h_t. The layer stays in inference, over u_0 alone.
"""

import dataclasses

import jax
import jax.numpy as jnp

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, mean_of_any, score

_ATTENTION = ("query", "key", "bias")  # what says which of several to look at


@dataclasses.dataclass(frozen=True)
class JointMultiToken(NextToken):
  """Objective `joint_multi_token`. Read out token by token through its layer; terms `next` and `joint`."""

  values = ("joint_weight",)
  year, source = 2025, "Ahn et al., arXiv 2503.21801"

  horizon: int | None = None  # joint_multi_token: tokens beyond the next; None: those of the target less 2
  joint_weight: float = 1.0  # joint_multi_token: weight of the tokens beyond the next

  def __post_init__(self):
    super().__post_init__()
    most = self.task.target_length - 1
    require(1 <= self.steps <= most, "objective.horizon", self.horizon, f"between 1 and {most}, or None: {self.task} has no more tokens")
    require(self.joint_weight >= 0, "objective.joint_weight", self.joint_weight, "a number >= 0")

  @property
  def steps(self) -> int:
    return max(1, self.task.target_length - 2) if self.horizon is None else self.horizon

  def init(self, key: jax.Array, model) -> dict:
    width, keys = model.width, jax.random.split(key, 4)
    axes = {"query": ("embed", "heads"), "key": ("embed", "heads"), "value": ("embed", "heads"), "out": ("heads", "embed")}
    return {
        "gate": {"scale": jnp.full((1,), 0.1)},
        "norm_in": model.init_norm(key),
        "norm_out": model.init_norm(key),
        "bias": jnp.zeros((_heads(width), self.steps + 1)),
        **{name: model.init_linear(k, width, width, axes[name]) for name, k in zip(axes, keys)},
    }

  def kept(self, params: dict) -> dict:
    return params | {"objective": {name: x for name, x in params["objective"].items() if name not in _ATTENTION}}

  def readout(self, model, params: dict, hidden_BxLxD: jax.Array, token_BxL: jax.Array) -> jax.Array:
    return self.planned(model, params, hidden_BxLxD, token_BxL)[:, :, 0]

  def planned(self, model, params: dict, hidden_BxLxD: jax.Array, token_BxN: jax.Array) -> jax.Array:
    """Logits (B, L, I, V) of the I next tokens at each place, from its hidden state and the tokens from there on (N = L + I - 1)."""
    own, length = params["objective"], hidden_BxLxD.shape[1]
    embedded_BxNxD = model.embed({"embedding": params["model"]["embedding"]}, token_BxN)
    steps = token_BxN.shape[1] - length + 1
    embedded_BxLxIxD = jnp.stack([embedded_BxNxD[:, i:i + length] for i in range(steps)], axis=2)
    u_BxLxIxD = model.normalise({"norm": own["norm_in"]}, embedded_BxLxIxD + own["gate"]["scale"][0] * hidden_BxLxD[:, :, None])
    y_BxLxIxD = model.linear(own["value"], u_BxLxIxD)
    if steps > 1:
      y_BxLxIxD = _attend(own["bias"], model.linear(own["query"], u_BxLxIxD), model.linear(own["key"], u_BxLxIxD), y_BxLxIxD)
    y_BxLxIxD = model.linear(own["out"], y_BxLxIxD)
    y_BxLxIxD = y_BxLxIxD + (jnp.arange(steps) > 0)[None, None, :, None] * hidden_BxLxD[:, :, None]
    return model.unembed(params["model"], model.normalise({"norm": own["norm_out"]}, y_BxLxIxD))

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    tokens_BxT, length = self.inputs(batch), batch["target"].shape[1]
    behind = lambda x_BxL: jnp.pad(x_BxL, ((0, 0), (0, self.steps)))  # tokens behind the end, of no weight
    target_BxN, weight_BxN = behind(batch["target"]), behind(self.weight(batch))
    hidden_BxLxD = model.hidden(params["model"], tokens_BxT, length)
    seen_BxN = jnp.concatenate([tokens_BxT[:, -length:-length + 1], target_BxN[:, :-1]], axis=1)
    logits_BxLxIxV = self.planned(model, params, hidden_BxLxD, seen_BxN)
    scored = lambda i: score(logits_BxLxIxV[:, :, i], {"target": target_BxN[:, i:i + length], "weight": weight_BxN[:, i:i + length]})
    loss, record = scored(0)
    ahead = [scored(i)[1] for i in range(1, self.steps + 1)]
    joint = sum(mean_of_any(seen.loss_BxL, seen.weight_BxL) for seen in ahead) / self.steps
    return loss + self.joint_weight * joint, record._replace(terms={"next": loss, "joint": joint})


def _heads(width: int) -> int:
  return next(number for number in (4, 2, 1) if width % number == 0)


def _attend(bias_HxI, q_BxLxIxD, k_BxLxIxD, v_BxLxIxD):
  """Causal attention within each place's sequence; `bias_HxI` by how far back."""
  heads, steps = len(bias_HxI), q_BxLxIxD.shape[2]
  q, k, v = (x.reshape(*x.shape[:3], heads, -1) for x in (q_BxLxIxD, k_BxLxIxD, v_BxLxIxD))
  score_BxLxHxIxJ = jnp.einsum("blihk,bljhk->blhij", q * q.shape[-1] ** -0.5, k).astype(jnp.float32)
  back_IxJ = jnp.arange(steps)[:, None] - jnp.arange(steps)[None]
  score_BxLxHxIxJ = score_BxLxHxIxJ + jnp.where(back_IxJ >= 0, bias_HxI[:, jnp.maximum(back_IxJ, 0)], -1e30)[None, None]
  y = jnp.einsum("blhij,bljhk->blihk", jax.nn.softmax(score_BxLxHxIxJ).astype(v.dtype), v)
  return y.reshape(q_BxLxIxD.shape)
