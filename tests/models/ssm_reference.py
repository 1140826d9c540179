"""The layers of both state-space papers in float64 NumPy, one step after another, with gradients by the chain rule written out.

Written from the papers and not from the code under test. A layer is `f(p, x_BxTxD, w_BxTxD) -> (y, gradients of sum(w y))`, where
`p` holds its parameters by path; gradients are by path as well, and that of the input is named `x`.
"""

import numpy as np
from scipy.special import expit as sigmoid


def matrix(x, kernel, g):
  """Gradients of sum(g (x @ kernel)): of x, of the kernel."""
  return g @ kernel.T, np.tensordot(x, g, ((0, 1), (0, 1)))


def silu_slope(x):
  return sigmoid(x) * (1 + x * (1 - sigmoid(x)))


def convolve(x, taps, bias):
  """Causal depthwise convolution of (B, T, D), the last tap on the newest token (H3, section 3.1; Mamba, figure 3)."""
  y = np.zeros_like(x) + bias
  for w, tap in enumerate(taps[::-1][:x.shape[1]]):
    y[:, w:] += tap * x[:, :x.shape[1] - w]
  return y


def convolve_gradients(x, taps, g):
  """Of the input, the taps and the bias."""
  dx, dtaps = np.zeros_like(x), np.zeros_like(taps)
  for w, tap in enumerate(taps[::-1][:x.shape[1]]):
    dx[:, :x.shape[1] - w] += tap * g[:, w:]
    dtaps[len(taps) - 1 - w] = (g[:, w:] * x[:, :x.shape[1] - w]).sum((0, 1))
  return dx, dtaps, g.sum((0, 1))


def s5_recurrence(p, u, w, rule, clip):
  """x_k = Abar x_(k-1) + Bbar u_k, y_k = 2 Re(C x_k) + D u_k (arXiv 2208.04933, equations 3 and 6), in complex numbers.

  A complex gradient is the derivative by the real part plus i times that by the imaginary part, so that for holomorphic f the
  gradient of z is conj(f'(z)) times that of f(z).
  """
  eigenvalues = np.minimum(p["Lambda_re"], -1e-4) + 1j * p["Lambda_im"] if clip else p["Lambda_re"] + 1j * p["Lambda_im"]
  b, c, d, dt = p["B"][0] + 1j * p["B"][1], p["C"][0] + 1j * p["C"][1], p["D"], np.exp(p["log_step"])
  z = eigenvalues * dt
  if rule == "zoh":  # Abar = exp(Lambda dt), Bbar = (Abar - I) / Lambda B
    a, scale = np.exp(z), (np.exp(z) - 1) / eigenvalues
    slopes = dt * a, (dt * a - scale) / eigenvalues, eigenvalues * a, a  # by Lambda: of a, of scale; by dt: of a, of scale
  else:  # bilinear: Abar = (1 + z/2) / (1 - z/2), Bbar = dt / (1 - z/2) B
    a, scale = (1 + z / 2) / (1 - z / 2), dt / (1 - z / 2)
    slopes = dt / (1 - z / 2)**2, dt**2 / 2 / (1 - z / 2)**2, eigenvalues / (1 - z / 2)**2, 1 / (1 - z / 2)**2
  states = [np.zeros((len(u), len(a)), complex)]
  for k in range(u.shape[1]):
    states.append(a * states[-1] + u[:, k] @ (scale[:, None] * b).T)
  x = np.stack(states[1:], 1)
  y = 2 * (x @ c.T).real + d * u

  g, da, dbar, du = np.zeros_like(states[0]), np.zeros_like(a), np.zeros_like(b), d * w
  for k in reversed(range(u.shape[1])):
    g = g + 2 * w[:, k] @ c.conj()
    da += (g * states[k].conj()).sum(0)
    dbar += g.T @ u[:, k]
    du[:, k] += (g @ (scale[:, None] * b).conj()).real
    g = g * a.conj()
  dc, dscale = 2 * np.einsum("bth,btp->hp", w, x.conj()), (dbar * b.conj()).sum(1)
  db, by_lambda = dbar * scale[:, None].conj(), da * slopes[0].conj() + dscale * slopes[1].conj()
  by_step = (da * slopes[2].conj() + dscale * slopes[3].conj()).real * dt
  parts = lambda z: np.stack([z.real, z.imag])
  return y, du, {
      "Lambda_re": by_lambda.real * (p["Lambda_re"] < -1e-4 if clip else 1), "Lambda_im": by_lambda.imag, "log_step": by_step,
      "B": parts(db), "C": parts(dc), "D": (w * u).sum((0, 1))}


def gelu(x):
  """GELU by tanh, and its slope."""
  inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
  t = np.tanh(inner)
  return x * (1 + t) / 2, (1 + t) / 2 + x / 2 * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)


def s5(p, x, w, rule="zoh", clip=False):
  """The layer of arXiv 2208.04933: u' = GELU(y), output u' * sigmoid(W u') (appendix G.1)."""
  ssm = {name.removeprefix("ssm/"): value for name, value in p.items()}
  gate = p["gate/kernel"]
  y, _, _ = s5_recurrence(ssm, x, 0 * w, rule, clip)
  h, slope = gelu(y)
  s = sigmoid(h @ gate)
  through, dgate = matrix(h, gate, w * h * s * (1 - s))
  _, dx, grads = s5_recurrence(ssm, x, (w * s + through) * slope, rule, clip)
  return h * s, {"x": dx, "gate/kernel": dgate} | {f"ssm/{name}": value for name, value in grads.items()}


def s5_gated(p, x, w, rule="zoh", clip=False):
  """S5 within the gated block of H3 (arXiv 2212.14052, section 3): out(q * S5(k * v)), each of the three convolved first."""
  ssm = {name.removeprefix("ssm/"): value for name, value in p.items()}
  names = ("query", "key", "value")
  mapped = {n: x @ p[f"{n}/kernel"] for n in names}
  q, k, v = (convolve(mapped[n], p[f"{n}_conv/taps"], p[f"{n}_conv/bias"]) for n in names)
  y, _, _ = s5_recurrence(ssm, k * v, 0 * w, rule, clip)
  g, dout = matrix(q * y, p["out/kernel"], w)
  _, dkv, grads = s5_recurrence(ssm, k * v, g * q, rule, clip)
  grads = {f"ssm/{name}": value for name, value in grads.items()} | {"out/kernel": dout, "x": np.zeros_like(x)}
  for n, d in zip(names, (g * y, dkv * v, dkv * k)):
    dmapped, grads[f"{n}_conv/taps"], grads[f"{n}_conv/bias"] = convolve_gradients(mapped[n], p[f"{n}_conv/taps"], d)
    dx, grads[f"{n}/kernel"] = matrix(x, p[f"{n}/kernel"], dmapped)
    grads["x"] += dx
  return (q * y) @ p["out/kernel"], grads


def mamba(p, x, w):
  """The block of arXiv 2312.00752: figure 3, algorithm 2; B is discretised as dt B."""
  a, d = -np.exp(p["A_log"]), p["D"]
  rank, state = len(p["dt_proj/kernel"]), a.shape[1]
  before, z = x @ p["in_proj_x/kernel"], x @ p["in_proj_z/kernel"]
  mixed = convolve(before, p["conv1d/taps"], p["conv1d/bias"])
  u = mixed * sigmoid(mixed)
  low, b, c = np.split(u @ p["x_proj/kernel"], [rank, rank + state], axis=-1)
  step = low @ p["dt_proj/kernel"] + p["dt_bias"]
  dt = np.log1p(np.exp(step))
  h, y = [np.zeros((len(x), *a.shape))], np.zeros_like(u)
  for t in range(x.shape[1]):
    h.append(np.exp(dt[:, t, :, None] * a) * h[-1] + (dt[:, t] * u[:, t])[..., None] * b[:, t, None])
    y[:, t] = (h[-1] * c[:, t, None]).sum(-1) + d * u[:, t]
  gate = z * sigmoid(z)

  gated, dout = matrix(y * gate, p["out_proj/kernel"], w)
  dy, dz = gated * gate, gated * y * silu_slope(z)
  du, ddt, db, dc, da, g = d * dy, np.zeros_like(dt), np.zeros_like(b), np.zeros_like(c), np.zeros_like(a), np.zeros_like(h[0])
  for t in reversed(range(x.shape[1])):
    decay = np.exp(dt[:, t, :, None] * a)
    g = g + dy[:, t, :, None] * c[:, t, None]
    dc[:, t] = (dy[:, t, :, None] * h[t + 1]).sum(1)
    db[:, t] = (g * (dt[:, t] * u[:, t])[..., None]).sum(1)
    du[:, t] += (g * b[:, t, None]).sum(-1) * dt[:, t]
    ddt[:, t] = (g * b[:, t, None]).sum(-1) * u[:, t] + (g * h[t] * decay * a).sum(-1)
    da += (g * h[t] * decay * dt[:, t, :, None]).sum(0)
    g = g * decay
  dstep = ddt * sigmoid(step)
  dlow, ddt_proj = matrix(low, p["dt_proj/kernel"], dstep)
  through, dx_proj = matrix(u, p["x_proj/kernel"], np.concatenate([dlow, db, dc], -1))
  dbefore, dtaps, dbias = convolve_gradients(before, p["conv1d/taps"], (du + through) * silu_slope(mixed))
  dx, din_x = matrix(x, p["in_proj_x/kernel"], dbefore)
  dx_z, din_z = matrix(x, p["in_proj_z/kernel"], dz)
  return (y * gate) @ p["out_proj/kernel"], {
      "x": dx + dx_z, "in_proj_x/kernel": din_x, "in_proj_z/kernel": din_z, "conv1d/taps": dtaps, "conv1d/bias": dbias,
      "x_proj/kernel": dx_proj, "dt_proj/kernel": ddt_proj, "dt_bias": dstep.sum((0, 1)), "A_log": da * a,
      "D": (dy * u).sum((0, 1)), "out_proj/kernel": dout}
