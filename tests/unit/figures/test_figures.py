"""Pictures show what they say: colours where labels are, the right slice, the right columns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imtoolkit.figures.canvas import new_picture, save
from imtoolkit.figures.colours import (
    CONFUSED,
    FALSE,
    MISSED,
    PALETTE,
    colour_of,
    rgb,
    stretch,
    to_rgb,
)
from imtoolkit.figures.curves import metric_curves
from imtoolkit.figures.overlay import differences, most_labelled_slice, overlay
from imtoolkit.figures.panels import WRONG, sample_figure


def headings(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def legend(figure) -> list[str]:
    return [text.get_text() for item in figure.legends for text in item.get_texts()]


def shown(figure, index: int) -> np.ndarray:
    return np.asarray(figure.axes[index].images[0].get_array())


def test_stretch_spans_the_percentiles_and_clips() -> None:
    image = np.arange(1001, dtype=np.uint16)
    result = stretch(image, lower=10, upper=90)
    assert result[100] == 0
    assert result[900] == 1
    assert result[500] == pytest.approx(0.5)
    assert (result[[0, 1000]] == [0, 1]).all()


def test_stretch_stands_nan_constant_and_sparse_images() -> None:
    assert (stretch(np.full((3, 3), 7)) == 0.5).all()
    assert (stretch(np.full((3, 3), np.nan)) == 0).all()
    sparse = np.zeros(10000)
    sparse[3] = 5
    assert stretch(sparse)[3] == 1
    mixed = stretch(np.array([0.0, 1.0, np.nan, np.inf, -np.inf]), lower=0, upper=100)
    np.testing.assert_allclose(mixed, [0, 1, 0, 1, 0])


def test_stretch_like_another_image_keeps_an_offset_visible() -> None:
    model = np.linspace(0, 1, 100)
    assert stretch(model + 1, like=model, lower=0, upper=100).min() == 1


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(1, [1, 1, 1]), (2, [1, 0, 1]), (3, [1, 0, 0]), (5, [1, 0, 0])],
)
def test_channels_have_their_colours(channels: int, expected: list[float]) -> None:
    image = np.zeros((channels, 4, 4))
    image[:, 0, 0] = 1  # every channel spans 0 to 1
    image[0, 2, 2] = 1
    np.testing.assert_allclose(to_rgb(image)[2, 2], expected)


def test_class_colours_differ_and_begin_again() -> None:
    colours = [colour_of(label) for label in range(1, len(PALETTE) + 1)]
    assert len(set(colours)) == len(PALETTE)
    assert colour_of(len(PALETTE) + 1) == colour_of(1)
    assert not {MISSED, FALSE, CONFUSED} & {colour_of(label) for label in range(1, 6)}
    with pytest.raises(ValueError, match="from 1"):
        colour_of(0)


def test_overlay_tints_labels_and_leaves_the_background() -> None:
    image = np.tile(np.linspace(0, 1, 9), (9, 1))
    labels = np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 2
    result = overlay(image, labels, alpha=0.5)
    outside = labels == 0
    np.testing.assert_allclose(result[outside], to_rgb(image)[outside])
    np.testing.assert_allclose(result[2, 2], rgb(colour_of(2)))  # the border, in full
    middle = 0.5 * to_rgb(image)[4, 4] + 0.5 * rgb(colour_of(2))
    np.testing.assert_allclose(result[4, 4], middle, rtol=1e-5)


def test_overlay_takes_numbers_of_objects_beyond_the_palette() -> None:
    labels = np.full((4, 4), 60000, np.uint16)
    assert overlay(np.eye(4), labels).shape == (4, 4, 3)


def test_differences_have_a_colour_for_each_kind() -> None:
    target = np.array([[1, 1, 0, 0], [2, 1, 2, 0]])
    prediction = np.array([[1, 0, 1, 0], [1, 1, 2, 0]])
    result = differences(np.zeros((2, 4)), target, prediction, alpha=1.0)
    np.testing.assert_allclose(result[0, 1], rgb(MISSED))
    np.testing.assert_allclose(result[0, 2], rgb(FALSE))
    np.testing.assert_allclose(result[1, 0], rgb(CONFUSED))
    right = 0.55 * to_rgb(np.zeros((2, 4)))[0, 0]
    for place in ((0, 0), (0, 3), (1, 1), (1, 2), (1, 3)):
        np.testing.assert_allclose(result[place], right)


def test_sizes_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\).*\(3, 3\)"):
        overlay(np.zeros((4, 4)), np.zeros((3, 3), int))


def test_the_most_labelled_slice_is_shown_and_of_equals_the_middle_one() -> None:
    labels = np.zeros((9, 4, 4), int)
    labels[6, :2] = 1
    labels[1, 0] = 3
    assert most_labelled_slice(labels, 9) == 6
    assert most_labelled_slice(np.zeros((9, 4, 4)), 9) == 4
    labels[2, :2] = 1
    labels[5, :2] = 1
    assert most_labelled_slice(labels, 9) == 5


def test_segmentation_rows_have_four_columns_and_a_legend() -> None:
    target = np.zeros((1, 16, 20), np.uint8)
    target[:, 4:9, 4:9] = 1
    row = {"image": np.random.default_rng(0).random((1, 16, 20)), "target": target}
    row |= {"prediction": np.roll(target, 1, 2), "id": "cell_07", "scores": {"dice": 0.8}}
    figure = sample_figure([row, row], ["background", "nucleus"], title="epoch 3")
    assert len(figure.axes) == 8
    first = ["cell_07\ndice 0.800", "target", "prediction", "differences"]
    assert headings(figure)[:4] == first
    assert legend(figure) == ["nucleus", "difference: missed", "difference: false"]
    assert (shown(figure, 3)[4, 4] > 0.7).all()  # missed is white
    np.testing.assert_allclose(shown(figure, 1)[4, 4], rgb(colour_of(1)), atol=1e-6)


def test_several_classes_may_be_confused() -> None:
    target = np.ones((1, 8, 8), np.int64)
    row = {"image": np.eye(8), "target": target, "prediction": target * 2}
    figure = sample_figure([row], ["background", "a", "b"])
    assert "difference: wrong class" in legend(figure)


def test_volumes_show_their_most_labelled_slice() -> None:
    image = np.zeros((1, 5, 8, 8), np.float32)
    image[0, 3] = np.eye(8)
    target = np.zeros((1, 5, 8, 8), np.uint8)
    target[0, 3, 2:6, 2:6] = 1
    figure = sample_figure([{"image": image, "target": target}], ["background", "cell"])
    np.testing.assert_allclose(shown(figure, 0), to_rgb(np.eye(8)))


def test_labels_of_unknown_meaning_have_no_differences() -> None:
    labels = np.arange(64, dtype=np.int32).reshape(1, 8, 8)
    row = {"image": np.eye(8), "target": labels, "prediction": labels[:, ::-1]}
    assert headings(sample_figure([row])) == ["image", "target", "prediction"]


def test_image_targets_show_the_error_on_the_scale_of_the_target() -> None:
    target = np.tile(np.linspace(0, 1, 100, dtype=np.float32), (50, 1))[None]
    row = {"image": target, "target": target, "prediction": target + 0.5}
    figure = sample_figure([row])
    assert headings(figure) == ["image", "target", "prediction", "absolute error"]
    np.testing.assert_allclose(shown(figure, 3), 0.5, atol=0.02)
    assert shown(figure, 2).mean() > shown(figure, 1).mean() + 0.2


def test_a_class_stands_in_the_title() -> None:
    row = {"image": np.eye(8), "target": "disk", "prediction": "ring", "id": "s1"}
    figure = sample_figure([row], ["disk", "ring"])
    assert headings(figure) == ["s1\ntarget: disk, prediction: ring"]
    assert legend(figure) == []


def test_rows_without_a_prediction_or_target_are_drawn() -> None:
    mask = np.ones((1, 8, 8), np.uint8)
    rows = [{"image": np.eye(8), "target": mask}, {"image": np.eye(8), "prediction": mask}]
    figure = sample_figure(rows, ["background", "cell"])
    assert len(figure.axes) == 6
    assert not figure.axes[5 - 1].images  # the second row has no target


def test_tensors_are_taken_as_they_are() -> None:
    torch = pytest.importorskip("torch")
    row = {"image": torch.rand(1, 8, 8), "target": torch.ones(1, 8, 8, dtype=torch.uint8)}
    assert len(sample_figure([row], ["background", "cell"]).axes) == 2


@pytest.mark.parametrize("rows", [[], [{"image": np.zeros(4)}], [{"target": np.zeros((4, 4))}]])
def test_rows_that_cannot_be_drawn_are_told(rows: list[dict]) -> None:
    with pytest.raises((ValueError, KeyError), match=r"image|rows|row"):
        sample_figure(rows)


def metrics() -> pd.DataFrame:
    rows = [{"epoch": k, "step": 10 * k, "train/loss": 1 / (k + 1), "lr": 0.1} for k in range(4)]
    rows += [
        {"epoch": k, "step": 10 * k, "val/dice": k / 4, "val/dice/cell": k / 5} for k in range(4)
    ]
    return pd.DataFrame(rows)


def test_curves_have_a_panel_for_each_metric_without_the_gaps() -> None:
    figure = metric_curves(metrics(), best=2)
    assert headings(figure) == ["loss", "dice", "lr"]
    lines = figure.axes[1].lines
    assert lines[0].get_xdata().tolist() == [0, 1, 2, 3]
    assert lines[1].get_ydata().tolist() == [0, 0.2, 0.4, pytest.approx(0.6)]
    assert lines[2].get_xdata()[0] == 2  # the mark of the best epoch
    assert figure.axes[1].get_xlabel() == "epoch"


def test_curves_of_one_epoch_run_over_steps() -> None:
    table = pd.DataFrame({"epoch": [0, 0], "step": [5, 10], "train/loss": [2.0, 1.0]})
    assert metric_curves(table).axes[0].get_xlabel() == "step"


def test_a_metric_that_was_never_logged_has_no_panel() -> None:
    table = metrics().assign(**{"val/hd95": np.nan})
    assert "hd95" not in headings(metric_curves(table))
    with pytest.raises(ValueError, match="columns such as"):
        metric_curves(pd.DataFrame({"epoch": [1]}))


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_a_figure_is_saved_by_its_suffix(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = save(metric_curves(metrics()), tmp_path / "new" / f"curves{suffix}")
    assert path.read_bytes().startswith(magic)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_an_unknown_suffix_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tfi"):
        save(new_picture(1, 1), tmp_path / "a.tfi")
    assert list(tmp_path.iterdir()) == []


def test_figures_show_themselves_in_a_notebook() -> None:
    assert new_picture(1, 1)._repr_png_().startswith(b"\x89PNG")


def test_no_window_state_is_touched() -> None:
    code = (
        "import sys, numpy as np; from imtoolkit.figures.panels import sample_figure;"
        "from imtoolkit.figures import curves; sample_figure([{'image': np.eye(4)}]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_images_without_other_pixels_stand_side_by_side_and_wrong_ones_are_red() -> None:
    notes = [("target: a, prediction: a (0.90)", True)], [("target: a, prediction: b", False)]
    rows = [{"image": np.eye(8), "id": f"s{n}", "notes": notes[n % 2]} for n in range(5)]
    figure = sample_figure(rows)
    assert len(figure.axes) == 8  # two lines of four
    assert headings(figure)[1] == "s1\ntarget: a, prediction: b"
    colours = [axes.title.get_color() for axes in figure.axes[:5]]
    assert colours == ["black", WRONG, "black", WRONG, "black"]


def test_each_head_has_columns_of_its_own() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = 1
    depth = np.random.default_rng(0).random((1, 8, 8))
    heads = {
        "mask": {"target": mask, "prediction": mask, "classes": ("background", "cell")},
        "depth": {"prediction": depth},
    }
    figure = sample_figure([{"image": np.eye(8), "heads": heads}])
    columns = ["image", "mask target", "mask prediction", "mask differences", "depth prediction"]
    assert headings(figure) == columns
    assert "cell" in legend(figure)


def test_a_noisy_image_has_the_scale_of_its_target_and_another_kind_its_own() -> None:
    rng = np.random.default_rng(0)
    clean = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))[None]
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)
    alike = sample_figure([{"image": noisy, "target": clean, "prediction": clean}])
    np.testing.assert_allclose(shown(alike, 0), to_rgb(noisy, like=clean))
    other = sample_figure([{"image": 1000 * noisy, "target": clean, "prediction": clean}])
    np.testing.assert_allclose(shown(other, 0), to_rgb(1000 * noisy))
