"""Pictures of objects show which were found, missed, false, merged and split."""

import time
from typing import Any

import numpy as np
import pytest

from imtoolkit.figures.colours import FALSE, FOUND, MERGED, MISSED, SPLIT, rgb
from imtoolkit.figures.panels import WIDTH, WIDTH_OF_OBJECTS, sample_figure
from imtoolkit.figures.view import MOST_PIXELS, view_of, whole_view


def blocks(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (60, 80)) -> np.ndarray:
    labels = np.zeros(size, np.int32)
    for number, (top, left, height, width) in enumerate(boxes, start=1):
        labels[top : top + height, left : left + width] = number
    return labels


TARGET = blocks((2, 2, 10, 10), (2, 30, 10, 10), (30, 2, 10, 10), (30, 12, 10, 10),
                (30, 40, 12, 12))  # fmt: skip
# moved by a pixel; nothing; one for two of them; the same; and one that is not there
PREDICTION = 3 * blocks((2, 3, 10, 10), (29, 2, 12, 22), (30, 40, 12, 12), (50, 60, 8, 8))


def drawn(**more: Any) -> Any:
    row = {"image": np.zeros((1, *TARGET.shape)), "target": TARGET[None], "id": "cells"}
    return sample_figure([{**row, "prediction": PREDICTION, "instances": True, **more}])


def shown(figure: Any, index: int) -> np.ndarray:
    return np.asarray(figure.axes[index].images[0].get_array())


def headings(figure: Any) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def near(pixel: np.ndarray, colour: str) -> bool:
    """Tell whether a pixel has the hue of a colour, over black."""
    return bool(
        np.abs(pixel / max(pixel.max(), 1e-6) - rgb(colour) / rgb(colour).max()).max() < 0.1
    )


def test_what_became_of_each_object_has_a_colour_and_is_counted() -> None:
    figure = drawn(scores={"ap/50": 0.25})
    lines = headings(figure)[0].splitlines()
    assert lines[:2] == ["cells", "ap/50 0.250"]
    assert lines[2] == "2 of 5 found, 2 false, 1 merge"
    assert headings(figure)[1:] == ["target", "prediction", "differences"]
    picture = shown(figure, 3)
    assert near(picture[2, 7], FOUND)  # its outline
    assert near(picture[6, 34], MISSED)
    assert near(picture[54, 64], FALSE)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [f"difference: {name}" for name in
                      ("found", "missed", "false", "merged", "split")]  # fmt: skip


def test_merged_and_split_objects_are_told_apart() -> None:
    target = blocks((2, 2, 10, 10), (2, 12, 10, 10), (2, 22, 10, 10), (30, 2, 12, 30))
    prediction = blocks((2, 2, 10, 30), (30, 2, 12, 10), (30, 12, 12, 10), (30, 22, 12, 10))
    figure = drawn(target=target, prediction=prediction)
    assert headings(figure)[0].splitlines()[1] == "0 of 4 found, 4 false, 1 merge, 1 split"
    picture = shown(figure, 3)
    assert all(near(picture[6, x], MERGED) for x in (6, 16, 26))
    assert all(near(picture[36, x], SPLIT) for x in (6, 16, 26))
    assert picture[6, 11].max() < picture[6, 6].max()  # lines between the merged ones


def test_touching_objects_differ_and_matched_ones_share_their_colour() -> None:
    target = blocks((2, 2, 10, 10), (2, 12, 10, 10), (30, 30, 10, 10))
    figure = drawn(target=target, prediction=np.array([0, 70, 20, 1])[target])
    true, found = shown(figure, 1), shown(figure, 2)
    assert np.abs(true[6, 6] - true[6, 16]).max() > 0.05
    np.testing.assert_allclose(true, found)


def test_ignored_areas_are_shaded_and_not_judged() -> None:
    ignored = np.zeros((1, *TARGET.shape), bool)
    ignored[..., 25:] = True
    figure = drawn(ignored=ignored)
    assert headings(figure)[0].splitlines()[1].startswith("1 of 3 found, 1 false")
    picture = shown(figure, 3)
    assert near(picture[6, 34], "#808080")
    assert near(picture[54, 64], "#808080")


@pytest.mark.parametrize(("target", "prediction"), [(None, PREDICTION), (TARGET, None)])
def test_one_side_alone_has_no_differences(target: Any, prediction: Any) -> None:
    figure = drawn(target=target, prediction=prediction)
    assert len(figure.axes) == 2
    assert headings(figure)[0] == "cells"
    assert not figure.legends


def test_empty_images_are_drawn() -> None:
    nothing = np.zeros_like(TARGET)
    assert headings(drawn(target=nothing))[0].splitlines()[1] == "0 of 0 found, 4 false"
    assert headings(drawn(prediction=nothing))[0].splitlines()[1] == "0 of 5 found, 0 false"


def test_a_volume_is_judged_whole_and_shown_in_its_fullest_slice() -> None:
    target = np.zeros((1, 5, 20, 20), np.int32)
    target[0, 1, 2:5, 2:5] = 1
    target[0, 3, 2:12, 2:12] = 2
    image = np.zeros((1, 5, 20, 20), np.float32)
    row = {"image": image, "target": target, "prediction": target[0], "instances": True}
    figure = sample_figure([row])
    assert headings(figure)[0].splitlines() == ["image", "2 of 2 found, 0 false",
                                                "shown: slice 4 of 5"]  # fmt: skip
    assert shown(figure, 3)[7, 7].max() > 0
    assert shown(figure, 3)[1, 1].max() < 0.3


def test_heads_of_objects_and_of_classes_stand_side_by_side() -> None:
    mask = (TARGET > 0).astype(np.uint8)
    heads = {"cells": {"target": TARGET, "prediction": PREDICTION, "instances": True},
             "mask": {"target": mask, "prediction": mask, "classes": ("none", "cell")}}  # fmt: skip
    figure = sample_figure([{"image": np.zeros(TARGET.shape), "heads": heads}])
    expected = [f"{head} {name}" for head in heads
                for name in ("target", "prediction", "differences")]  # fmt: skip
    assert headings(figure)[1:] == expected
    assert "cells: 2 of 5 found" in headings(figure)[0]
    assert "cell" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_titles_stay_inside_the_picture() -> None:
    figure = drawn(notes=[(f"line {number}", None) for number in range(5)])
    figure.canvas.draw()
    extent = figure.axes[0].title.get_window_extent()
    assert extent.y1 <= figure.bbox.height
    assert figure.get_size_inches()[0] == 4 * WIDTH_OF_OBJECTS > 4 * WIDTH


# --- what of a large image is shown --------------------------------------------------------------


def test_small_images_are_shown_whole() -> None:
    assert view_of(TARGET) == whole_view((60, 80))
    assert view_of(np.zeros((200, 300), int)) == whole_view((200, 300))
    assert whole_view((60, 80)).told == ""


def test_a_large_image_is_reduced_or_cut_where_the_objects_are() -> None:
    large = blocks((100, 300, 900, 900), size=(2000, 1500))
    view = view_of(large)
    assert (view.step, view.told) == (4, "")
    assert view.labels(large).shape == (500, 375)
    mean = view.image(np.arange(3_000_000.0).reshape(1, 2000, 1500))
    assert mean.shape == (1, 500, 375)
    assert mean[0, 0, 0] == pytest.approx(np.mean([[0, 1, 2, 3]]) + 1500 * 1.5)
    small = np.zeros((2000, 1500), np.int32)
    small[1200:1800:20, 200:600:20] = np.arange(1, 601).reshape(30, 20)
    view = view_of(small)
    rows, columns = view.box
    assert view.step == 1
    assert rows.stop - rows.start == columns.stop - columns.start == 256
    inside = np.count_nonzero(view.labels(small))
    assert inside >= 12 * 12
    assert view.told == (f"y {rows.start}-{rows.stop}, x {columns.start}-{columns.stop} "
                         "of 2000 x 1500")  # fmt: skip


def test_sides_that_are_no_multiple_of_the_step_are_kept() -> None:
    large = blocks((0, 0, 1001, 1203), size=(1001, 1203))
    view = view_of(large)
    image = np.ones((2, 1001, 1203))
    assert view.image(image).shape[1:] == view.labels(large).shape
    assert max(view.labels(large).shape) <= MOST_PIXELS
    np.testing.assert_allclose(view.image(image), 1)


def test_thousands_of_objects_are_drawn_in_seconds() -> None:
    cells = np.arange(10_000, dtype=np.int32).reshape(100, 100) + 1
    target = np.kron(cells, np.ones((12, 12), np.int32))
    target[::12] = target[:, ::12] = 0
    prediction = np.where(target % 5 == 0, 0, target)
    start = time.process_time()
    figure = drawn(image=np.zeros((1, 1200, 1200)), target=target, prediction=prediction)
    figure.canvas.draw()
    assert time.process_time() - start < 20
    assert headings(figure)[0].splitlines()[1] == "8000 of 10000 found, 0 false"
    assert "of 1200 x 1200" in headings(figure)[0]
