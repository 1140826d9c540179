"""Grid algebra, packs that form by themselves, and the frozen plan in a sweep's folder."""

import json
import re

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from pathstar import config
from pathstar.errors import UserError
from pathstar.storage import workdir
from pathstar.sweep import chain, product, subsample, zipped
from pathstar.sweeps import packs
from pathstar.sweeps.folder import SPLIT, pack_of, prepare
from pathstar.sweeps.packs import plan, run_id, shard
from pathstar.tasks.path_star import PathStar


def test_product_is_every_combination_first_names_slowest():
  assert product({"a": [1, 2], "b": ("x", "y")}) == [
      {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
  assert product({"a": [1]}, [{"b": 2}, {"b": 3, "c": 4}]) == [{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]
  assert product({"a": []}) == [] and product() == [{}]
  assert product([{"a": 1}, {"a": 2}], {"b": [3, 4]})[:2] == [{"a": 1, "b": 3}, {"a": 1, "b": 4}]


@pytest.mark.parametrize("combine", [product, zipped])
def test_a_text_is_no_list_of_values(combine):
  with pytest.raises(UserError, match=r"task.degree = '23': must be a list of values, as \['23'\]"):
    combine({"seed": [0, 1], "task.degree": "23"})


@pytest.mark.parametrize("parts", [[[{"a": 1}], {"a": [2]}], [{"a": [1]}, {"a": [2]}], [[{"b": 1}, {"a": 1}], [{"a": 2}, {"c": 1}]]])
def test_no_part_of_a_product_is_overruled_by_another(parts):
  with pytest.raises(UserError, match="product: a is set by two parts, to 1 by one and to 2 by a later one"):
    product(*parts)


def test_zipped_goes_side_by_side_and_refuses_lists_of_unequal_length():
  assert zipped({"a": [1, 2], "b": [3, 4]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
  with pytest.raises(UserError, match="'a': 2, 'b': 1"):
    zipped({"a": [1, 2], "b": [3]})


def test_chain_appends():
  assert chain([{"a": 1}], product({"b": [2, 3]})) == [{"a": 1}, {"b": 2}, {"b": 3}]


def test_subsample_is_a_fixed_choice_in_the_order_of_the_cells():
  cells = product({"a": range(50)})
  some = subsample(cells, 10)
  assert len(some) == 10 and some == subsample(cells, 10) != subsample(cells, 10, seed=1)
  assert some == sorted(some, key=lambda cell: cell["a"]) and all(cell in cells for cell in some)
  assert subsample(cells, 99) == cells


@pytest.fixture
def base(tiny):
  return config.override(config.default(), tiny.fields)


GRID = product({"task.degree": [2, 3], "seed": range(3), "optimizer.learning_rate": [1e-3, 2e-3]},
               zipped({"objective.name": ["next_token", "teacherless"], "train.num_steps": [20, 40]}))


def test_cells_that_differ_in_values_alone_share_a_pack(base):
  packs = plan(base, GRID)
  assert sorted(len(pack.runs) for pack in packs) == [6] * 4
  for pack in packs:
    shapes = {json.dumps({k: v for k, v in run.config.fields.items() if k not in config.VALUE_FIELDS}) for run in pack.runs}
    assert len(shapes) == 1
  assert sum(len(pack.runs) for pack in packs) == len(GRID)


@pytest.mark.parametrize("max_pack, sizes", [(1, [1] * 24), (4, [3] * 8), (100, [6] * 4)])
def test_packs_are_no_larger_than_asked_and_as_even_as_can_be(base, max_pack, sizes):
  packs = plan(base, GRID, max_pack)
  assert sorted(len(pack.runs) for pack in packs) == sorted(sizes)
  assert len({pack.pack_id for pack in packs}) == len(packs)


def test_run_ids_are_readable_unique_and_always_the_same(base):
  ids = [run.run_id for pack in plan(base, GRID) for run in pack.runs]
  assert len(set(ids)) == len(GRID)
  assert ids == [run.run_id for pack in plan(base, GRID) for run in pack.runs]
  assert all(name.startswith(("transformer-next_token-d", "transformer-teacherless-d")) for name in ids)
  [pack] = plan(base, [{"objective.order": "reversed", "seed": 4}])
  [run] = pack.runs
  assert run.run_id.startswith("transformer-reversed-d2-l4-s4-")
  # What does not change the numbers does not change the name.
  [same] = plan(base, [{"objective.order": "reversed", "seed": 4, "train.checkpoint_every": 20}])
  [other] = plan(base, [{"objective.order": "reversed", "seed": 4, "model.width": 32}])
  assert same.runs[0].run_id == run.run_id != other.runs[0].run_id


def test_run_ids_name_the_fields_that_nothing_else_in_them_tells_apart(base):
  cells = chain(product({"task.degree": [2], "data.num_train": [100, 300], "optimizer.learning_rate": [1e-3, 2e-3]}),
                [{"task.degree": 3, "train.num_steps": 40}])
  names = [run.run_id.rpartition("-")[0] for pack in plan(base, cells) for run in pack.runs]
  assert sorted(names) == sorted([f"transformer-next_token-d2-l4-num_train={size}-learning_rate={rate}-s0"
                                  for size in (100, 300) for rate in (0.001, 0.002)] + ["transformer-next_token-d3-l4-s0"])


def test_ids_of_many_cells_that_differ_in_their_hash_alone_do_not_collide(base):
  [pack] = plan(base, [{"optimizer.learning_rate": 1e-3 * (1 + i / 1000)} for i in range(600)])
  assert len({run.run_id for run in pack.runs}) == 600


def test_run_ids_tell_fields_of_the_same_last_name_apart(base):
  cells = product({"optimizer.name": ["adamw", "muon"], "train.batch_size": [8, 16]})
  names = [run.run_id for pack in plan(base, [cell | {"objective.name": "next_token"} for cell in cells]) for run in pack.runs]
  assert sum("-name=muon-batch_size=8-" in name for name in names) == 1
  runs = [config.resolve(config.override(base, cell)) for cell in cells]
  assert "-objective.name=next_token-optimizer.name=muon-" in run_id(runs[2], ["objective.name", "optimizer.name"])


def test_impossible_cells_are_all_listed_at_once(base):
  cells = [{"seed": 0}, {"task.degree": 0}, {"seed": 1}, {"model.num_head": 2}, {"seed": 0}]
  with pytest.raises(UserError) as error:
    plan(base, cells)
  said = str(error.value)
  assert said.startswith("3 of 5 cells are impossible")
  assert "cell 1 {'task.degree': 0}: task.degree = 0" in said
  assert "cell 3 {'model.num_head': 2}: unknown config field 'model.num_head'; did you mean 'model.num_heads'?" in said
  assert "cell 4 {'seed': 0}: the same config as an earlier cell" in said


def test_the_command_line_wins_over_the_cells_or_says_why_it_can_not(base):
  base = config.override(base, {"train.num_steps": 10})
  packs = plan(base, GRID, given=["train.num_steps"])
  assert {run.config.train.num_steps for pack in packs for run in pack.runs} == {10} and sum(len(pack.runs) for pack in packs) == 24
  with pytest.raises(UserError) as error:
    plan(config.override(base, {"seed": 7}), GRID, given=["seed"])
  assert "16 of 24 cells are impossible" in str(error.value) and "--config.seed wins over the 24 cells that set it" in str(error.value)
  assert {run.config.seed for pack in plan(base, [{"task.degree": 3}], given=[]) for run in pack.runs} == {0}


@pytest.mark.parametrize("cells", [{"seed": [0, 1]}, [("seed", 0)], "seed", [["seed"]]])
def test_what_is_no_list_of_cells_is_refused(base, cells):
  with pytest.raises(UserError, match="must be a list of cells"):
    plan(base, cells)


def test_cells_may_come_one_by_one_and_there_must_be_some(base):
  assert len(plan(base, ({"seed": seed} for seed in range(3)), given=["mesh"])[0].runs) == 3
  with pytest.raises(UserError, match="the sweep has no cells"):
    plan(base, [])


def test_a_field_that_no_cell_uses_is_refused_by_name(base):
  cells = product({"model.mixer": ["attention", "mamba"]})
  for name in ("model.num_heads", "model.mamba_state"):  # each is used by one of them
    plan(config.override(base, {name: 4}), cells, given=[name])
  with pytest.raises(UserError, match="model.s5_state = 16: is not used by model.mixer = 'attention'; it is a field of s5, s5_gated"):
    plan(config.override(base, {"model.s5_state": 16}), cells, given=["model.s5_state"])
  with pytest.raises(UserError, match="cell 1 .*model.num_heads = 4: is not used by model.mixer = 'mamba'"):
    plan(base, product({"model.mixer": ["attention", "mamba"], "model.num_heads": [4]}))


@pytest.mark.parametrize("cell, said", [
    ({"model.rope_base": 100.0}, "model.rope_base = 100.0: changes nothing with model.positions = 'learned'"),
    ({"model.inject": True}, "model.inject = True: changes nothing with model.num_loops = 1"),
    ({"model.mixer": "mamba", "model.positions": "rope"}, "model.positions = 'rope': changes nothing with model.mixer = 'mamba'"),
    ({"model.mixer": "s5_gated", "model.init": "mimetic"}, "model.init = 'mimetic': changes nothing with model.mixer = 's5_gated'"),
    ({"optimizer.ssm_rate_factor": 0.1}, "optimizer.ssm_rate_factor = 0.1: changes nothing with model.mixer = 'attention'"),
    ({"objective.name": "multi_token", "objective.k": 1, "objective.heads_weight": 0.5}, "objective.heads_weight = 0.5: must be 1 with"),
])
def test_no_cell_is_of_a_value_that_changes_nothing(base, cell, said):
  with pytest.raises(UserError, match=re.escape(said)):
    plan(config.override(base, {"model.positions": "learned"}), [{}, cell])


def test_the_largest_pack_is_first(base):
  packs = plan(base, product({"model.width": [8, 32, 16], "seed": range(2)}))
  assert [pack.runs[0].config.model.fields.width for pack in packs] == [32, 16, 8]
  packs = plan(base, chain(product({"seed": range(2)}), product({"train.batch_size": [16], "seed": range(5)})))
  assert [len(pack.runs) for pack in packs] == [5, 2]


@pytest.mark.parametrize("number", [1, 3, 8, 24])
def test_shards_share_out_every_pack_once(base, number):
  packs = plan(base, GRID, max_pack=1)
  shards = [shard(packs, f"{i}/{number}") for i in range(number)]
  assert sorted(p.pack_id for part in shards for p in part) == sorted(p.pack_id for p in packs)
  assert {len(part) for part in shards} == {len(packs) // number}
  assert shards[0][0] is packs[0]


@pytest.mark.parametrize("spec", ["2/2", "1", "-1/2", "0/0", "a/b"])
def test_a_shard_that_does_not_exist_is_refused(base, spec):
  with pytest.raises(UserError, match="shard = .*i/n with 0 <= i < n"):
    shard(plan(base, [{}]), spec)


def differing(folder):
  """Hyperparameters that TensorBoard's table of a sweep or group shows first; it lies in one of its runs' folders."""
  [file] = folder.glob("*/.tfevents.*")
  metadata = EventAccumulator(str(file.parent)).Reload().SummaryMetadata("_hparams_/experiment")
  infos = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content).experiment.hparam_infos
  words = {"method", "topology"}
  assert words <= {info.name for info in infos} <= words | {info.name for info in infos if info.differs}  # what all have is not shown
  return {info.name for info in infos if info.differs}


def test_a_large_sweep_goes_in_groups_that_tensorboard_can_show(base, tmp_path):
  cells = product({"task.degree": [2, 3], "objective.order": ["forward", "reversed"], "seed": range(60)})
  assert {run.path for pack in plan(base, cells[:200]) for run in pack.runs} == {
      run.run_id for pack in plan(base, cells[:200]) for run in pack.runs}
  packs = plan(base, cells)
  assert {run.path for pack in packs for run in pack.runs} == {
      f"{run.config.task.slug}/{run.run_id}" for pack in packs for run in pack.runs}
  prepare(tmp_path, packs)
  for group in ("d2-l4", "d3-l4"):  # told of the whole sweep, wherever TensorBoard is pointed at
    assert differing(tmp_path / "runs" / group) == {"method", "topology", "task.degree", "seed"}
  assert not list(tmp_path.glob("*tfevents*")) and not list((tmp_path / "runs").glob("*/*tfevents*"))
  many = product({"objective.order": ["forward", "reversed"], "seed": range(150)})
  assert {run.path.split("/")[0] for pack in plan(base, many) for run in pack.runs} == {
      "d2-l4-transformer-next_token", "d2-l4-transformer-reversed"}


def test_another_sweep_in_the_same_folder_is_refused(base, tmp_path):
  cells = product({"seed": range(4)})
  prepare(tmp_path, plan(base, cells))
  before = (tmp_path / "sweep.json").read_bytes()
  prepare(tmp_path, plan(base, cells))
  with pytest.raises(UserError, match="holds another sweep .its runs differ"):
    prepare(tmp_path, plan(base, product({"seed": range(3), "task.degree": [3]})))
  # The same runs in other packs, and some of them, are the folder's own.
  assert [pack.pack_id for pack in prepare(tmp_path, plan(base, cells, max_pack=2))] == [pack.pack_id for pack in plan(base, cells)]
  [some] = prepare(tmp_path, plan(base, cells[:3]))
  assert [run.config.seed for run in some.runs] == [0, 1, 2] and len(some.whole) == 4
  assert (tmp_path / "sweep.json").read_bytes() == before


def test_a_folder_of_something_else_is_refused(base, tmp_path):
  (tmp_path / "thesis.tex").write_text("mine")
  with pytest.raises(UserError, match="not a sweep's folder .it holds 'thesis.tex'"):
    prepare(tmp_path, plan(base, [{}]))


@pytest.mark.parametrize("place", [".", "runs"])
def test_events_of_something_else_are_left_alone(base, tmp_path, place):
  file = workdir.make(tmp_path / place) / "events.out.tfevents.123.host.1"
  file.write_text("mine")
  try:
    prepare(tmp_path, plan(base, [{}]))
  except UserError as error:
    assert place == "." and f"not a sweep's folder (it holds '{file.name}')" in str(error)
  assert file.read_text() == "mine"


def test_a_sweep_that_died_while_it_prepared_can_start_again(base, tmp_path, monkeypatch):
  packs = plan(base, [{"seed": 0}])
  with monkeypatch.context() as patch:
    patch.setattr(workdir, "write_json", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      prepare(tmp_path, packs)
  prepare(tmp_path, packs)
  assert (tmp_path / "sweep.json").exists()


def test_a_run_is_found_in_its_pack_however_often_that_was_split(tmp_path):
  packs = {"P": ["a", "b", "c"], "Q": ["d"]}
  for pack_id, parts in {"P": {"P1": ["b", "c"]}, "P1": {"P2": ["b"], "P3": ["c"]}}.items():
    workdir.write_json(workdir.make(tmp_path / "packs" / pack_id) / SPLIT, parts)
  found = {path: pack_of(tmp_path, packs, path) for path in "abcde"}
  assert found == {"a": ("P", ["a", "b", "c"]), "b": ("P2", ["b"]), "c": ("P3", ["c"]), "d": ("Q", ["d"]), "e": None}


def test_a_name_of_a_folder_is_neither_too_long_nor_anything_else_than_a_name(tiny, monkeypatch):
  base = config.override(config.default(), tiny.fields)
  told = ["optimizer.learning_rate", "optimizer.weight_decay", "model.width", *(f"task.{'x' * 30}{n}" for n in range(9))]
  name = packs.name_of(tiny(), tiny().fields | dict.fromkeys(told, "é" * 20), told)
  assert len(name.encode()) < 240 and re.fullmatch(r"transformer-next_token-d2-l4-learning_rate=.*-s0-[0-9a-f]{8}", name)
  monkeypatch.setattr(packs, "_GROUP_SIZE", 1)
  monkeypatch.setattr(PathStar, "slug", "my star 3/4")
  [pack] = plan(base, [{"seed": 0}, {"seed": 1}])
  assert all(run.path.startswith("my_star_3_4-transformer") and run.path.count("/") == 1 for run in pack.runs)
