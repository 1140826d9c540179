"""What runs say of the paper's claims: each check, by runs that agree and runs that do not."""

import math
import re

import numpy as np
import pytest
import scipy.stats
from failing_run import run

from pathstar.reports import claims

STEPS = {f"position_{k}_step_95": 50 - 10 * k for k in range(1, 5)}


def verdict(number, runs):
  claim = next(claim for claim in claims.CLAIMS if claim.number == number)
  return claims.verdict(claim, runs).word


@pytest.mark.parametrize("number, good, bad", [
    ("1", {}, {"exact_match_train": 0.6}),
    ("2", {}, {"cheat_accuracy": 0.9}),
    ("3", {}, {"branch_entropy": 0.95 * math.log(2)}),
    ("4", {}, {"branch_accuracy_best": 0.7}),
    ("5", {"objective": "teacherless", "exact_match_test": 1.0, "exact_match_train": 1.0},
     {"objective": "teacherless", "exact_match_test": 0.5, "exact_match_train": 1.0}),
    ("5", {"objective": "teacherless", "exact_match_test": 1.0, "exact_match_train": 1.0},
     {"objective": "teacherless", "exact_match_test": 0.8, "exact_match_train": 0.8}),
    ("6", {"order": "reversed", "exact_match_test": 1.0}, {"order": "reversed", "exact_match_test": 0.9}),
    ("7", {"order": "reversed", **STEPS},
     {"order": "reversed", **{f"position_{k}_step_95": 10 * k for k in range(1, 5)}}),
    ("8", {"architecture": "mamba"}, {"architecture": "mamba", "exact_match_test": 0.9}),
    ("8", {"architecture": "mamba"}, {"architecture": "mamba", "cheat_accuracy": 0.97}),
    ("8", {"architecture": "mamba"}, {"architecture": "mamba", "exact_match_train": 0.6}),
    ("9b", {"verifier/best_of_1": 0.5, "verifier/best_of_1_blind": 0.5}, {"verifier/best_of_1": 0.7, "verifier/best_of_1_blind": 0.5}),
    ("9b", {"verifier/best_of_1": 0.5, "verifier/best_of_1_blind": 0.5},
     {"verifier/best_of_1": 0.0, "verifier/best_of_1_blind": 0.0, "cheat_accuracy": 0.0}),
    ("10", {"problem": "G(2,5) search", "exact_match_test": 0.97}, {"problem": "G(2,5) search", "exact_match_test": 0.5}),
])
def test_a_verdict_counts_the_runs_that_agree(number, good, bad):
  assert verdict(number, [run(**good)]) == "held in 1 of 1"
  assert verdict(number, [run(**bad)]) == "not held in 1"
  assert verdict(number, [run(**good), run(**bad, seed=1), run(**good, seed=2)]) == "held in 2 of 3"
  assert verdict(number, []) == "undecided"


def test_runs_that_diverged_are_no_evidence_and_are_counted():
  lost = run(status="diverged", seed=1, **dict.fromkeys(("exact_match_test", "exact_match_train", "branch_accuracy"), math.nan))
  for number, values in (("1", {}), ("5", {"objective": "teacherless", "exact_match_test": 1.0, "exact_match_train": 1.0})):
    told = claims.verdict(next(one for one in claims.CLAIMS if one.number == number), [lost | {"objective": "next_token"} | {
        name: value for name, value in values.items() if name == "objective"}, run(**values)])
    assert told.word == "held in 1 of 1" and told.found.endswith(" 1 runs diverged and are left out.") and "nan" not in told.found
    assert verdict(number, [lost]) == "undecided"


def test_an_even_guess_is_asked_of_problems_that_do_not_name_the_first_move():
  assert verdict("3", [run(chance=0.75, branch_entropy=0.5 * math.log(2), exact_match_test=0.75)]) == "undecided"


def test_a_guess_is_near_chance_however_small_chance_is():
  at = lambda score: [run(degree=20, chance=0.05, exact_match_test=score, exact_match_train=score)]
  assert verdict("1", at(0.05)) == "held in 1 of 1"
  assert verdict("1", at(0.0)) == "not held in 1"


def test_runs_that_learned_nothing_decide_nothing():
  assert verdict("5", [run(objective="teacherless")]) == "undecided"
  assert verdict("7", [run(order="reversed", **{f"position_{k}_step_95": math.nan for k in range(1, 5)})]) == "undecided"
  assert verdict("11", [run(objective="branch_only", length=length, branch_step=math.nan) for length in (3, 4)]) == "undecided"


def test_an_order_needs_positions_that_are_learned_at_different_times():
  told = lambda *steps: verdict("7", [run(order="reversed", **{f"position_{k}_step_95": step for k, step in enumerate(steps, 1)})])
  assert told(500, 500, 500, 500) == "undecided"  # all between two evaluations
  assert told(500, 500, 500, 400) == "undecided"  # but for the goal, which the question names
  assert told(500, 400, 400, math.nan) == "undecided"
  assert told(500, 500, 400, 400) == "held in 1 of 1" and told(400, 500, 500, 500) == "not held in 1"


def test_what_is_known_by_heart_is_told_apart_from_what_is_half_learned():
  told = lambda test, train: claims.verdict(next(one for one in claims.CLAIMS if one.number == "5"), [
      run(objective="teacherless", exact_match_test=test, exact_match_train=train)]).found
  assert "train more than test in 1" in told(0.4, 1.0) and "train more than test in 1" in told(0.5, 0.8)
  assert "both in part in 1" in told(0.8, 0.8) and "both in 1" in told(0.95, 1.0)


def test_whether_train_could_differ_from_test_is_said():
  told = lambda num_train=1000, **values: claims.verdict(claims.CLAIMS[0], [run(num_train=num_train, **values)]).found
  assert "a second test set" in told(epochs=0.5) and "a second test set" not in told(epochs=5.0) and "after 5 epochs" in told(epochs=5.0)
  assert "a second test set" not in told(epochs=1.04)
  assert "no example comes again, so that train is a second test set" in told(math.nan, epochs=math.nan)
  assert "second test set" not in told(epochs=math.nan)  # of a report that doesn't say


def test_a_wrong_arm_is_told_with_what_stands_at_its_end():
  said = claims.verdict(claims.CLAIMS[1], [run(end_follows_arm=0.25, end_copies_goal=0.75)])
  assert said.found.endswith("; its last token is a copy of the goal in 0.75.")
  [case] = said.cases
  assert case.measured == "1.000; the last token is the arm's end in 0.25, the goal in 0.75" and case.held == 1


@pytest.mark.parametrize("number", ["1", "3", "4"])
def test_a_run_that_does_not_follow_edges_yet_decides_nothing_and_is_named(number):
  early = run(exact_match_test=0.0, exact_match_train=0.0, branch_accuracy=0.1, branch_entropy=0.5, cheat_accuracy=0.07,
              cheat_step=math.nan)
  claim = next(claim for claim in claims.CLAIMS if claim.number == number)
  told = claims.verdict(claim, [run(), early | {"problem": "G(5,5)"}])
  assert (told.word, told.cases[0].of, told.cases[-1].of) == ("held in 1 of 1", 1, 0)
  assert told.cases[-1].setting == "G(5,5), edges not learned" and "0.07" in told.found
  assert verdict(number, [early]) == "undecided" and verdict("2", [early]) == "not held in 1"
  # One that plans without following edges has an answer, and not the paper's.
  assert verdict(number, [early | {"exact_match_test": 0.9, "branch_accuracy": 0.9}]) == "not held in 1"


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.number)
@pytest.mark.parametrize("runs", [
    [], [run(degree=1, cheat_accuracy=math.nan, branch_entropy=0.0, chance=1.0)], [run(order="reversed", **STEPS)],
    [run(task="addition", problem="3-digit addition", degree=math.nan)]],
                         ids=["none", "degree 1", "reversed", "addition"])
def test_where_nothing_can_tell_the_verdict_says_so_in_words(claim, runs):
  found = claims.verdict(claim, runs)
  if found.of == 0 and not claim.about(runs):
    assert found.word == "undecided" and found.found == "none of these runs is of the kind that could tell."
  assert not re.search(r"nan|inf\b|: ;|: \.|  |match ;|^;| seeds each$", found.found) and "; ;" not in found.found


def test_plain_s5_is_reported_apart():
  assert verdict("8", [run(), run(architecture="s5", exact_match_test=0.0)]) == "held in 1 of 1"


def test_longer_paths_are_as_right_as_the_shortest_guess_where_its_errors_forecast_less():
  rows = lambda *scores, **more: [
      run(length=n, answer_length=n, problem=f"G(2,{n})", exact_match_test=score, token_error=0.12, **more) for n, score in scores]
  assert verdict("9a", rows((4, 0.5), (8, 0.5))) == "held in 1 of 1"
  assert verdict("9a", rows((4, 0.5), (8, 0.36))) == "not held in 1"
  assert verdict("9a", rows((4, 0.5), (5, 0.5))) == "undecided"  # 0.88^5 = 0.53 is no fall
  assert verdict("9a", rows((3, 1.0), (4, 0.5), (8, 0.5))) == "held in 1 of 1"  # beside the shortest that is a guess
  assert verdict("9a", rows((3, 1.0), (4, 0.8), (8, 0.7))) == "undecided"
  assert verdict("9a", rows((4, 0.5), (8, 0.5)) + rows((8, 0.5), seed=1) + rows((8, 0.3), seed=2)) == "held in 2 of 3"
  assert verdict("9a", rows((4, 0.5))) == "undecided"


def test_a_line_of_teacherless_training_counts_what_its_runs_fit():
  made = lambda score, seed: run(objective="teacherless", exact_match_test=score, exact_match_train=score, seed=seed)
  [case] = claims.verdict(claims.CLAIMS[4], [made(1.0, 0), made(0.5, 1), made(0.7, 2), made(0.2, 3)]).cases
  assert case.measured.endswith("; fits both in 1, both in part in 1, less than a guess in 1, neither in 1")
  assert (case.held, case.of) == (2, 3)
  assert verdict("5", [made(0.5, 0), made(0.2, 1)]) == "undecided"  # nothing was learned


def test_steps_to_solve_must_double_with_a_node_and_may_end_unsolved():
  rows = lambda *steps, budget=1000, by=1: [run(objective="branch_only", length=3 + by * i, branch_step=step, steps=budget)
                                            for i, step in enumerate(steps)]
  assert verdict("11", rows(10, 100, math.nan)) == "held in 2 of 2"
  assert verdict("11", rows(10, 15, math.nan)) == "held in 1 of 2"
  assert verdict("11", rows(10, 100, math.nan, math.nan)) == "held in 2 of 2"
  assert verdict("11", rows(10, math.nan, math.nan)) == "undecided"  # one comparison is no trend
  assert verdict("11", rows(10, 100, math.nan, budget=150)) == "undecided"  # nor does so short a budget tell of the second
  assert verdict("11", rows(100, 210, 450, by=3)) == "not held in 2"  # of three nodes more


def test_teacherless_must_be_above_wherever_the_two_differ():
  rows = lambda number, taught, free: [
      run(task="addition", problem="3-digit addition", degree="", num_train=number, objective=name, exact_match_test=value)
      for name, value in (("next_token", taught), ("teacherless", free))]
  assert verdict("12", rows(10, 0.2, 0.9) + rows(100, 1.0, 1.0)) == "held in 1 of 1"
  assert verdict("12", rows(10, 0.9, 0.2) + rows(100, 0.5, 0.9)) == "held in 1 of 2"


def test_the_interval_of_a_rate_is_wilsons():
  """Against the one of scipy."""
  for held, of in ((0, 1), (1, 1), (3, 12), (12, 12), (93, 113)):
    want = scipy.stats.binomtest(held, of).proportion_ci(method="wilson")
    np.testing.assert_allclose(claims.interval(held, of), (want.low, want.high), atol=1e-6)
