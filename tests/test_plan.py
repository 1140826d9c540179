"""Costs counted and modelled, and the training step compiled for TPUs that are not here."""

import importlib.util
import json
import math
import os
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar.commands import plan as plan_command
from pathstar.devices.collectives import _groups
from pathstar.errors import UserError
from pathstar.pricing import cost, price, topology, total
from pathstar.sweeps.packs import Pack, PlannedRun
from pathstar.training import flops

WIDTH, STATE, CONV = 16, 4, 4
MODELS = {
    "attention": {},
    "s5_gated": {"model.mixer": "s5_gated", "model.s5_state": STATE, "model.conv_width": CONV},
    "mamba": {"model.mixer": "mamba", "model.mamba_state": STATE, "model.positions": "none", "model.mlp_ratio": 0},
}


def padded(time):
  """Mamba's time axis in whole chunks (models/scan.py)."""
  size = 2 ** math.ceil(math.log2(time) / 2)
  return -(-time // size) * size


def forward(mixer, time, last, mlp_ratio):
  """Matmul FLOPs of a block's forward pass per example, a third of the whole: the formulas in flops.py."""
  d, inner, rank = WIDTH, 2 * WIDTH, 1
  mixed = {
      "attention": 2 * (2 * time + 2 * last) * d**2 + 4 * last * time * d,
      "s5_gated": 2 * (2 * time + last + min(time, last + CONV - 1)) * d**2 + 2 * (time + last) * d * STATE,
      "mamba": (2 * (time + 2 * last) * d * inner + 2 * time * inner * (rank + 2 * STATE) + 2 * time * rank * inner
                + 10 / 3 * padded(time) * inner * STATE),
  }[mixer]
  return mixed + 4 * last * mlp_ratio * d**2


@pytest.mark.parametrize("mixer", MODELS)
@pytest.mark.parametrize("more", [
    {"model.num_layers": 3, "model.mlp_ratio": 2, "task.length": 6, "task.num_nodes": 14},
    {"model.num_layers": 1, "model.num_loops": 3, "train.batch_size": 64},
], ids=["deep", "looped"])
def test_counted_matmuls_are_those_of_the_formula(tiny, mixer, more):
  c = tiny(more | MODELS[mixer])
  f, last, vocab = c.model.fields, c.task.target_length, c.task.vocab_size
  time = c.input_length
  whole = f.num_layers * f.num_loops - 1  # the last block of the last loop is paid for at the target alone
  blocks = whole * forward(mixer, time, time, f.mlp_ratio) + forward(mixer, time, last, f.mlp_ratio)
  want = c.train.batch_size * (3 * blocks + 2 * 2 * time * vocab * WIDTH + 3 * 2 * last * vocab * WIDTH)
  counted = flops.of_step(c, "tpu")
  assert counted.matmul == pytest.approx(want, rel=1e-12) and counted.vector > 0


def test_the_branch_of_the_platform_is_counted():
  two_ways = lambda x: jax.lax.platform_dependent(x, cpu=lambda x: x * 2.0, default=lambda x: (x @ x) + 1.0)
  five_times = lambda x: jax.lax.scan(lambda c, _: (two_ways(c), None), x, None, length=5)[0]
  jaxpr = jax.make_jaxpr(five_times)(jnp.ones((3, 3))).jaxpr
  assert flops.count(jaxpr, "cpu") == flops.Flops(0, 5 * 9)
  assert flops.count(jaxpr, "tpu") == flops.count(jaxpr, "gpu") == flops.Flops(5 * 2 * 27, 5 * 9)


def traced(model, platform, data=1):
  """The model's jaxpr for so many devices of a platform, which need not be here."""
  params = jax.eval_shape(lambda: nn.meta.unbox(model.init(jax.random.key(0))))
  device = jax.sharding.AbstractDevice("some", None, platform)
  with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1, data, 1), ("run", "data", "model"), abstract_device=device)):
    return jax.make_jaxpr(lambda params: model.hidden(params, jnp.zeros((2, 8), jnp.int32), 4))(params)


@pytest.mark.parametrize("platform, fields, loops", [("tpu", {}, 1), ("gpu", {}, 0), ("cpu", {}, 0),
                                                        ("tpu", {"model.scan_layers": False}, 0)])
def test_a_program_is_built_for_its_devices_not_for_this_machine(tiny, platform, fields, loops):
  jaxpr = traced(tiny({"model.num_layers": 3} | fields).model, platform)
  scans = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
  assert sum(eqn.params["unroll"] == 1 for eqn in scans) == loops


@pytest.mark.parametrize("platform, size, laid_out", [("gpu", 1, True), ("gpu", 2, False), ("cpu", 1, False), ("tpu", 1, False)])
def test_a_gpu_alone_keeps_one_layout_and_computes_gelu_again(tiny, platform, size, laid_out):
  text = str(traced(tiny({}).model, platform, size))
  assert ("layout_constraint" in text) == laid_out
  assert ("checkpoint" in text or "remat" in text) == (platform != "cpu")  # on a TPU of the whole block


def test_time_goes_with_devices_and_use(tiny):
  chip = topology.Topology("v5e:4x4").chip

  def seconds(run=1, data=1, use=0.5, runs=4, parameters=1000, matmul=1e15):
    pack = Pack("pack", (PlannedRun("run", tiny(), "run"),) * runs)
    work = cost.Work(pack, parameters, parameters, flops.Flops(matmul, 0.0))
    return cost.step_seconds(work, {"run": run, "data": data, "model": 1}, chip, use)

  assert seconds() == pytest.approx(4 * 1e15 / chip.matmul / 0.5, rel=1e-3)
  assert seconds(run=4) == pytest.approx(seconds() / 4) == pytest.approx(seconds(runs=1))
  assert seconds(use=0.25) == pytest.approx(2 * seconds(), rel=1e-3)
  # No arithmetic to share out, but gradients to exchange.
  state = {"parameters": 10**9, "matmul": 0.0}
  assert seconds(data=4, **state) == pytest.approx(seconds(**state) + 4 * 8 * 0.75 * 10**9 / chip.link)


def test_jobs_take_the_next_pack_when_they_are_free():
  assert cost.makespan([3, 2, 2, 1], 2) == 4 and cost.makespan([3, 1, 2, 2], 2) == 5
  assert cost.makespan([5.0], 8) == 5 and cost.makespan([1, 2, 3], 1) == 6


@pytest.mark.parametrize("name, said", [
    ("v5e-16", "KIND:SHAPE"), ("v5x:4x4", "did you mean 'v5"), ("v5e:4x5", "did you mean 'v5e:4x"),
    ("v5p:4x4", "'v5p:"), ("h200:3", "h200:1, h200:2"),
])
def test_an_unknown_topology_is_named_with_its_nearest(name, said):
  with pytest.raises(UserError, match="topology") as error:
    topology.Topology(name)
  assert said in str(error.value)


def test_a_topology_divides_into_slices_of_its_kind():
  parts = topology.Topology("v5e:4x8").parts()
  assert [p.num_chips for p in parts] == [32, 16, 8, 4, 1] and {p.chip for p in parts} == {topology.CHIPS["v5e"]}


@pytest.mark.parametrize("message, size", [
    ("RESOURCE_EXHAUSTED: Ran out of memory, HLO temporaries (18.50G) exceeds available HBM (15.75G).", 18.5 * 2**30),
    ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 1.50T of 15.75G hbm.", 1.5 * 2**40),
    ("INTERNAL: something else (18.50G) exceeds", None),
])
def test_what_a_refused_program_needs_is_read_from_the_refusal(message, size):
  assert topology.wanted_bytes(message) == size


@pytest.mark.parametrize("groups, want", [
    ("replica_groups=mesh['axis_0'=1,'axis_1'=2,'axis_2'=4] {'axis_2'}, to_apply=%add", [[0, 1, 2, 3], [4, 5, 6, 7]]),
    ("replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0'}, to_apply=%add", [[0, 4], [1, 5], [2, 6], [3, 7]]),
    ("replica_groups=mesh['axis_0'=2,'axis_1'=2,'axis_2'=2], device_ids=([2,2,2]T(0,2,1)) {'axis_1'}, to_apply=%add",
     [[0, 1], [2, 3], [4, 5], [6, 7]]),
])
def test_groups_as_xla_tpu_writes_them(groups, want):
  assert sorted(map(sorted, _groups(f"%x), channel_id=1, {groups}", 8))) == want


@pytest.fixture(params=[["attention"]], ids=["grid"])
def sweep_file(tmp_path, tiny, request):
  """A config with two topologies and two seeds of each of the mixers of the fixture's parameter."""
  file, fields = tmp_path / "grid.py", tiny.fields | {"train.batch_size": 64, "model.num_layers": 2}
  file.write_text(
      "from pathstar.config import default, override\nfrom pathstar.sweep import product\n\n"
      f"def get_config(arg=''):\n  return override(default(), {fields!r})\n\n"
      "def sweep(arg=''):\n  return product({'task.degree': [2, 3], 'task.num_nodes': [14]},\n"
      f"    {{'model.mixer': {request.param!r}, 'seed': range(2)}})\n")
  return file


def test_what_a_sweep_takes_is_the_sum_of_its_steps(tiny):
  cell = lambda degree, length, **more: tiny({"task.degree": degree, "task.length": length, "task.num_nodes": 24, **more})
  runs = [(cell(degree, length, seed=seed), 10 * degree) for degree in (2, 3) for length in (3, 4) for seed in range(2)]
  runs += [(cell(2, 4, **{"objective.name": "teacherless"}), 7)]
  exact = sum(steps * flops.of_step(config, "tpu").total for config, steps in runs)
  assert total.of_runs(runs) == (pytest.approx(exact, rel=1e-12), True)
  about, every = total.of_runs(runs, counted=2)  # of a kind of four
  assert not every and about == pytest.approx(exact, rel=0.05) and total.of_runs([]) == (0.0, True)


def test_without_hardware_what_can_be_counted_is_told(sweep_file, tmp_path, capsys):
  assert plan_command.main([f"--config={sweep_file}", f"--json={tmp_path / 'plan.json'}"]) == 0
  assert "give --topology" in capsys.readouterr().out
  packs = json.loads((tmp_path / "plan.json").read_text())["packs"]
  assert len(packs) == 2 and all(p["runs"] == 2 and p["hours"] is None and not p["compiled"] for p in packs)
  for p in packs:
    assert p["flops"] == pytest.approx(20 * p["flops_per_step"]) and p["parameters"] > 0


def test_without_a_compiler_hours_are_told_and_how_to_get_the_rest(sweep_file, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  assert plan_command.main([f"--config={sweep_file}", "--topology=v5e:4x4", f"--json={tmp_path / 'plan.json'}"]) == 0
  assert "its extra 'tpu-aot'" in capsys.readouterr().out
  found = json.loads((tmp_path / "plan.json").read_text())
  assert all(p["chips"] == 16 and p["peak_bytes"] is None and p["fits"] is None for p in found["packs"])
  assert found["total"]["chip_hours"] == pytest.approx(sum(p["chip_hours"] for p in found["packs"]))


def test_memory_and_time_between_compiled_packs_are_interpolated_and_marked(tiny):
  pack = lambda name: Pack(name, (PlannedRun(name, tiny(), name),))
  sizes = {"large": 9.0, "middle": 5.0, "small": 1.0}
  works = [cost.Work(pack(name), 10, 10, flops.Flops(size, 0.0)) for name, size in sizes.items()]
  ends = (("large", 900, 0.09), ("small", 100, 0.01))
  compiled = {name: topology.Compiled(peak, 1000, {"data": 3}, 1.0, step) for name, peak, step in ends}
  whole = topology.Topology("v5e:1x1")
  found = price.rows(works, price.timed(works, cost.layout(works, whole, whole, "auto", 0.3), compiled), compiled)
  assert [row["peak_bytes"] for row in found] == [900, 500, 100]
  assert [row["step_ms"] for row in found] == pytest.approx([90, 50, 10])
  shares = [size / 197e12 / step for size, step in ((9, 0.09), (5, 0.05), (1, 0.01))]
  assert [row["share_of_peak"] for row in found] == pytest.approx(shares)
  assert [row["compiled"] for row in found] == [True, False, True]
  assert "~0.00 of 15.75 | ~yes" in price.markdown(found) and "| ~50 |" in price.markdown(found)


def test_of_a_kind_whose_largest_does_not_fit_the_next_that_does_is_compiled_and_tells_the_time(tiny, monkeypatch):
  pack = lambda name: Pack(name, (PlannedRun(name, tiny(), name),))
  order = {"huge": 9.0, "large": 8.0, "good": 4.0, "small": 2.0}
  works = [cost.Work(pack(name), 10, 10, flops.Flops(size, 0.0)) for name, size in order.items()]
  fitting = {"good": 0.04, "small": 0.02}
  monkeypatch.setattr(price, "devices", lambda part: None)
  monkeypatch.setattr(price, "make_mesh", lambda *_: None)
  now = iter(())

  def compile_for(configs, mesh, chip):
    name = next(now)
    return topology.Compiled(1, 1, {} if name in fitting else None, 1.0, fitting.get(name))

  whole = topology.Topology("v5e:1x1")
  chosen = cost.layout(works, whole, whole, "auto", 0.3)
  monkeypatch.setattr(price, "compile_for", compile_for)
  now = iter(order)
  found = price.compile_packs(works, chosen, everything=False, give_up=False)
  assert list(found) == list(order)
  known = {name: one.step_seconds for name, one in found.items() if one.step_seconds}
  assert [price.between(work, works, known) for work in works] == pytest.approx([0.09, 0.08, 0.04, 0.02])
  assert price.between(works[0], works, {"good": 0.04}) == pytest.approx(0.09)  # one alone: in proportion
  now = iter(order)
  assert list(price.compile_packs(works, chosen, everything=False, give_up=True)) == ["huge"]


def test_the_soonest_layout_that_fits_is_found_by_the_clock(tiny, monkeypatch):
  works = [cost.Work(Pack("pack", (PlannedRun("run", tiny({"train.batch_size": 64}), "run"),)), 10, 10, flops.Flops(1e12, 0.0))]
  possible = cost.layouts(works, topology.Topology("v5e:4x4"), 0.3)
  by_the_clock = {16: 5.0, 8: 7.0, 4: 9.0, 1: 50.0}  # seconds a step on so many chips

  for fitting, want in (((1, 16), 16), ((1,), 1), ((4,), 4)):
    asked = []

    def compiled(_, chosen, everything, give_up, fitting=fitting, asked=asked):
      chips = chosen.part.num_chips
      asked.append(chips)
      return {"pack": topology.Compiled(1, 1, {} if chips in fitting else None, 1.0, by_the_clock[chips])}

    monkeypatch.setattr(price, "compile_packs", compiled)
    chosen, _ = price.soonest(works, possible, False)
    assert chosen.part.num_chips == want and chosen.hours == pytest.approx(by_the_clock[want] * 20 / 3600)
    assert set(asked) >= {1, 16}  # a job on each chip and one job on all are always looked at


def test_memory_goes_with_the_size_of_a_step_and_not_with_their_number(tiny):
  run = lambda name, steps: PlannedRun(name, tiny({"train.num_steps": steps}), name)
  works = [cost.Work(Pack(name, (run(name, steps),)), 10, 10, flops.Flops(size, 0.0))
           for name, size, steps in (("long", 1.0, 1000), ("large", 9.0, 10))]
  known = {"long": 100}
  assert works[1].step_flops == 9 * works[0].step_flops and works[0].total_flops > works[1].total_flops
  assert price.between(works[0], works, known) == 100
  both = known | {"large": 900}
  middle = cost.Work(Pack("middle", (run("middle", 10),)), 10, 10, flops.Flops(5.0, 0.0))
  assert price.between(middle, [*works, middle], both) == 500


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu, XLA's compiler for TPUs, is not installed: pip install 'pathstar[tpu-aot]'")


def planned(tmp_path, *words):
  """`pathstar plan` in a process without the tests' settings for faster compiling -> (exit status, output, JSON)."""
  environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"JAX_PLATFORMS": "cpu"}
  command = [sys.executable, "-m", "pathstar", "plan", *words, f"--json={tmp_path / 'plan.json'}"]
  done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode in (0, 1), done.stderr
  return done.returncode, done.stdout, json.loads((tmp_path / "plan.json").read_text())


@pytest.mark.slow
@needs_libtpu
@pytest.mark.parametrize("name, mesh, sweep_file", [
    ("v5e:4x4", "run=2,data=8", ["attention", "s5_gated", "mamba"]),
    ("v5e:16x16", "run=2,data=64,model=2", ["attention"]),
], indirect=["sweep_file"], ids=["v5e:4x4", "v5e:16x16"])
def test_the_training_step_compiles_for_a_slice_and_runs_do_not_talk(sweep_file, tmp_path, name, mesh):
  status, _, found = planned(tmp_path, f"--config={sweep_file}", f"--topology={name}", f"--mesh={mesh}")
  compiled = [p for p in found["packs"] if p["compiled"]]
  assert status == 0 and len(compiled) == len(found["packs"]) >= 2
  for p in compiled:
    assert p["fits"] and 0 < p["peak_bytes"] < p["memory_bytes"] and np.prod(list(p["mesh"].values())) == p["chips"]
    assert p["collectives"]["data"] >= 1 and not any("run" in axes for axes in p["collectives"])
    if "model" not in mesh:  # the loss's weight, the norms' gradients and those of the rest: no activation is exchanged
      assert p["collectives"]["data"] <= 4 and set(p["collectives"]) == {"data"}


@pytest.mark.slow
@needs_libtpu
def test_what_the_time_goes_into_is_told_with_its_place(tiny_file, tmp_path):
  status, out, found = planned(tmp_path, f"--config={tiny_file}", "--topology=v5e:1x1", "--profile")
  [pack] = found["packs"]
  assert status == 0 and pack["step_ms"] > 0 and 0 < pack["share_of_peak"] < 1 and "by the compiler's clock" in out
  assert "| pathstar/models/" in out.partition("the costliest")[2]


@pytest.mark.slow
@needs_libtpu
def test_a_program_that_is_too_large_is_reported_with_its_bytes(tiny_file, tmp_path):
  status, out, found = planned(
      tmp_path, f"--config={tiny_file}", "--topology=v5e:4x4", "--config.train.batch_size=16777216",
      "--config.model.mlp_ratio=64", "--config.data.num_train=None")
  [pack] = found["packs"]
  assert status == 1 and not pack["fits"] and pack["peak_bytes"] > pack["memory_bytes"] and "do NOT fit" in out and "remat=true" in out
  assert f"{pack['peak_bytes'] / 2**30:.2f} of 15.75 | NO" in out
