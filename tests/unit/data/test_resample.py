"""Resampling against torch's own sampler, and moves that are composed against moves in turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from imtoolkit.core import registry
from imtoolkit.data.transforms.positions import Positions
from imtoolkit.data.transforms.resample import PADDINGS, resample

SHAPES = [(6, 33, 40), (1, 12, 13), (4, 1, 9), (20, 21)]


def positions_of(shape: tuple[int, ...], kind: str, seed: int) -> Positions:
    """Return an affine move in the plane or out of it, far beyond the image, or a bent one."""
    far = 3.0 if kind == "far" else 0.3
    params = {"degrees": 40, "scale": 0.2, "shift": far, "tilt": 0 if kind == "plane" else 30}
    steps = [registry.build("transform", "random_affine", {**params, "prob": 1.0})]
    if kind == "bent":
        bend = {"amplitude": [1, 3], "spacing": 8, "axes": ["Z", "Y", "X"], "prob": 1.0}
        steps.append(registry.build("transform", "random_elastic", bend))
    positions = Positions(shape)
    for step in steps:
        step.R = np.random.RandomState(seed)
        step.move(positions, step.drawn((1, *shape)))
    return positions


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", ["plane", "tilted", "bent", "far"])
def test_all_ways_agree_with_the_sampler_of_torch(
    shape: tuple[int, ...], padding: str, kind: str
) -> None:
    torch.manual_seed(0)
    image, labels = torch.rand(3, 2, *shape), torch.randint(0, 9, (3, 1, *shape)).to(torch.uint8)
    every = [positions_of(shape, kind, seed) for seed in range(3)]
    moved, names = resample([image, labels], [False, True], every, padding)
    points = torch.stack([one.dense() for one in every])
    grid = torch.stack(
        [(2 * points[:, axis] + 1) / side - 1 for axis, side in enumerate(shape)][::-1], dim=-1
    )
    wanted = functional.grid_sample(image, grid, padding_mode=padding, align_corners=False)
    torch.testing.assert_close(moved, wanted, atol=1e-4, rtol=0)
    near = functional.grid_sample(
        labels.float(), grid, mode="nearest", padding_mode=padding, align_corners=False
    )
    assert float((names != near).float().mean()) < 2e-3  # a rounding at the border of two pixels
    assert names.dtype == torch.uint8


def test_large_labels_of_a_stack_stay_exact() -> None:
    labels = torch.randint(2**24, 2**31 - 1, (1, 1, 5, 6, 7), dtype=torch.int64)
    still = [positions_of((5, 6, 7), "tilted", 1)]
    moved = resample([labels], [True], still)[0]
    assert set(moved.unique().tolist()) <= set(labels.unique().tolist())


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int16, torch.int32, torch.bool])
def test_labels_of_every_kind_are_moved(dtype: torch.dtype) -> None:
    labels = torch.randint(0, 2, (2, 1, 4, 8, 8)).to(dtype)
    for kind in ("plane", "tilted"):
        moved = resample([labels], [True], [positions_of((4, 8, 8), kind, s) for s in (0, 1)])[0]
        assert moved.dtype == dtype
        assert moved.shape == labels.shape


def test_a_shift_along_z_moves_the_planes() -> None:
    stack = torch.rand(1, 1, 6, 4, 4)
    positions = Positions((6, 4, 4))
    positions.affine(np.array([[1, 0, 0, 1.5], [0, 1, 0, 0], [0, 0, 1, 0]], dtype=float))
    assert positions.in_plane
    out = resample([stack], [False], [positions], "zeros")[0][0, 0]
    torch.testing.assert_close(out[0], (stack[0, 0, 1] + stack[0, 0, 2]) / 2)
    torch.testing.assert_close(out[4], stack[0, 0, 5] / 2)
    assert not out[5].any()


@pytest.mark.parametrize("shape", [(9, 9), (5, 9, 9), (3, 8, 11)])
def test_flips_and_turns_as_positions_are_flips_and_turns(shape: tuple[int, ...]) -> None:
    image = torch.rand(1, *shape)
    for seed in range(12):
        steps = [registry.build("transform", name, {}) for name in ("flips", "rotations_90")]
        state = np.random.RandomState(seed)
        positions, wanted = Positions(shape), image
        for step in steps:
            step.R = state
            drawn = step.drawn(image.shape)
            if drawn is not None:
                step.move(positions, drawn)
                wanted = step.turned(wanted, drawn)
        out = resample([image[None]], [True], [positions])[0][0]
        assert torch.equal(out, wanted)


def test_an_order_of_moves_is_the_order_of_the_transforms() -> None:
    image = torch.zeros(1, 1, 15, 15)
    image[0, 0, 7, 10] = 1.0
    turn = np.array([[0.0, 1, 0], [-1, 0, 14]])  # a quarter turn about the centre
    right = np.array([[1.0, 0, 0], [0, 1, -2]])  # what is new lies 2 further along X
    both, other = Positions((15, 15)), Positions((15, 15))
    for move in (right, turn):
        both.affine(move)
    for move in (turn, right):
        other.affine(move)
    shifted = torch.roll(image, 2, -1)
    out = resample([image], [False], [both], "zeros")[0]
    torch.testing.assert_close(out, torch.rot90(shifted, 1, (-2, -1)), atol=1e-5, rtol=0)
    out = resample([image], [False], [other], "zeros")[0]
    wanted = torch.roll(torch.rot90(image, 1, (-2, -1)), 2, -1)
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(40, 44), (10, 40, 44)])
def test_a_bend_before_a_turn_is_looked_up_at_the_turned_places(shape: tuple[int, ...]) -> None:
    bend = registry.build("transform", "random_elastic", {"amplitude": 4.0, "prob": 1.0})
    turn = registry.build("transform", "random_affine", {"degrees": 30, "scale": 0, "prob": 1.0})
    for step in (bend, turn):
        step.R = np.random.RandomState(5)
    drawn = [(step, step.drawn((1, *shape))) for step in (bend, turn)]
    bent, turned, both = Positions(shape), Positions(shape), Positions(shape)
    drawn[0][0].move(bent, drawn[0][1])
    drawn[1][0].move(turned, drawn[1][1])
    for step, what in drawn:
        step.move(both, what)
    grid = bent.dense()[None]  # where the bent image takes its pixels from ...
    wanted = resample([grid], [False], [turned], "border")[0][0]  # ... seen through the turn
    inside = (turned.dense() >= 1).all(0)
    for axis, side in enumerate(shape):
        inside &= turned.dense()[axis] <= side - 2
    assert int(inside.sum()) > 100
    difference = (both.dense() - wanted).abs().amax(0)
    assert float(difference[inside].max()) < 1e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    torch.manual_seed(0)
    stack = torch.rand(3, 1, 8, 40, 40)
    every = [positions_of((8, 40, 40), "tilted", seed) for seed in range(3)]
    alone = torch.cat([resample([stack[i : i + 1]], [False], [every[i]])[0] for i in range(3)])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(resample([stack], [False], every)[0], alone)
    finally:
        torch.set_num_threads(before)
