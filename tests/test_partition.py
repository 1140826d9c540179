"""How devices are shared out, by arithmetic alone."""

import pytest

from pathstar import partition
from pathstar.errors import UserError


@pytest.mark.parametrize("spec, runs, batch, devices, want", [
    ("auto", 1, 64, 1, (1, 1)), ("auto", 1, 64, 8, (1, 8)), ("auto", 8, 64, 8, (8, 1)), ("auto", 6, 64, 8, (2, 4)),
    ("auto", 3, 10, 8, (1, 2)), ("run=2,data=4", 4, 64, 8, (2, 4)), ("data=2", 1, 64, 8, (1, 2)), ("run=1", 5, 7, 8, (1, 1)),
])
def test_devices_go_to_runs_first_then_to_the_batch(spec, runs, batch, devices, want):
  shape = partition.mesh_shape(spec, runs, batch, devices)
  assert (shape["run"], shape["data"]) == want and shape["model"] == 1
  assert runs % shape["run"] == 0 and batch % shape["data"] == 0 and tuple(shape) == partition.AXES


@pytest.mark.parametrize("spec, said", [
    ("runs=2", "did you mean 'run'?"), ("run=0", "mesh axis run = '0'"), ("run", "mesh axis run = ''"),
    ("run=x", "mesh axis run = 'x'"), ("data=16", "at most 8 devices; it asks for 16"),
    ("run=4", "run divides the pack's 6 run(s)"), ("data=7", "data divides train.batch_size = 64"), ("", "mesh axis"),
])
def test_meshes_that_do_not_fit_are_refused(spec, said):
  with pytest.raises(UserError) as error:
    partition.mesh_shape(spec, 6, 64, 8)
  assert said in str(error.value)
