"""Built-in transforms: known answers, the right treatment of target and cost map, the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from imtoolkit.config.sections import Component
from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, DataError
from imtoolkit.data.transforms.build import build_augment, build_preprocess, share_random_state

STATE = np.random.RandomState


def built(name: str, **params: Any) -> Any:
    return registry.build("transform", name, params)


def sample(shape: tuple[int, ...] = (1, 8, 6), seed: int = 0) -> dict[str, Any]:
    state = STATE(seed)
    return {
        "image": torch.from_numpy(state.random_sample(shape).astype(np.float32)),
        "target": torch.from_numpy(state.randint(0, 3, (1, *shape[1:])).astype(np.uint8)),
        "weight": torch.from_numpy(state.randint(0, 2, (1, *shape[1:])).astype(np.float32)),
        "id": "a",
    }


def test_percentiles_of_each_channel_become_0_and_1() -> None:
    ramp = torch.arange(101.0)
    image = torch.stack([ramp, 10 * ramp + 5])[:, None]
    out = built("normalize_percentiles", lower=10, upper=90)({"image": image})["image"]
    for channel in out:
        assert channel[0, 10] == pytest.approx(0.0, abs=1e-6)
        assert channel[0, 90] == pytest.approx(1.0, abs=1e-6)
    together = built("normalize_percentiles", lower=0, upper=100, channel_wise=False)
    assert together({"image": image})["image"][0].max() == pytest.approx(100 / 1005)
    clipped = built("normalize_percentiles", lower=10, upper=90, clip=True)({"image": image})
    assert (clipped["image"].min(), clipped["image"].max()) == (0, 1)


def test_percentiles_work_beyond_the_limit_of_torch_quantile() -> None:
    image = torch.zeros(1, 4100, 4100)  # torch.quantile refuses more than 2**24 values
    image[0, :41] = 1
    out = built("normalize_percentiles", lower=1, upper=99.5)({"image": image})["image"]
    assert (out.min(), out.max()) == (0, 1)


@pytest.mark.parametrize(
    "name",
    ["normalize_percentiles", "normalize_zscore", "normalize_range", "normalize_center_slice"],
)
def test_a_constant_image_becomes_zero_and_never_nan(name: str) -> None:
    out = built(name)({"image": torch.full((1, 2, 4, 4), 7.0)})["image"]
    assert torch.equal(out, torch.zeros(1, 2, 4, 4))


def test_zscore_has_mean_0_and_deviation_1_in_each_channel() -> None:
    out = built("normalize_zscore")({"image": 1000 + 5 * torch.randn(2, 16, 16)})["image"]
    for channel in out:
        assert float(channel.mean()) == pytest.approx(0, abs=1e-4)
        assert float(channel.std(correction=0)) == pytest.approx(1, abs=1e-4)


def test_zscore_of_nonzero_leaves_the_background() -> None:
    image = torch.tensor([[[0.0, 1.0, 3.0]]])
    out = built("normalize_zscore", nonzero=True)({"image": image})["image"]
    assert out.flatten().tolist() == [0.0, -1.0, 1.0]


def test_center_slice_ignores_slices_out_of_focus() -> None:
    stack = torch.full((1, 9, 4, 4), 50.0)
    stack[0, 4] = torch.arange(16.0).reshape(4, 4)
    out = built("normalize_center_slice", slices=1, lower=0, upper=100)({"image": stack})["image"]
    assert out[0, 4].flatten().tolist() == pytest.approx([value / 15 for value in range(16)])
    assert torch.equal(out[0, 0], torch.ones(4, 4))


def test_center_slices_can_be_those_in_the_middle_and_a_zscore() -> None:
    stack = torch.randn(1, 9, 8, 8) + 3
    stack[0, 0] *= 1000  # the sharpest slice, which is not in the middle
    step = built("normalize_center_slice", slices=3, by="zscore", centre="middle")
    out = step({"image": stack})["image"]
    middle = stack[0, 3:6]
    expected = (stack - middle.mean()) / middle.std(correction=0)
    assert torch.allclose(out, expected, atol=1e-3)
    with pytest.raises(ComponentError, match="expected 'percentiles' or 'zscore'"):
        built("normalize_center_slice", by="mean")


def test_stains_that_were_mixed_are_found_again() -> None:
    hematoxylin, eosin = np.array([0.650, 0.704, 0.286]), np.array([0.072, 0.990, 0.105])
    density = 0.4 * hematoxylin / np.linalg.norm(hematoxylin) + 0.2 * eosin / np.linalg.norm(eosin)
    rgb = torch.tensor(255 * 10**-density, dtype=torch.float32).reshape(3, 1, 1)
    out = built("stain_separation")({"image": rgb})["image"]
    assert out.flatten().tolist() == pytest.approx([0.4, 0.2], abs=1e-4)
    with pytest.raises(ValueError, match="3 of RGB"):
        built("stain_separation")({"image": rgb[:1]})


def test_labels_are_binarized_and_mapped_and_unknown_ones_are_named() -> None:
    data = {"image": torch.zeros(1, 1, 3), "target": torch.tensor([[[0, 7, 255]]])}
    assert built("binarize_target")(data)["target"].tolist() == [[[0, 1, 1]]]
    assert built("binarize_target", threshold=7)(data)["target"].tolist() == [[[0, 0, 1]]]
    mapped = built("map_labels", mapping={0: 0, 7: 2, 255: 1})(data)
    assert mapped["target"].tolist() == [[[0, 2, 1]]]
    with pytest.raises(DataError, match=r"\[255\].*other"):
        built("map_labels", mapping={0: 0, 7: 1})(data)
    assert built("map_labels", mapping={0: 0}, other=9)(data)["target"].tolist() == [[[0, 9, 9]]]
    assert "target" not in built("binarize_target")({"image": torch.zeros(1, 2, 2)})


def test_transforms_keep_the_metadata_of_the_grid() -> None:
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    data = {
        "image": MetaTensor(torch.rand(1, 4, 4, 4), affine=affine),
        "target": MetaTensor(torch.ones(1, 4, 4, 4, dtype=torch.int32), affine=affine),
    }
    for name in ("normalize_percentiles", "normalize_zscore", "binarize_target"):
        data = built(name)(data)
    for key in ("image", "target"):
        assert torch.equal(data[key].affine, affine)


@pytest.mark.parametrize("shape", [(1, 5, 9), (2, 3, 5, 9)])
def test_padding_to_a_multiple_mirrors_all_alike_and_is_undone(shape: tuple[int, ...]) -> None:
    data = sample(shape)
    pad = built("pad_to_multiple", multiple=4)
    out = pad(data)
    for key in ("image", "target", "weight"):
        assert all(side % 4 == 0 for side in out[key].shape[1:])
        widths = [(0, 0)]
        for old, new in zip(shape[1:], out[key].shape[1:], strict=True):
            widths.append(((new - old) // 2, new - old - (new - old) // 2))
        np.testing.assert_array_equal(
            np.asarray(out[key]), np.pad(data[key].numpy(), widths, mode="symmetric")
        )
    back = pad.inverse(out)
    assert torch.equal(back["image"].as_tensor(), data["image"])


def test_pad_z_adds_slices_to_stacks_only() -> None:
    pad = built("pad_z", slices=8)
    assert pad(sample((1, 3, 4, 4)))["image"].shape == (1, 8, 4, 4)
    assert pad(sample((1, 9, 4, 4)))["image"].shape == (1, 9, 4, 4)
    assert pad(sample((1, 4, 4)))["image"].shape == (1, 4, 4)


def test_resampling_halves_the_grid_and_keeps_labels_whole() -> None:
    data = sample((1, 8, 8))
    data["spacing"] = torch.tensor([0.5, 0.5])
    affine = torch.diag(torch.tensor([0.5, 0.5, 1, 1], dtype=torch.float64))
    for key in ("image", "target", "weight"):
        data[key] = MetaTensor(data[key], affine=affine)
    out = built("resample_spacing", spacing=[1.0, 1.0])(data)
    assert 4 <= out["image"].shape[-1] <= 5
    assert out["target"].shape[1:] == out["image"].shape[1:]
    assert out["target"].dtype == torch.uint8
    assert set(out["target"].unique().tolist()) <= {0, 1, 2}


def test_resampling_without_a_pixel_size_or_of_other_dimensions_is_refused() -> None:
    data = sample()
    data["spacing"] = torch.tensor([float("nan")] * 2)
    with pytest.raises(DataError, match="does not tell"):
        built("resample_spacing", spacing=[1.0, 1.0])(data)
    with pytest.raises(DataError, match="3 sizes"):
        built("resample_spacing", spacing=[1.0, 1.0, 1.0])(data)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 4, 6, 6), (1, 4, 8)])
def test_flips_and_turns_move_image_target_and_weight_alike(
    kind: str, shape: tuple[int, ...]
) -> None:
    data = sample(shape)
    data["target"] = (data["image"] * 100).to(torch.uint8)
    data["weight"] = data["image"].clone()
    if kind == "numpy":
        data = {key: np.asarray(value) if key != "id" else value for key, value in data.items()}
    seen = set()
    for seed in range(20):
        steps = [built("flips"), built("rotations_90")]
        share_random_state(steps, STATE(seed))
        out = data
        for step in steps:
            out = step(out)
        assert out["image"].shape == data["image"].shape
        np.testing.assert_array_equal(out["weight"], out["image"])
        np.testing.assert_array_equal(out["target"], (np.asarray(out["image"]) * 100).astype("u1"))
        assert sorted(np.asarray(out["image"]).ravel()) == sorted(np.asarray(data["image"]).ravel())
        seen.add(np.asarray(out["image"]).tobytes())
    assert len(seen) > 3


def test_flips_of_one_axis_leave_the_others() -> None:
    data = sample((1, 3, 4, 5))
    step = built("flips", axes=["X"], prob=1.0)
    assert torch.equal(step(data)["image"], data["image"].flip(-1))
    flat = sample((1, 4, 5))
    assert torch.equal(built("flips", axes=["Z"], prob=1.0)(flat)["image"], flat["image"])


def test_affine_of_no_extent_changes_nothing() -> None:
    data = sample((1, 3, 8, 8))
    step = built("random_affine", degrees=0, scale=0, shift=0, prob=1)
    out = step(data)
    torch.testing.assert_close(out["image"], data["image"], atol=1e-5, rtol=0)
    assert torch.equal(out["target"], data["target"])


def test_affine_by_90_degrees_is_a_quarter_turn() -> None:
    data = sample((1, 9, 9))
    step = built("random_affine", degrees=90, scale=0, prob=1)

    class Fixed:
        """Draws the largest turn."""

        def uniform(self, low: float, high: float, size: int) -> np.ndarray:
            return np.array([high] + [0.0] * (size - 1))

        def random_sample(self) -> float:
            return 0.0

    step.R = Fixed()
    out = step(data)
    turned = [torch.rot90(data["target"], turns, (-2, -1)) for turns in (1, 3)]
    assert any(torch.equal(out["target"], wanted) for wanted in turned)
    wanted = [torch.rot90(data["image"], turns, (-2, -1)) for turns in (1, 3)]
    assert any(torch.allclose(out["image"], image, atol=1e-4) for image in wanted)


def test_affine_moves_image_and_labels_together() -> None:
    image = torch.zeros(1, 40, 60)
    image[0, 10:20, 30:45] = 1
    data = {"image": image, "target": image.to(torch.uint8)}
    step = built("random_affine", degrees=30, scale=0.2, shift=0.1, prob=1, padding="zeros")
    share_random_state([step], STATE(4))
    for _ in range(5):
        out = step(data)
        moved = out["image"][0] > 0.5
        overlap = (moved & (out["target"][0] > 0)).sum() / (moved | (out["target"][0] > 0)).sum()
        assert float(overlap) > 0.85
        # a turn and an equal scale keep the ratio of the sides: the area tells the scale alone
        assert 0.6 < float(moved.sum()) / 150 < 1.5


@pytest.mark.parametrize("name", ["gaussian_noise", "brightness_contrast", "gamma"])
def test_intensity_transforms_change_the_image_only_and_by_the_seed_alone(name: str) -> None:
    data = sample()
    step = built(name, prob=1.0)
    outs = []
    for seed in (1, 1, 2):
        share_random_state([step], STATE(seed))
        outs.append(step(data))
    assert torch.equal(outs[0]["image"], outs[1]["image"])
    assert not torch.equal(outs[0]["image"], outs[2]["image"])
    assert not torch.equal(outs[0]["image"], data["image"])
    assert outs[0]["target"] is data["target"]
    never = built(name, prob=0.0)
    assert torch.equal(never(data)["image"], data["image"])


def test_gamma_keeps_the_range_and_noise_has_its_strength() -> None:
    data = sample((1, 200, 200))
    step = built("gamma", gamma=[2.0, 2.0], prob=1)
    out = step(data)["image"]
    low, high = data["image"].min(), data["image"].max()
    scaled = (data["image"] - low) / (high - low)
    torch.testing.assert_close(out, scaled**2 * (high - low) + low)
    noise = built("gaussian_noise", std=0.5, prob=1)
    share_random_state([noise], STATE(0))
    added = noise(data)["image"] - data["image"]
    strength = STATE(0).random_sample() * 0.5
    assert float(added.std()) == pytest.approx(strength, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.02)


def test_random_transforms_are_refused_in_preprocess_all_at_once() -> None:
    steps = [
        Component("normalize_zscore"),
        Component("flips"),
        Component("RandGaussianNoised", {"keys": "image"}),
        Component("Compose", {"transforms": [{"name": "RandFlipd", "params": {"keys": "image"}}]}),
    ]
    with pytest.raises(ComponentError) as caught:
        build_preprocess(steps)
    assert [problem.where for problem in caught.value.problems] == [
        "data.preprocess.1",
        "data.preprocess.2",
        "data.preprocess.3",
    ]
    assert "data.augment" in str(caught.value)


def test_deterministic_transforms_are_welcome_in_augment_and_in_a_compose() -> None:
    inner = [{"name": "ScaleIntensityd", "params": {"keys": "image"}}]
    assert len(build_preprocess([Component("Compose", {"transforms": inner})])) == 1
    assert len(build_augment([Component("normalize_zscore"), Component("flips")])) == 2


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("LoadImaged", {"keys": "image", "reader": "os.system"}, "reads files by itself"),
        ("LoadImaged", {"keys": "image"}, "reads files by itself"),
        ("monai.transforms.SaveImaged", {"keys": "image"}, "writes files of its own"),
        ("ScaleIntensity", {}, "ScaleIntensityd"),
        ("normalise_zscore", {}, "normalize_zscore"),
        ("os.system", {"command": "true"}, "outside the packages"),
        ("normalize_percentiles", {"lower": 60, "upper": 40}, "lower < upper"),
        ("flips", {"axes": ["Q"]}, "expected Z, Y or X"),
    ],
)
def test_what_a_config_may_not_name_is_refused(
    name: str, params: dict[str, Any], words: str
) -> None:
    with pytest.raises(ComponentError, match=words):
        build_augment([Component(name, params)])


def test_code_hidden_in_a_nested_component_is_refused() -> None:
    inner = {"name": "LoadImaged", "params": {"keys": "image", "reader": "os.system"}}
    with pytest.raises(ComponentError, match="reads files by itself"):
        build_preprocess([Component("Compose", {"transforms": [inner]})])


def test_one_state_reaches_transforms_inside_others() -> None:
    one_of = {
        "transforms": [
            {"name": "RandGaussianNoised", "params": {"keys": "image", "prob": 1.0}},
            {"name": "RandFlipd", "params": {"keys": "image", "prob": 1.0}},
        ]
    }
    steps = build_augment([Component("OneOf", one_of), Component("RandAffined", {"keys": "image"})])
    state = STATE(0)
    share_random_state(steps, state)
    assert steps[0].R is state
    assert steps[0].transforms[0].rand_gaussian_noise.R is state
    assert steps[1].rand_affine.R is state
    assert steps[1].rand_affine.rand_affine_grid.R is state


def test_connected_components_number_parts_of_each_label_and_drop_small_ones() -> None:
    labels = np.zeros((1, 8, 10), np.int32)
    labels[0, 1:3, 1:3] = 1
    labels[0, 3, 3] = 1  # touches at a corner
    labels[0, 5:7, 1:4] = 1
    labels[0, 5:7, 4:6] = 2  # touches another label
    labels[0, 0, 9] = 2
    data = {"image": torch.zeros(1, 8, 10), "target": torch.from_numpy(labels)}

    def parts(**params: Any) -> list[int]:
        found = built("connected_components", **params)(data)["target"]
        assert found.dtype == torch.int32
        assert set(found.unique().tolist()) == set(range(int(found.max()) + 1))
        if not params.get("min_size"):
            assert torch.equal(found > 0, data["target"] > 0)
        return [int((found == part).sum()) for part in range(1, int(found.max()) + 1)]

    assert parts() == [1, 4, 1, 6, 4]  # in the order of their first pixels
    assert parts(diagonal=True) == [1, 5, 6, 4]
    assert parts(min_size=4) == [4, 6, 4]
    assert parts(min_size=100) == []
    volume = {"image": torch.zeros(1, 3, 4, 4), "target": torch.ones(1, 3, 4, 4, dtype=torch.int32)}
    volume["target"][0, 1] = 0
    assert built("connected_components")(volume)["target"].unique().tolist() == [0, 1, 2]
    with pytest.raises(DataError, match="binarize_target"):
        built("connected_components")({**data, "target": data["target"] / 2})
    with pytest.raises(ComponentError, match="min_size=-1"):
        built("connected_components", min_size=-1)
