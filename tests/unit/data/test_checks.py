"""Checks of pixels: each mistake is found, named with its sample, and comes with a remedy."""

from __future__ import annotations

import re

import numpy as np
import pytest

from imtoolkit.core.facts import TargetKind, TargetSpec
from imtoolkit.data.checks import (
    check_labels,
    check_prepared,
    check_sample,
)
from imtoolkit.io.picture import Picture

TWO = TargetSpec(TargetKind.LABELS, ("background", "nucleus"))
THREE = TargetSpec(TargetKind.LABELS, ("background", "anterior", "posterior"))
INSTANCES = TargetSpec(TargetKind.INSTANCES)
IMAGE = TargetSpec(TargetKind.IMAGE)


def picture(pixels: object, axes: str = "") -> Picture:
    array = np.asarray(pixels)
    names = tuple(map(str, range(array.shape[0])))
    return Picture(array, None, None, None, names, axes or ("CYX" if array.ndim == 3 else "CZYX"))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def told(
    image: np.ndarray,
    target: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    spec: TargetSpec = TWO,
    *,
    target_changes: bool = False,
) -> tuple[str, str]:
    problems, warnings = check_sample(
        picture(image),
        None if target is None else picture(target),
        None if weight is None else picture(weight),
        spec,
        where="cell_7",
        target_changes=target_changes,
    )
    assert all(problem.where == "cell_7" for problem in problems)
    assert all(line.startswith("cell_7: ") for line in warnings)
    return "\n".join(map(str, problems)), "\n".join(warnings)


@pytest.mark.parametrize("shape", [(1, 8, 9), (3, 4, 8, 9)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
def test_a_good_sample_has_no_problems(shape: tuple[int, ...], dtype: type) -> None:
    target = (noise(1, *shape[1:]) > 0.5).astype(dtype)
    weight = noise(1, *shape[1:])
    assert told(noise(*shape), target, weight) == ("", "")


def test_sizes_that_differ_are_told_with_both() -> None:
    problems, _ = told(noise(1, 8, 9), np.zeros((1, 8, 8), int), np.ones((1, 4, 4)))
    assert "image is 8 x 9, its target 8 x 8" in problems
    assert "its weight 4 x 4" in problems


def test_a_transposed_target_is_recognised() -> None:
    problems, _ = told(noise(1, 8, 9), np.ones((1, 9, 8), int))
    assert "looks transposed" in problems


def test_a_target_with_another_number_of_axes_points_to_the_axes() -> None:
    problems, _ = told(noise(1, 5, 8, 9), np.ones((1, 8, 9), int))
    assert "Check data.axes" in problems


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite_are_counted(value: float) -> None:
    image = noise(1, 8, 8)
    image[0, 2, 3:5] = value
    assert "image has 2 NaN or infinite pixels of 64" in told(image)[0]
    assert "target has 2 NaN" in told(noise(1, 8, 8), image, spec=IMAGE)[0]
    assert "weight has 2 NaN" in told(noise(1, 8, 8), None, image)[0]


def test_nan_beyond_the_first_block_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imtoolkit.data.checks._BLOCK", 10)
    image = noise(1, 8, 8)
    image[0, 7, 7] = np.nan
    assert "1 NaN" in told(image)[0]
    nearly = np.zeros((1, 8, 8))
    nearly[0, 7, 7] = 1
    assert told(nearly) == ("", "")
    assert "such as 1.5" in told(noise(1, 8, 8), nearly * 1.5)[0]


def test_a_constant_image_is_a_warning() -> None:
    assert told(np.full((1, 8, 8), 7)) == ("", "cell_7: image is constant: every pixel is 7")


def test_an_empty_image_is_a_problem() -> None:
    assert "its shape is (1, 0, 8)" in told(np.zeros((1, 0, 8)))[0]


def test_an_empty_target_is_a_warning() -> None:
    assert "target is empty" in told(noise(1, 8, 8), np.zeros((1, 8, 8), np.uint8))[1]


def test_negative_weights_are_refused_and_zero_weights_told() -> None:
    weight = np.ones((1, 8, 8))
    weight[0, 0, 0] = -0.5
    assert "weight is negative (-0.5)" in told(noise(1, 8, 8), None, weight)[0]
    assert "teaches nothing" in told(noise(1, 8, 8), None, np.zeros((1, 8, 8)))[1]
    assert "weight has 2 channels" in told(noise(1, 8, 8), None, np.ones((2, 8, 8)))[0]


@pytest.mark.parametrize(
    ("values", "spec", "message"),
    [
        ([0, 255], TWO, "labels 0, 255 are found.*0 and 255: add binarize_target"),
        ([0, 1, 2, 3, 40], TWO, "labels 0, 1, 2, 3, 40.*number objects, add binarize_target"),
        (list(range(20)), TWO, r"0, 1, 2, 3, 4, 5, 6, 7, \.\.\. are found"),
        ([0, 100, 200], THREE, "expected 0 to 2 .*map_labels"),
        ([0, 1, 2, 3], THREE, "Name more classes in task.classes"),
        ([-1, 0, 1], THREE, "labels -1, 0, 1 are found"),
        ([-1, 0, 1], INSTANCES, "labels are negative"),
    ],
)
def test_labels_outside_the_classes_come_with_a_remedy(
    values: list[int], spec: TargetSpec, message: str
) -> None:
    target = np.resize(values, (1, 8, 8))
    found, _ = check_labels(target, spec, where="x")
    assert len(found) == 1
    assert re.search(message, found[0].message)


def test_any_number_of_instances_is_fine() -> None:
    target = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    assert told(noise(1, 8, 8), target, spec=INSTANCES) == ("", "")


def test_whole_numbers_stored_as_floats_are_accepted_and_others_refused() -> None:
    target = np.resize([0.0, 1.0], (1, 8, 8))
    assert told(noise(1, 8, 8), target) == ("", "")
    problems, _ = told(noise(1, 8, 8), target / 2)
    assert "whole numbers, but there are values such as 0.5" in problems


def test_labels_in_colours_are_refused() -> None:
    assert "target has 3 channels" in told(noise(1, 8, 8), np.zeros((3, 8, 8), np.uint8))[0]


def test_labels_that_preprocessing_changes_are_checked_afterwards() -> None:
    target = np.resize([0, 255], (1, 8, 8))
    assert told(noise(1, 8, 8), target, target_changes=True) == ("", "")
    image = noise(1, 8, 8)
    assert check_prepared(image, target // 255, None, TWO, where="x") == ([], [])
    problems, _ = check_prepared(image, target, None, TWO, where="x")
    assert "binarize_target" in problems[0].message


def test_what_a_transform_broke_is_told_as_such() -> None:
    image = np.full((1, 8, 8), np.nan)
    problems, _ = check_prepared(image, np.ones((1, 4, 4), int), None, TWO, where="x")
    assert "64 NaN or infinite pixels of 64" in problems[0].message
    assert all("(after preprocessing)" in problem.message for problem in problems)
    assert len(problems) == 2


def test_classes_and_numbers_have_no_pixels_to_check() -> None:
    spec = TargetSpec(TargetKind.CLASS, ("a", "b"))
    assert told(noise(1, 8, 8), None, spec=spec) == ("", "")
