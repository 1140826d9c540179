"""The TPU compiler's clock: loops, branches and collectives as often as they run, and programs whose time is known."""

import json
import os
import subprocess
import sys

import pytest

from pathstar.pricing import clock, instructions

PROGRAM = """HloModule jit_f, is_scheduled=true
FileNames
1 "/code/model.py"

FunctionNames
1 "f"

FileLocations
1 {file_name_id=1 function_name_id=1 line=7 end_line=7 column=1 end_column=9}

StackFrames
1 {file_location_id=1 parent_frame_id=1}

%fused (p: f32[8]) -> f32[8] {
  ROOT %never.1 = f32[8]{0} add(%p, %p), backend_config={"estimated_cycles":"1000000"}
}

%condition (c: (s32[], f32[8])) -> pred[] {
  %limit = s32[]{:T(128)} constant(5)
  ROOT %lt = pred[] compare(%i, %limit), direction=LT
}

%body (c: (s32[], f32[8])) -> (s32[], f32[8]) {
  %product.1 = f32[8]{0:T(128)} fusion(%x), metadata={op_name="jit(f)/body/dot" stack_frame_id=1}, backend_config={"estimated_cycles":"10"}
  %grad = (f32[4]{0}, bf16[2,3]{1,0}) all-reduce(%a, %b), replica_groups={{0,1}}, to_apply=%add
}

%cheap (p: f32[8]) -> f32[8] {
  ROOT %few.1 = f32[8]{0} fusion(%p), calls=%fused, backend_config={"estimated_cycles":"3"}
}

%dear (p: f32[8]) -> f32[8] {
  ROOT %many.1 = f32[8]{0} fusion(%p), calls=%fused, backend_config={"estimated_cycles":"300"}
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %loop = (s32[], f32[8]) while(%t), condition=%condition, body=%body
  %which = f32[8]{0} conditional(%p, %x, %x), true_computation=%dear, false_computation=%cheap
  %same = f32[8]{0} conditional(%i, %x, %x), branch_computations={%cheap, %cheap}
  %called = f32[8]{0} call(%x), to_apply=%cheap
  %part = f32[16]{0} get-tuple-element(%loop), index=1
  %turned = f32[4,2]{0,1} copy(%x), backend_config={"estimated_cycles":"1"}
  ROOT %scattered = f32[8]{0} reduce-scatter(%part), replica_groups={{0,1}}, to_apply=%add
}
"""


def test_parts_count_as_often_as_they_run():
  parts = clock.read(PROGRAM, bytes_per_cycle=2)
  assert instructions.cycles(parts) == 5 * 10 + 300 + 3 + 3 + 2 * 32 // 2
  assert instructions.sent(parts) == 5 * 2 * (4 * 4 + 6 * 2) + 16 * 4
  assert [part.cycles for part in parts][:2] == [300, 50]
  assert parts[1] == instructions.Part(50, 0, 5, "f32[8]{0:T(128)}", "jit(f)/body/dot", "/code/model.py:7")


# Prints {name: [cycles, cycles at the chip's published rate]} of programs for one v5e chip.
KNOWN = """
import json
from pathstar.pricing import clock, instructions
from pathstar import config
from pathstar.devices.mesh import make_mesh
from pathstar.pricing.topology import CHIPS, Topology, compile_for, compile_only, devices
compile_only()
import jax, numpy as np
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

chip, here = CHIPS["v5e"], NamedSharding(Mesh(np.array(devices(Topology("v5e:1x1"))), ("x",)), PartitionSpec())

def cycles(f, *shapes, dtype=jnp.bfloat16):
  args = [jax.ShapeDtypeStruct(shape, dtype, sharding=here) for shape in shapes]
  return instructions.cycles(clock.read(jax.jit(f).lower(*args).compile().as_text(), chip.bandwidth / chip.clock))

LARGE = {"task.num_nodes": 50, "model.num_layers": 1, "model.width": 256, "train.batch_size": 256, "train.steps_per_call": 20}

def step_seconds(runs):
  configs = [config.resolve(config.override(config.default(), LARGE | {"seed": seed}), given=()) for seed in range(runs)]
  return compile_for(configs, make_mesh("auto", runs, 256, devices(Topology("v5e:1x1"))), chip).step_seconds

again = lambda k: cycles(lambda x, w: jax.lax.fori_loop(0, k, lambda _, x: x @ w, x), (2048, 2048), (2048, 2048))
print(json.dumps({
    "matmul": [cycles(lambda a, b: a @ b, (8192, 8192), (8192, 8192)), 2 * 8192**3 / chip.matmul * chip.clock],
    "copy": [cycles(lambda x: x + 1, (8192, 8192), dtype=jnp.float32), 2 * 2**28 / chip.bandwidth * chip.clock],
    "loop": [again(40) - again(20), again(30) - again(10)],
    "large runs": [step_seconds(3), 3 * step_seconds(1)],
    "loop of products": [again(40) - again(20), 20 * 2 * 2048**3 / chip.matmul * chip.clock],
}))
"""


@pytest.mark.slow
def test_programs_of_known_time():
  pytest.importorskip("libtpu", reason="XLA's compiler for TPUs: pip install 'pathstar[tpu-aot]'")
  environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"JAX_PLATFORMS": "cpu"}
  done = subprocess.run([sys.executable, "-c", KNOWN], env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  found = {name: peak / told for name, (told, peak) in json.loads(done.stdout).items()}
  assert 0.8 < found["matmul"] <= 1 and 0.7 < found["copy"] <= 1 and 0.5 < found["loop of products"] <= 1
  assert found["loop"] == pytest.approx(1, rel=0.01)
  assert found["large runs"] > 0.95  # side by side they take longer than one after another
