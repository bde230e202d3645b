"""Errors carry all problems, with places, and cross processes whole."""

from __future__ import annotations

import pickle

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed, nearest


def test_a_problem_reads_as_file_line_key_message() -> None:
    problem = Problem("expects a number", where="seed", file="a.yaml", line=3)
    assert str(problem) == "a.yaml:3: seed: expects a number"


def test_an_error_shows_all_its_problems_and_pickles() -> None:
    error = ConfigError([Problem("one", "a"), Problem("two", "b")])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "a: one\nb: two"
    assert again.problems == error.problems
    assert error.exit_code == 2


def test_the_nearest_name_ignores_case_and_gives_up_on_nonsense() -> None:
    assert nearest("unet", ["UNet", "VNet"]) == ["UNet"]
    assert did_you_mean("qqqq", ["UNet"]) == ""


def test_of_names_that_are_equally_near_the_first_is_meant() -> None:
    assert nearest("epochs", ["max_epochs", "min_epochs"]) == ["max_epochs"]
    assert nearest("epochs", ["min_epochs", "max_epochs"]) == ["min_epochs"]


def test_long_lists_are_cut() -> None:
    assert listed(["a", "b", "c"], most=2) == "'a', 'b' (and 1 more)"
