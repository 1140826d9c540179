"""Arithmetic of a training step, counted on its traced program (a jaxpr), with whatever a mixer or an objective adds.

A loop's body counts as often as it runs, and of code that depends on the platform the branch of the platform in
question. `matmul` is 2 m n k for every product, `vector` one for every element that any other floating-point operation
computes (for a reduction: reads). In a block of width D and MLP ratio r, on T tokens of which the last L are wanted
(L = T but in the last block), the forward products are, times the batch,

    attention   2 (2 T + 2 L) D^2 + 4 L T D
                keys, values; queries, output; scores and their sum over values, of which the causal half is not spared
    s5_gated    2 (2 T + 2 L + W) D^2 + 2 (T + L) D S
                as above; into and out of a state of S = model.s5_state. In the last block the convolution looks back
                W = model.conv_width - 1 queries, elsewhere W = 0
    mamba       2 (T + 2 L) D I + 2 T I (R + 2 N) + 2 T R I + 2 T I N
                with inner width I = 2 D, R = ceil(D / 16) and N = model.mamba_state
    MLP         4 L r D^2

The embedding adds 2 T V D, the head 2 L V D. The backward pass costs each twice again, but the embedding once, since
its input has no gradient; Mamba's last term, where T is in whole chunks (models/scan.py), four times on a TPU (one step
after another) and five times on a GPU. The recurrences of state-space mixers are element-wise: their (T, D, N) terms are most of `vector`.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from pathstar.config import Config
from pathstar.training import data, program

_ELEMENTWISE = frozenset((
    "add", "sub", "mul", "div", "neg", "max", "min", "exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf",
    "sin", "cos", "sqrt", "rsqrt", "pow", "integer_pow", "square", "abs", "add_any"))
_REDUCTIONS = frozenset(("reduce_sum", "reduce_max", "reduce_min", "argmax", "cumsum", "cumlogsumexp"))


@dataclasses.dataclass(frozen=True)
class Flops:
  """Floating-point operations: on the matrix unit and on the vector unit."""

  matmul: float = 0.0
  vector: float = 0.0

  @property
  def total(self) -> float:
    return self.matmul + self.vector

  def __add__(self, other: "Flops") -> "Flops":
    return Flops(self.matmul + other.matmul, self.vector + other.vector)

  def __mul__(self, times: float) -> "Flops":
    return Flops(self.matmul * times, self.vector * times)


def of_step(config: Config, platform: str) -> Flops:
  """One optimiser step of one run on devices of `platform` (cpu | gpu | tpu)."""
  shape = jax.ShapeDtypeStruct
  example = data.TrainSource((config,), (slice(1), slice(1), slice(1)))[0]
  batch = {name: shape((config.train.batch_size, *x.shape[3:]), x.dtype) for name, x in example.items()}
  values = {name: shape((), x.dtype) for name, x in program.pack_values([config]).items()}
  step = functools.partial(program.train_step, config)
  return count(jax.make_jaxpr(step)(_state(config), batch, values).jaxpr, platform)


def of_program(made: program.Program, configs: Sequence[Config]) -> Flops:
  """One optimiser step of one run of a pack, by the program that trains it, which is not traced again."""
  traced = made.steps.trace(*program.abstract_inputs(configs, made))
  devices = made.mesh.size if made.apart else 1  # what is traced is the program of one of them
  return count(traced.jaxpr.jaxpr, made.mesh.devices.flat[0].platform) * (devices / len(configs) / configs[0].steps_per_call)


def _state(config: Config) -> dict:
  return nn.meta.unbox(jax.eval_shape(functools.partial(program.init_state, config), {"seed": jnp.int32(0)}))


def count(jaxpr, platform: str) -> Flops:
  """Operations of a jaxpr. The body of a `while` of unknown length counts once."""
  total = Flops()
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    if name == "dot_general":
      (contract, _), _ = eqn.params["dimension_numbers"]
      depth = math.prod(eqn.invars[0].aval.shape[axis] for axis in contract)
      total += Flops(matmul=2.0 * eqn.outvars[0].aval.size * depth)
    elif name == "cond":
      total += _branch(eqn.params, platform)
    elif name in _ELEMENTWISE or name in _REDUCTIONS:
      aval = (eqn.outvars if name in _ELEMENTWISE else eqn.invars)[0].aval
      total += Flops(vector=float(aval.size) if jnp.issubdtype(aval.dtype, jnp.floating) else 0.0)
    else:
      inner = sum((count(body, platform) for body in _bodies(eqn.params.values())), Flops())
      total += inner * eqn.params["length"] if name == "scan" else inner
  return total


def _branch(params: dict, platform: str) -> Flops:
  """The branch of a platform; of an ordinary condition the costliest."""
  counts = [count(branch.jaxpr, platform) for branch in params["branches"]]
  platforms = params.get("branches_platforms")
  if platforms is None:
    return max(counts, key=lambda c: c.total)
  names = {"gpu": ("gpu", "cuda"), "tpu": ("tpu",), "cpu": ("cpu",)}[platform]
  return next(c for c, served in zip(counts, platforms, strict=True) if served is None or set(served) & set(names))


def _bodies(values):
  """The programs inside an operation: of loops, calls, and functions with their own derivative."""
  for value in values:
    if isinstance(value, (tuple, list)):
      yield from _bodies(value)
    elif hasattr(value, "eqns"):
      yield value
    elif hasattr(value, "jaxpr") and hasattr(value.jaxpr, "eqns"):
      yield value.jaxpr
