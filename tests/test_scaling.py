"""`pathstar bench --mixers`: what is timed, and the files that it writes."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathstar import config
from pathstar.commands import bench as bench_command
from pathstar.commands import cli
from pathstar.pricing import compare
from pathstar.reports.csv_files import read_csv


@pytest.fixture(scope="module")
def fields(tiny):
  return config.override(config.default(), tiny.fields)


def test_random_tokens_are_predicted_at_every_one_of_their_positions(tiny):
  made = compare.on_random_tokens(tiny(), 12)
  batch = made.task.examples(np.zeros(3), "train", np.arange(3))
  inputs = np.asarray(made.objective.inputs(jax.tree.map(jnp.asarray, batch)))
  assert inputs.shape == batch["target"].shape == (3, 12) and batch["weight"].all()
  np.testing.assert_array_equal(inputs[:, 1:], batch["target"][:, :-1])
  assert inputs.max() < made.model.vocab_size and made.model.max_length == 12
  assert np.asarray(made.objective.weight(batch)).all()  # what the loss asks of a task, the stand-in has
  assert (batch["target"] != made.task.examples(np.zeros(3), "train", np.arange(3, 6))["target"]).any()


@pytest.mark.slow
def test_mixers_are_compared_length_by_length_and_written_down(fields, tmp_path, monkeypatch):
  monkeypatch.setattr("sys.argv", ["pathstar", "bench", "--mixers=..."])
  rows = list(compare.compare(fields, [{"model.mixer": "attention"}, {"model.mixer": "s5"}], [4, 64], 1))
  assert [(row["length"], row["mixer"]) for row in rows] == [(4, "attention"), (4, "s5"), (64, "attention"), (64, "s5")]
  assert all(row["ratio"] == 1 for row in rows if row["mixer"] == "attention")
  assert all(row["step_ms"] > 0 and row["parameters"] > 0 for row in rows)
  assert rows[2]["peak_mib"] > rows[0]["peak_mib"]
  compare.write(tmp_path / "scaling", rows)
  assert read_csv(tmp_path / "scaling" / "runs.csv")[3]["mixer"] == "s5"
  assert (tmp_path / "scaling" / "table.md").read_text().count("random tokens") == 4
  readme = (tmp_path / "scaling" / "README.md").read_text()
  assert "command: `pathstar bench --mixers=...`" in readme and (tmp_path / "scaling" / "scaling.png").stat().st_size > 0


def test_a_pack_is_compared_with_a_run_alone(fields):
  one, four = compare.compare(fields, [{}], [], 2, packs=[1, 4])
  assert (one["runs"], four["runs"]) == (1, 4) and one["parameters"] == four["parameters"]
  for row in (one, four):
    assert row["examples_per_second"] == pytest.approx(1e3 * row["runs"] * row["batch_size"] / row["step_ms_median"])


def test_an_objective_is_compared_by_time_flops_and_parameters(fields, tmp_path):
  first, heads = compare.compare(fields, [{"objective.name": "next_token"}, {"objective.name": "multi_token"}], [], 1)
  assert (first["objective"], heads["objective"]) == ("next_token", "multi_token")
  assert heads["parameters"] > heads["parameters_used"] == first["parameters_used"] == first["parameters"]
  table = [[cell.strip() for cell in line.split("|")] for line in "\n".join(compare.markdown([first, heads])).splitlines()]
  column = table[0].index("FLOPs over the first")
  assert table[2][column] == "1.00" and float(table[3][column]) > 1
  compare.write(tmp_path / "out", [first, heads | {"length": 1 + heads["length"]}, heads])  # as of one that adds tokens
  assert (tmp_path / "out" / "README.md").exists() and not (tmp_path / "out" / "scaling.png").exists()


def test_an_old_file_is_shown_as_it_was_without_what_it_lacks():
  folder = pathlib.Path(__file__).parent.parent / "results" / "step_time"
  rows = read_csv(folder / "runs.csv")
  assert "objective" not in rows[0] and "\n".join(compare.markdown(rows)) + "\n" == (folder / "table.md").read_text()


@pytest.mark.parametrize("flags, named", [
    (["--mixers=attention,manba"], "did you mean 'mamba'"),
    (["--mixers=mamba", "--lengths=32,x"], "--lengths = '32,x': must be integers >= 1 with commas between"),
    (["--packs=8,0"], "--packs = '8,0': must be integers >= 1 with commas between"),
    (["--objectives=next_tokens"], "did you mean 'next_token'"),
    (["--objectives=next_token", "--lengths=32"], "--lengths: random tokens are for next_token alone"),
    (["--lengths=32"], "--lengths: must come with --mixers"),
    (["--mixers=mamba", "--lengths=32", "--config.objective.name=multi_token"], "objective.name = 'multi_token': must be next_token with"),
    (["--out=somewhere"], "--out: must come with --mixers"),
])
def test_what_can_not_be_compared_is_said_in_one_line(tiny_file, capsys, flags, named):
  assert cli.run(bench_command.main, [f"--config={tiny_file}", *flags]) == 2
  assert named in capsys.readouterr().err
