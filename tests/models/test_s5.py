"""S5 and gated S5 against the paper's recurrence in complex float64, and against what the paper says of its initial values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ssm_reference

from pathstar.errors import UserError
from pathstar.models import s5

LAYERS = {
    "one block": ("s5", {}, {}),
    "two blocks, bilinear": ("s5", {"s5_blocks": 2, "s5_discretization": "bilinear"}, {"rule": "bilinear"}),
    "clipped": ("s5", {"s5_clip": True}, {"clip": True}),
    "gated": ("s5_gated", {"s5_blocks": 2}, {}),
    "gated, clipped, bilinear": ("s5_gated", {"s5_clip": True, "s5_discretization": "bilinear"},
                                 {"clip": True, "rule": "bilinear"}),
}


@pytest.fixture(scope="module")
def layer(tiny):
  """layer(mixer, fields) -> the module, of width 16 unless fields say otherwise."""
  return lambda mixer="s5", **fields: tiny({"model.mixer": mixer, "model.positions": "none"} | {
      f"model.{name}": value for name, value in fields.items()}).model.mixer


@pytest.fixture(scope="module")
def initial(layer):
  """initial(fields) -> parameters of the SSM alone, as NumPy arrays."""

  def make(**fields):
    module = layer(**fields)
    x = jnp.zeros((1, 1, module.trunk.width))
    params = jax.jit(lambda key: module.init(key, x, 1, 1)["params"]["ssm"])(jax.random.key(0))
    return {name: np.asarray(value.value) for name, value in params.items()}

  return make


@pytest.mark.parametrize("time, batch", [(1, 3), (2, 5), (31, 3), (257, 1)])
@pytest.mark.parametrize("name", [
    name if name in ("one block", "gated") else pytest.param(name, marks=pytest.mark.slow) for name in LAYERS])
def test_outputs_and_gradients_are_those_of_the_papers_recurrence(layer, agree, name, time, batch):
  mixer, fields, options = LAYERS[name]
  module = layer(mixer, width=6, num_heads=2, s5_state=8, **fields)
  agree(module, functools.partial(getattr(ssm_reference, mixer), **options), np.zeros((batch, time, 6), np.float32))


@pytest.mark.parametrize("size", [2, 8, 64])
def test_eigenvalues_are_those_of_hippo_n(size):
  matrix = np.zeros((size, size))
  for n in range(size):
    for k in range(size):
      matrix[n, k] = -0.5 if n == k else np.sqrt(n + 0.5) * np.sqrt(k + 0.5) * (-1 if n > k else 1)
  eigenvalues, vectors = s5.hippo_n(size)
  pairs = np.concatenate([eigenvalues, eigenvalues.conj()])
  order = lambda z: z[np.argsort(z.imag)]
  np.testing.assert_allclose(order(pairs), order(np.linalg.eigvals(matrix)), rtol=1e-9, atol=1e-9)
  np.testing.assert_allclose(matrix @ vectors, vectors * eigenvalues, atol=1e-9 * size)
  np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size // 2), atol=1e-9)


@pytest.mark.parametrize("blocks", [1, 4])
def test_initial_values_are_the_papers(initial, blocks):
  params = initial(width=256, s5_state=512, s5_blocks=blocks)
  np.testing.assert_array_equal(params["Lambda_re"], np.full(256, -0.5, np.float32))
  imaginary = s5.hippo_n(512 // blocks)[0].imag
  np.testing.assert_allclose(params["Lambda_im"], np.tile(imaginary, blocks), rtol=1e-6)
  # Steps are log-uniform in [0.001, 0.1]: the mean and deviation of a uniform variable on [log 0.001, log 0.1].
  low, high = np.log(0.001), np.log(0.1)
  steps = params["log_step"]
  assert low <= steps.min() < low + 0.3 and high - 0.3 < steps.max() <= high
  assert steps.mean() == pytest.approx((low + high) / 2, abs=0.25)
  assert steps.std() == pytest.approx((high - low) / 12**0.5, rel=0.1)
  # B = V^H B' with B' of variance 1/H; C = C' V with C' of variance 1/P in all; D of variance 1.
  assert (params["B"]**2).sum(0).mean() == pytest.approx(1 / 256, rel=0.05)
  assert (params["C"]**2).sum(0).mean() == pytest.approx(1 / 512, rel=0.05)
  assert params["D"].std() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("scheme", ["fan_in", "reference"])
@pytest.mark.parametrize("width, state, blocks", [(64, 256, 1), (256, 64, 2), (128, 128, 1)])
def test_input_and_output_matrices_have_the_scale_of_the_reference_implementation(initial, scheme, width, state, blocks):
  # init_VinvB of an array (P, H) and init_CV of (1, P, 2) for each of H outputs, both by lecun_normal: variance 1 / P.
  rng, basis = np.random.default_rng(0), np.kron(np.eye(blocks), s5.hippo_n(state // blocks)[1])
  b = basis.conj().T @ rng.normal(0, state**-0.5, (state, width))
  c = (rng.normal(0, state**-0.5, (width, state, 2)) @ [1, 1j]) @ basis
  size = lambda z: np.square(np.abs(z)).mean()**0.5
  params = initial(width=width, s5_state=state, s5_blocks=blocks, s5_init=scheme)
  got = [size(params[name][0] + 1j * params[name][1]) for name in "BC"]
  ours = (state / width)**0.5, 0.5**0.5  # of theirs: B by its inputs, C by both of its parts
  assert got == pytest.approx([size(m) * (f if scheme == "fan_in" else 1) for m, f in zip((b, c), ours)], rel=0.03)


def test_a_pair_of_states_stands_for_two_conjugate_ones(initial):
  # The full system in the paper's real basis: x' = A x + B' u with A block-diagonal HiPPO-N, y = Re(C' x).
  params = initial(width=4, s5_state=8, s5_blocks=2)
  eigenvalues = params["Lambda_re"] + 1j * params["Lambda_im"]
  b, c = (params[name][0] + 1j * params[name][1] for name in "BC")
  full = np.concatenate
  response = full([c, c.conj()], 1) @ np.diag(full([eigenvalues, eigenvalues.conj()])) @ full([b, b.conj()])
  np.testing.assert_allclose(response.imag, 0, atol=1e-6)
  np.testing.assert_allclose(response.real, 2 * (c @ np.diag(eigenvalues) @ b).real, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mixer", ["s5", "s5_gated"])
def test_the_state_that_decoding_carries_does_not_grow_with_the_length(layer, mixer):
  module = layer(mixer)

  def cache(time):
    made = lambda key: module.init_with_output(key, jnp.zeros((2, time, 16)), 1, 10 * time)[0][1]
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(made, jax.random.key(0)))

  assert cache(8) == cache(80)


@pytest.mark.parametrize("fields, named", [
    ({"s5_state": 7}, "model.s5_state = 7: must be a positive multiple of 2 * model.s5_blocks = 2"),
    ({"s5_state": 12, "s5_blocks": 4}, "model.s5_state = 12"),
    ({"s5_blocks": 0}, "model.s5_blocks = 0"),
    ({"s5_discretization": "bilinaer"}, "did you mean 'bilinear'"),
    ({"s5_init": "referense"}, "model.s5_init = 'referense': must be one of fan_in, reference; did you mean 'reference'"),
    ({"dt_min": 0.2}, "model.dt_min = 0.2: must be above 0 and below model.dt_max = 0.1"),
])
def test_fields_that_describe_no_layer_are_refused(layer, fields, named):
  with pytest.raises(UserError) as error:
    layer(**fields)
  assert named in str(error.value)
