"""The trunk: a pre-norm residual decoder into which any mixer plugs.

    x = embedding(tokens) [+ learned positions]
    x = x + mixer(norm(x));  x = x + mlp(norm(x))      per block; the whole stack `num_loops` times with the same weights
    logits = head(norm(x))

Its parts can be had one by one, for objectives with heads of their own: `embed`, `before_last`, `last_block`, `normalise`, `hidden`,
`linear`, `unembed`. Only the target is paid for: the last block's outputs, the head and the loss are computed at the `num_last`
positions that predict it. Therefore the last block stands apart from the others, which are scanned over stacked parameters, on every
platform, so that checkpoints move between platforms. Weights shared over depth: Dehghani et al. 2018, "Universal transformers",
arXiv 1807.03819.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint

from pathstar.devices.mesh import alone, constrain, platform
from pathstar.models.fields import ModelFields
from pathstar.models.layers import KEPT, MLP, SMALL, Norm, Trunk, kernel_init, product, with_bias

ONE_HOT_VOCAB = 512  # up to here embedding by a one-hot product beats a gather, whose gradient is a serial scatter on CPU


def residual(x_BxTxD):
  """On a mesh: whole features, and the batch where it is. Parameters sharded over the same devices come to it."""
  return constrain(x_BxTxD, "batch", None, None)


class Block(nn.Module):
  """norm, mixer, norm, MLP around a residual stream, which is float32 whatever the compute type."""

  trunk: Trunk
  mixer: nn.Module

  def setup(self):
    self.mixer_norm = Norm(self.trunk.norm, self.trunk.dtype, self.trunk.bias)
    if self.trunk.mlp_ratio:
      self.mlp_norm = Norm(self.trunk.norm, self.trunk.dtype, self.trunk.bias)
      self.mlp = MLP(self.trunk)

  def _residual(self, x, y):
    x = x + y
    return x + self.mlp(self.mlp_norm(x)) if self.trunk.mlp_ratio else x

  def __call__(self, x_BxTxD, num_last: int, max_length: int, free_from: int | None = None, beside: tuple | None = None,
               per_row: int | None = None):
    given = {name: value for name, value in (("free_from", free_from), ("beside", beside), ("per_row", per_row)) if value is not None}
    y_BxLxD, cache = self.mixer(residual(self.mixer_norm(x_BxTxD)), num_last, max_length, **given)
    return residual(self._residual(x_BxTxD[:, x_BxTxD.shape[1] - y_BxLxD.shape[1]:], residual(y_BxLxD))), cache

  def step(self, x_BxD, cache, index):
    y_BxD, cache = self.mixer.step(self.mixer_norm(x_BxD), cache, index)
    return self._residual(x_BxD, y_BxD), cache


@dataclasses.dataclass(frozen=True)
class LM:
  """A language model as pure functions of its parameters (a plain dict).

  `free_from`, where a function takes it: the position from which on a token sees the whole sequence. None: causal; 0: full; the
  length of the problem: a causal problem before an answer that sees all. Only with a mixer of `any_mask`.

  Attributes:
    fields: the config fields.
    mixer: the mixer module, shared by all blocks; the parameters are not.
    vocab_size: number of tokens.
    max_length: longest sequence, for learned positions.
  """

  fields: ModelFields
  mixer: nn.Module
  vocab_size: int
  max_length: int

  @property
  def width(self) -> int:
    return self.fields.width

  @property
  def any_mask(self) -> bool:
    """Whether tokens may see those after them."""
    return getattr(self.mixer, "any_mask", False)

  @property
  def idle(self) -> dict[str, str]:
    """Config fields, or values of them (`model.positions=rope`), that change nothing as another field stands, and that one."""
    found = dict.fromkeys(getattr(self.mixer, "ignores", ()), f"model.mixer = {self.fields.mixer!r}")
    if self.fields.num_loops == 1:
      found["model.inject"] = "model.num_loops = 1"
    if self.fields.positions not in ("rope", "both"):
      found["model.rope_base"] = f"model.positions = {self.fields.positions!r}"
    return found

  def init(self, key: jax.Array) -> dict[str, Any]:
    """Parameters, in flax's boxes that carry logical axis names (nn.meta.unbox gives plain arrays)."""
    f = self.fields
    embed_key, _, head_key, *_ = jax.random.split(key, 5)
    init = nn.with_logical_partitioning(nn.initializers.normal(self._embedding_std), ("vocab", "embed"))
    params = self.init_trunk(key) | {"embedding": init(embed_key, (self.vocab_size, f.width), jnp.float32)}
    return params if f.tied_head else params | {"head": self.init_unembedding(head_key)}

  def init_trunk(self, key: jax.Array) -> dict[str, Any]:
    """Parameters of one more trunk, boxed: all but embedding and unembedding. With an "embedding" beside them `hidden` runs it."""
    f, std = self.fields, self._embedding_std
    _, position_key, _, last_key, body_key = jax.random.split(key, 5)
    boxed = lambda key, init, shape, axes: nn.with_logical_partitioning(init, axes)(key, shape, jnp.float32)
    params = {"last": self.init_block(last_key), "norm": self.init_norm(key)}
    if f.num_layers > 1:
      params["body"] = jax.vmap(self.init_block)(jax.random.split(body_key, f.num_layers - 1))
    if f.positions in ("learned", "both"):
      # Beside rotary positions they begin as a hint: as large as the tokens they would hide what a lookup compares.
      position_std = (std if f.positions == "learned" else 0.2 * std) if f.position_std is None else f.position_std
      shape = (self.max_length, f.width)
      params["positions"] = boxed(position_key, nn.initializers.normal(position_std), shape, (None, "embed"))
    if f.loop_embedding:
      shape = (f.num_loops, f.width)
      params["loops"] = boxed(jax.random.fold_in(position_key, 1), nn.initializers.normal(std), shape, (None, "embed"))
    return params

  def init_block(self, key: jax.Array):
    """Parameters of one more block, boxed: further copies of the last one are heads. Stack them by `jax.vmap` over keys."""
    return self._block.init(key, jnp.zeros((1, 1, self.width)), 1, 1)["params"]

  def init_norm(self, key: jax.Array, width: int | None = None):
    """Parameters of one more norm, boxed, of a stream as wide as the model's if not told otherwise."""
    return self._norm.init(key, jnp.zeros((1, 1, width or self.width)))["params"]

  def init_linear(self, key: jax.Array, inputs: int, outputs: int, axes: tuple[str, str] = ("embed", "mlp")):
    """Parameters of a linear map, boxed; `linear` applies it. `axes` as in models/layers.py."""
    boxed = lambda init, axes, *shape: nn.with_logical_partitioning(init, axes)(key, shape, jnp.float32)
    params = {"kernel": boxed(kernel_init(self.fields.trunk(), False), axes, inputs, outputs)}
    return params | {"bias": boxed(nn.initializers.zeros, axes[1:], outputs)} if self.fields.bias else params

  def init_unembedding(self, key: jax.Array):
    """One more unembedding (D, V), boxed; `unembed({"head": it}, ...)` applies it."""
    return self.init_linear(key, self.width, self.vocab_size, ("embed", "vocab"))["kernel"]

  def apply(self, params, tokens_BxT, num_last: int, free_from: int | None = None):
    """Logits (B, num_last, V), float32, and final, normalised hidden states (B, num_last, D) at the last positions."""
    hidden_BxLxD = self.hidden(params, tokens_BxT, num_last, free_from)
    return self.unembed(params, hidden_BxLxD), hidden_BxLxD

  def hidden(self, params, tokens_BxT, num_last: int, free_from: int | None = None):
    """Final, normalised hidden states (B, num_last, D) at the last positions, in the compute type."""
    return self.normalise(params, self._forward(params, self.embed(params, tokens_BxT), num_last, tokens_BxT.shape[1], free_from)[0])

  def hidden_beside(self, params, tokens_BxT, beside_BxN, first):
    """Final hidden states, two (B, N, D), of the N last tokens, and of N beside the sequence, which those in it do not see. The i-th of
    these stands at position `first` + i, and sees the sequence up to the i-th of its N last tokens, and itself."""
    x_BxTxD, number = jnp.concatenate([self.embed(params, tokens_BxT), self.embed(params, beside_BxN, first)], axis=1), beside_BxN.shape[1]
    x_BxLxD, _ = self._forward(params, x_BxTxD, 2 * number, x_BxTxD.shape[1], None, (number, first))
    return jnp.split(self.normalise(params, x_BxLxD), 2, axis=1)

  def before_last(self, params, tokens_BxT, free_from: int | None = None):
    """The residual stream (B, T, D) that enters the last block, in the last loop."""
    return self._before_last(params, self.embed(params, tokens_BxT), tokens_BxT.shape[1], free_from)[0]

  def last_block(self, block_params, x_BxTxD, num_last: int, free_from: int | None = None):
    """The stream (B, num_last, D) after a last block: `params["last"]`, or a head's copy of it. Not normalised."""
    return self._apply_block(block_params, x_BxTxD, num_last, x_BxTxD.shape[1], free_from)[0]

  def layers(self, params, tokens_BxT, free_from: int | None = None) -> list[tuple[jax.Array, jax.Array | None]]:
    """To look inside: of every block of every loop the stream (B, T, D) after it, and attention weights (B, H, T, T), if it has any."""
    x, found, time = self.embed(params, tokens_BxT), [], tokens_BxT.shape[1]
    embedded = x
    body = [jax.tree.map(lambda p: p[i], params["body"]) for i in range(self.fields.num_layers - 1)]
    for loop in range(self.fields.num_loops):
      x = self._enter_loop(params, loop, x, embedded)
      for layer in (*body, params["last"]):
        (x, _), seen = self._block.apply({"params": layer}, x, time, time, free_from, mutable=["intermediates"])
        weights = jax.tree.leaves(seen)
        found.append((x, weights[0] if weights else None))
    return found

  def normalise(self, params, x_BxLxD):
    """The final norm, as `hidden` has been through; its parameters are `params["norm"]`."""
    return self._norm.apply({"params": params["norm"]}, x_BxLxD)

  def linear(self, params, x):
    """A map of `init_linear` over the last axis, in the type of x."""
    return with_bias(product(x, params["kernel"]), params.get("bias"))

  def unembed(self, params, hidden_BxLxD):
    """Logits (B, L, V), float32, of normalised hidden states. `jax.lax.stop_gradient(params)` keeps a loss from the weights."""
    head = params["head"] if "head" in params else params["embedding"].T  # a tied one is the embedding
    rows = hidden_BxLxD.reshape(-1, hidden_BxLxD.shape[-1])
    # Not rounded to a narrower type on the way: arms that are equally likely would often tie.
    logits = jnp.matmul(rows, head.astype(rows.dtype), preferred_element_type=jnp.float32)
    return logits.reshape(*hidden_BxLxD.shape[:-1], -1)

  def prefill(self, params, tokens_BxT, max_length: int, free_from: int | None = None):
    """The normalised hidden state (B, D) at the last of the given tokens, and the cache for decoding up to `max_length` positions."""
    x_Bx1xD, cache = self._forward(params, self.embed(params, tokens_BxT), 1, max_length, free_from)
    return self.normalise(params, x_Bx1xD)[:, 0], cache

  def step(self, params, token_B, cache, index):
    """The normalised hidden state (B, D) at the token at position `index`, which sees all before it, and the cache with it."""
    block = self._block
    f = lambda x, layer: block.apply({"params": layer[0]}, x, layer[1], index, method="step")
    embedded_Bx1xD = self.embed(params, token_B[:, None], index)
    x_BxD, new = embedded_Bx1xD[:, 0], []
    for number, loop in enumerate(cache):
      loop = dict(loop)
      x_BxD = self._enter_loop(params, number, x_BxD[:, None], embedded_Bx1xD)[:, 0]
      if "body" in loop:
        x_BxD, loop["body"] = jax.lax.scan(f, x_BxD, (params["body"], loop["body"]))
      x_BxD, loop["last"] = f(x_BxD, (params["last"], loop["last"]))
      new.append(loop)
    return self.normalise(params, x_BxD[:, None])[:, 0], new

  def embed(self, params, tokens_BxT, first=0):
    """Tokens at positions first, first + 1, ... as the stream (B, T, D) that enters the first block, float32."""
    dtype = jnp.dtype(self.fields.dtype)
    table = params["embedding"].astype(dtype)
    if self.vocab_size <= ONE_HOT_VOCAB:
      one_hot = jax.nn.one_hot(tokens_BxT.reshape(-1), self.vocab_size, dtype=dtype)
      x = (one_hot @ table).reshape(*tokens_BxT.shape, -1)
    else:
      x = table[tokens_BxT]
    x = x.astype(jnp.float32)
    if "positions" in params:
      x = x + jax.lax.dynamic_slice_in_dim(params["positions"], first, tokens_BxT.shape[1])[None]
    if platform() == "gpu" and alone():  # XLA would lay the stream out as suits positions, features first, and transpose it in every block
      x = with_layout_constraint(x, Layout(major_to_minor=(0, 1, 2)))
    return x

  @property
  def _embedding_std(self) -> float:
    return 0.02 if self.fields.init in SMALL else 0.5

  @property
  def _norm(self) -> Norm:
    return Norm(self.fields.norm, self.fields.dtype, self.fields.bias)

  @property
  def _block(self) -> Block:
    return Block(self.fields.trunk(), self.mixer)

  @property
  def _scan_layers(self) -> bool:
    # In a loop a GPU copies all that the backward pass needs into stacks, twice: 1.5 times the bytes of a step.
    return platform() == "tpu" if self.fields.scan_layers is None else self.fields.scan_layers

  def _apply_block(self, layer, x_BxTxD, num_last: int, max_length: int, free_from, beside=None, per_row=None, looped: bool = False):
    """One block with its parameters -> (stream (B, num_last, D), its cache). `looped`: as the body of a loop over layers."""
    apply = lambda x, layer: self._block.apply({"params": layer}, x, num_last, max_length, free_from, beside, per_row)
    if not self.fields.remat and platform() != "tpu":
      return apply(x_BxTxD, layer)
    # A TPU computes a block sooner than it stores it. In a loop nothing merges the two computations, so no barrier, which hinders fusing.
    policy = None if self.fields.remat else jax.checkpoint_policies.save_only_these_names(KEPT)
    return jax.checkpoint(apply, policy=policy, prevent_cse=not looped)(x_BxTxD, layer)

  def _forward(self, params, x_BxTxD, num_last: int, max_length: int, free_from: int | None, beside: tuple | None = None):
    """From embedded tokens, the stream (B, num_last, D) after the last block, and one cache per loop."""
    x, caches = self._before_last(params, x_BxTxD, max_length, free_from, beside)
    x, caches[-1]["last"] = self._apply_block(params["last"], x, num_last, max_length, free_from, beside)
    return x, caches

  def _before_last(self, params, x_BxTxD, max_length: int, free_from: int | None, beside: tuple | None = None):
    """The stream (B, T, D) before the last block of the last loop, and one cache per loop, the last one without that block's."""
    batch, time, width = x_BxTxD.shape
    per_row = self.mixer.per_row(batch, time) if hasattr(self.mixer, "per_row") and beside is None else None
    apply = lambda x, layer, looped=False: self._apply_block(layer, x, time, max_length, free_from, beside, per_row, looped)
    x = embedded = residual(x_BxTxD.reshape(-1, time * (per_row or 1), width))
    caches = []
    for loop in range(self.fields.num_loops):
      cache = {}
      x = self._enter_loop(params, loop, x, embedded)
      if "body" in params:
        x, cache["body"] = jax.lax.scan(functools.partial(apply, looped=self._scan_layers), x, params["body"], unroll=not self._scan_layers)
      if loop < self.fields.num_loops - 1:
        x, cache["last"] = apply(x, params["last"])
      caches.append(cache)
    return residual(x.reshape(batch, time, width)), caches

  def _enter_loop(self, params, loop: int, x_BxTxD, embedded_BxTxD):
    """What a loop adds to the residual stream before its first block."""
    if loop and self.fields.inject:
      x_BxTxD = x_BxTxD + embedded_BxTxD
    if self.fields.loop_embedding:
      x_BxTxD = x_BxTxD + params["loops"][None, loop, None]
    return x_BxTxD
