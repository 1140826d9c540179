"""Next-latent prediction: a small network must say from the hidden state and the next tokens what the next hidden states will be.

Teoh et al. 2025, "Next-latent prediction transformers learn compact world models" (arXiv 2511.05963). From the hidden state h_t, final and
normalised, the latent dynamics psi(h, e) = h + MLP(norm([e; h])) goes on with the true tokens, ^h_(t+i) = psi(^h_(t+i-1), E(x_(t+i))), over
a horizon d, and

    L = CE + latent_weight mean_i SmoothL1(^h_(t+i), sg h_(t+i)) + kl_weight mean_i KL(sg p(h_(t+i)) || p(^h_(t+i)))

where p is the softmax of the model's unembedding, whose weights the KL does not move (sg: no gradient). SmoothL1 is over all tokens, the
problem's too; cross-entropy and KL where the target is predicted. The hidden state that is started from, and the embedding of the tokens,
do receive gradients.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from pathstar.errors import require
from pathstar.objectives.next_token import NextToken
from pathstar.objectives.target import Aux, score, weighted_mean


@dataclasses.dataclass(frozen=True)
class NextLatent(NextToken):
  """Objective `next_latent`. Read out as next_token; the dynamics are dropped."""

  values = ("latent_weight", "kl_weight")
  year, source = 2025, "Teoh et al., arXiv 2511.05963"

  horizon: int | None = None  # next_latent: steps of the dynamics; None: tokens of the target less 2, from start to goal, if so many fit
  proj_factor: float = 0.5  # next_latent: width inside the dynamics over twice the model's
  latent_weight: float = 1.0  # next_latent: weight of SmoothL1
  kl_weight: float = 1.0  # next_latent: weight of the KL divergence

  def __post_init__(self):
    super().__post_init__()
    most = self.task.prefix_length - 1
    require(1 <= self.steps <= most, "objective.horizon", self.horizon, f"between 1 and {most}, or None: {self.task} is no longer")
    require(self.proj_factor > 0, "objective.proj_factor", self.proj_factor, "a number > 0")
    for name in self.values:
      require(getattr(self, name) >= 0, f"objective.{name}", getattr(self, name), "a number >= 0")

  @property
  def steps(self) -> int:
    longest = self.task.prefix_length - 1
    return min(max(1, self.task.target_length - 2), longest) if self.horizon is None else self.horizon

  def init(self, key: jax.Array, model) -> dict:
    width, inner = model.width, max(1, round(2 * self.proj_factor * model.width))
    keys = jax.random.split(key, 3)
    return {"norm": model.init_norm(key, 2 * width), "first": model.init_linear(keys[0], 2 * width, inner),
            "second": model.init_linear(keys[1], inner, inner, ("mlp", "embed")),
            "third": model.init_linear(keys[2], inner, width, ("embed", "embed"))}

  def psi(self, model, own: dict, hidden_BxTxD: jax.Array, embedded_BxTxD: jax.Array) -> jax.Array:
    """The next hidden states (B, T, D), float32, from these and the embeddings of the next tokens."""
    x = model.normalise(own, jnp.concatenate([embedded_BxTxD, hidden_BxTxD], axis=-1))
    for name in ("first", "second"):
      x = jax.nn.gelu(model.linear(own[name], x))
    return hidden_BxTxD + model.linear(own["third"], x).astype(jnp.float32)

  def loss(self, model, params, batch: dict, key: jax.Array, step: jax.Array) -> tuple[jax.Array, Aux]:
    tokens_BxT, length = self.inputs(batch), batch["target"].shape[1]
    weight_BxL = self.weight(batch)
    # Padding before a shorter problem, and after a shorter answer, is nobody's.
    real_BxT = jnp.concatenate([batch["prefix"] != self.task.dummy, batch["weight"][:, :-1] > 0], axis=1)
    output_BxTxD = model.hidden(params["model"], tokens_BxT, tokens_BxT.shape[1])
    loss, record = score(model.unembed(params["model"], output_BxTxD[:, -length:]), batch | {"weight": weight_BxL})
    fixed = jax.lax.stop_gradient(params["model"])
    log_p = lambda x_BxTxD: jax.nn.log_softmax(model.unembed(fixed, x_BxTxD[:, -length:].astype(output_BxTxD.dtype)))
    embedded_BxTxD = model.embed(params["model"], tokens_BxT)
    hidden_BxTxD = output_BxTxD.astype(jnp.float32)
    true_BxTxD = jax.lax.stop_gradient(hidden_BxTxD)
    latent, kl = [], []
    for i in range(1, self.steps + 1):  # of the tokens from number i on
      hidden_BxTxD = self.psi(model, params["objective"], hidden_BxTxD[:, :-1], embedded_BxTxD[:, i:])
      latent.append(weighted_mean(optax.losses.huber_loss(hidden_BxTxD, true_BxTxD[:, i:]).mean(axis=-1), real_BxT[:, i:]))
      kl.append(weighted_mean(optax.losses.kl_divergence_with_log_targets(log_p(hidden_BxTxD), log_p(true_BxTxD)), weight_BxL))
    terms = {"next": loss, "latent": sum(latent) / self.steps, "kl": sum(kl) / self.steps}
    return loss + self.latent_weight * terms["latent"] + self.kl_weight * terms["kl"], record._replace(terms=terms)
