"""Pictures of classes and numbers hold the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest

from imtoolkit.figures.classification import calibration_figure, confusion_figure, curves_figure
from imtoolkit.figures.regression import numbers_figure


def texts(axes) -> list[str]:
    return [item.get_text() for item in axes.texts]


def names(axes) -> tuple[list[str], list[str]]:
    return (
        [item.get_text() for item in axes.get_yticklabels()],
        [item.get_text() for item in axes.get_xticklabels()],
    )


def test_a_confusion_matrix_has_true_classes_in_rows() -> None:
    figure = confusion_figure({"": [[8, 2], [0, 0]]}, ["healthy", "sick"])
    (axes,) = figure.axes
    assert texts(axes) == ["8", "2", "0", "0"]
    assert names(axes) == (["healthy", "sick"], ["healthy", "sick"])
    assert axes.get_ylabel() == "true"
    shares = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(shares, [[0.8, 0.2], [0, 0]])


def test_each_label_has_a_table_of_its_own() -> None:
    tables = {name: [[3, 1], [0, 2]] for name in ("nodule", "effusion")}
    figure = confusion_figure(tables, ["nodule", "effusion"])
    assert [axes.get_title() for axes in figure.axes] == ["nodule", "effusion"]
    assert names(figure.axes[1])[0] == ["no", "yes"]


def test_many_classes_are_shown_without_numbers() -> None:
    figure = confusion_figure({"": np.eye(20).tolist()}, [f"class {k}" for k in range(20)])
    assert texts(figure.axes[0]) == []


def test_curves_and_calibration_show_what_they_are_given() -> None:
    roc = {"sick": {"fpr": [0, 0, 1], "tpr": [0, 1, 1]}}
    figure = curves_figure(roc, {"sick": {"recall": [0.5, 1], "precision": [1, 0.5]}})
    left, right = figure.axes
    assert left.lines[1].get_xydata().tolist() == [[0, 0], [0, 1], [1, 1]]
    assert right.lines[0].get_xydata().tolist() == [[0.5, 1], [1, 0.5]]
    bins = [
        {"low": 0.5, "high": 0.6, "count": 3, "probability": 0.55, "frequency": 0.3},
        {"low": 0.9, "high": 1.0, "count": 7, "probability": 0.97, "frequency": 0.9},
    ]
    top, bottom = calibration_figure(bins).axes
    assert top.lines[1].get_xydata().tolist() == [[0.55, 0.3], [0.97, 0.9]]
    assert [bar.get_height() for bar in bottom.patches] == [3, 7]


def test_numbers_without_a_target_are_left_out() -> None:
    target = np.array([1.0, 2.0, np.nan])
    figure = numbers_figure({"age": (target, np.array([1.5, 2.0, 9.0]))})
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert points.tolist() == [[1.0, 1.5], [2.0, 2.0]]
    assert figure.axes[0].get_title() == "age"
    nothing = numbers_figure({"": (np.array([np.nan]), np.array([1.0]))})
    assert len(nothing.axes[0].collections[0].get_offsets()) == 0


@pytest.mark.parametrize(
    "call",
    [lambda: confusion_figure({}, []), lambda: calibration_figure([]), lambda: numbers_figure({})],
)
def test_nothing_to_draw_is_told(call) -> None:
    with pytest.raises(ValueError, match="to draw"):
        call()
