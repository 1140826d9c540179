"""How devices are shared out, by arithmetic alone."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pathstar.devices.collectives import collectives
from pathstar.devices.mesh import AXES, make_mesh, mesh_shape, split_spec
from pathstar.errors import UserError


@pytest.mark.parametrize("spec, runs, batch, devices, want", [
    ("auto", 1, 64, 1, (1, 1)), ("auto", 1, 64, 8, (1, 8)), ("auto", 8, 64, 8, (8, 1)), ("auto", 6, 64, 8, (2, 4)),
    ("auto", 3, 10, 8, (3, 2)), ("auto", 5, 7, 8, (1, 7)), ("run=2,data=4", 4, 64, 8, (2, 4)), ("data=2", 1, 64, 8, (1, 2)),
    ("run=1", 5, 7, 8, (1, 1)),
])
def test_as_many_devices_as_can_be_go_to_runs_first_then_to_the_batch(spec, runs, batch, devices, want):
  shape = mesh_shape(spec, runs, batch, devices)
  assert (shape["run"], shape["data"]) == want and shape["model"] == 1
  assert runs % shape["run"] == 0 and batch % shape["data"] == 0 and tuple(shape) == AXES


@pytest.mark.parametrize("spec, said", [
    ("runs=2", "did you mean 'run'?"), ("run=0", "mesh axis run = '0'"), ("run", "mesh axis run = ''"),
    ("run=x", "mesh axis run = 'x'"), ("data=16", "at most 8 devices; it asks for 16"),
    ("run=4", "run divides the pack's 6 run(s)"), ("data=7", "data divides train.batch_size = 64"), ("", "mesh axis"),
])
def test_meshes_that_do_not_fit_are_refused(spec, said):
  with pytest.raises(UserError) as error:
    mesh_shape(spec, 6, 64, 8)
  assert said in str(error.value)


def test_fsdp_is_said_in_the_spec():
  assert split_spec("data=8,fsdp") == ("data=8", True) and split_spec("auto") == ("auto", False)
  assert mesh_shape("auto,fsdp", 1, 64, 8) == mesh_shape("auto", 1, 64, 8)


class Device:
  """One that is not attached: chip `i` of slice `slice_index`."""

  platform, device_kind, process_index = "cpu", "cpu", 0

  def __init__(self, i, slice_index):
    self.id, self.slice_index = i, slice_index


@pytest.mark.parametrize("spec, across", [("run=4,data=2", "run"), ("data=8", "data"), ("data=4,model=2", "data")])
def test_slices_lie_along_runs_or_else_the_batch(spec, across):
  devices = [Device(i, i // 4) for i in range(8)]
  mesh = make_mesh(spec, 4, 8, devices)
  axis = AXES.index(across)
  for place, device in zip(np.ndindex(mesh.devices.shape), mesh.devices.flat):
    assert device.slice_index == place[axis] * 2 // mesh.devices.shape[axis]
  with pytest.raises(UserError, match="a multiple of the 2 slices"):
    make_mesh("model=8", 4, 8, devices)


@pytest.fixture
def mesh():
  """run = 2, data = 2, model = 2 over devices 0 .. 7 that are not there."""
  return make_mesh("run=2,data=2,model=2", 2, 2, [Device(i, 0) for i in range(8)])


@pytest.mark.parametrize("groups, want", [
    ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", "model"),
    ("replica_groups={{0,2},{1,3},{4,6},{5,7}}", "data"),
    ("replica_groups={{0,4},{1,5},{2,6},{3,7}}", "run"),
    ("replica_groups={}", "run+data+model"),
    ("replica_groups=[2,4]<=[8]", "data+model"),
    ("replica_groups=[4,2]<=[2,4]T(1,0)", "run"),
    ("replica_groups=[4,2]<=[2,2,2]T(0,2,1)", "data"),
    ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'b'}", "data"),
    ("replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}", "model"),
    ("replica_groups=mesh['a'=2,'b'=4] {'b':(1)2}", "data"),
    ("replica_groups=mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0)) {'a'}", "model"),
    ("replica_groups=mesh['a'=2,'b'=4], device_ids=(0,1,2,3,4,5,6,7) {'a'}", "run"),
    ("source_target_pairs={{0,1},{1,0},{2,3},{3,2}}", "model"),
    ("replica_groups={{0},{1},{2},{3},{4},{5},{6},{7}}", None),
])
@pytest.mark.parametrize("operation", ["all-reduce", "all-gather-start", "collective-permute"])
def test_collectives_are_counted_by_the_axes_they_cross(mesh, operation, groups, want):
  line = f"  %x.1 = f32[8,16]{{1,0}} {operation}(%add.2), channel_id=3, {groups}, metadata={{op_name=\"a {{b}}\"}}"
  done = "  %y = f32[8] all-gather-done(%x.1)\n  %z = f32[8] add(%all-reduce.1, %y), replica_groups={{0,1}}"
  assert collectives(f"{line}\n{done}\n{line}", mesh) == ({want: 2} if want else {})


def test_groups_in_an_unknown_form_are_not_passed_over(mesh):
  with pytest.raises(ValueError, match="unknown form"):
    collectives("  %x = f32[] all-reduce(%y), replica_groups=@new<0>", mesh)


def test_on_a_cpu_each_core_is_a_device_for_runs_alone():
  code = """
import os
os.sched_getaffinity = lambda pid: range(4)
from pathstar.devices.mesh import AXES, cores_as_devices, make_mesh, mesh_shape, split_spec
from pathstar.devices.collectives import collectives
cores_as_devices()
print(*(tuple(make_mesh("auto", runs, 8).shape.values()) for runs in (1, 2, 6, 8)))
"""
  environment = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
  said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
  assert said.strip() == "(1, 1, 1) (2, 1, 1) (3, 1, 1) (4, 1, 1)"
