"""Regularisers see what touches, what is connected and what has holes, and can mend it."""

import sys
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from imtoolkit.core.errors import MissingPackageError
from imtoolkit.losses.adapting import build_loss
from imtoolkit.losses.connectivity import ConnectivityLoss
from imtoolkit.losses.persistence import PersistentHomologyLoss, features
from imtoolkit.losses.topological_interaction import TopologicalInteractionLoss


def drawn(dims: int) -> Tensor:
    generator = torch.Generator().manual_seed(dims)
    return torch.randint(4, (1, 1, *((9, 8) if dims == 2 else (4, 5, 6))), generator=generator)


def touching(labels: np.ndarray, first: set[int], second: set[int], face: bool) -> np.ndarray:
    """Mark each pixel of one set that has a neighbour of the other, pixel by pixel."""
    found = np.zeros(labels.shape)
    steps = [step for step in product((-1, 0, 1), repeat=labels.ndim) if any(step)]
    steps = [step for step in steps if not face or np.abs(step).sum() == 1]
    for place in np.ndindex(labels.shape):
        for step in steps:
            other = tuple(np.add(place, step))
            inside = all(0 <= i < n for i, n in zip(other, labels.shape, strict=True))
            pair = (int(labels[place]), int(labels[other])) if inside else (-1, -1)
            if any(
                a in one and b in two
                for a, b in (pair,)
                for one, two in ((first, second), (second, first))
            ):
                found[place] = 1
    return found


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("connectivity", ["full", "face"])
def test_pixels_that_touch_wrongly_are_found(dims: int, connectivity: str) -> None:
    labels = drawn(dims)
    face = connectivity == "face"
    excluded = TopologicalInteractionLoss(exclusions=[[1, 2]], connectivity=connectivity)
    expected = touching(labels[0, 0].numpy(), {1}, {2}, face)
    np.testing.assert_array_equal(excluded.critical(labels, 4)[0, 0].numpy(), expected)
    included = TopologicalInteractionLoss(inclusions=[[3, 2]], connectivity=connectivity)
    expected = touching(labels[0, 0].numpy(), {3}, {0, 1}, face)
    np.testing.assert_array_equal(included.critical(labels, 4)[0, 0].numpy(), expected)


def test_a_larger_distance_keeps_classes_further_apart() -> None:
    row = torch.tensor([1, 0, 0, 2, 0]).reshape(1, 1, 1, 5)
    found = [
        TopologicalInteractionLoss(exclusions=[[1, 2]], distance=n).critical(row, 3).sum().item()
        for n in (1, 2, 3)
    ]
    assert found == [0, 0, 2]


def test_the_interaction_costs_the_cross_entropy_of_critical_pixels_alone() -> None:
    guess = torch.tensor([0, 1, 2, 2, 0]).reshape(1, 1, 1, 5)
    truth = torch.tensor([0, 1, 0, 2, 0]).reshape(1, 1, 1, 5)
    logits = torch.zeros(1, 3, 1, 5).scatter_(1, guess, 3.0).requires_grad_()
    loss = TopologicalInteractionLoss(exclusions=[[1, 2]])
    value = loss(logits, truth)
    cost = torch.nn.functional.cross_entropy(logits, truth[:, 0], reduction="none").flatten()
    torch.testing.assert_close(value, (cost[1] + cost[2]) / 5)
    value.backward()
    assert logits.grad is not None
    assert logits.grad[0].any(0).flatten().tolist() == [False, True, True, False, False]
    mended = torch.zeros(1, 3, 1, 5).scatter_(1, truth, 3.0)
    assert loss(mended, truth).item() == 0


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "expected pairs"),
        ({"exclusions": [[1]]}, "expected pairs"),
        ({"exclusions": [[1, 1]]}, "expected pairs of different class numbers"),
        ({"exclusions": [[1, 2]], "distance": 0}, "got distance 0"),
        ({"exclusions": [[1, 2]], "connectivity": "some"}, "got connectivity 'some'"),
    ],
)
def test_interactions_that_make_no_sense_are_refused(
    params: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TopologicalInteractionLoss(**params)


def test_interactions_of_classes_that_are_not_there_are_refused() -> None:
    loss = TopologicalInteractionLoss(exclusions=[[1, 4]])
    with pytest.raises(ValueError, match=r"pairs of the classes \[1, 4\]; expected 0 to 2"):
        loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.long))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("connectivity", ["full", "face"])
def test_connections_are_those_of_all_pairs_of_neighbours(dims: int, connectivity: str) -> None:
    size = (4, 5) if dims == 2 else (2, 3, 4)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((1, 3, *size), generator=generator)
    target = torch.randint(3, (1, 1, *size), generator=generator)
    weight = torch.rand((1, 1, *size), generator=generator)
    likely = logits.softmax(1)[0].numpy().astype(float)
    total = norm = 0.0
    for here in np.ndindex(size):
        for there in np.ndindex(size):
            step = np.abs(np.subtract(here, there))
            near = step.max() == 1 and (connectivity == "full" or step.sum() == 1)
            if not near:
                continue
            share = min(weight[0, 0][here].item(), weight[0, 0][there].item())
            for number in (1, 2):
                vote = likely[number][here] * likely[number][there]
                both = target[0, 0][here] == target[0, 0][there] == number
                total -= share * np.log(vote if both else 1 - vote)
                norm += share
    loss = ConnectivityLoss(connectivity=connectivity)
    assert loss(logits, target, weight).item() == pytest.approx(total / norm, rel=1e-4)


def test_certain_and_wrong_connections_still_have_a_gradient() -> None:
    target = torch.zeros(1, 1, 4, 4, dtype=torch.long)
    logits = torch.stack([torch.full((1, 4, 4), -60.0), torch.full((1, 4, 4), 60.0)], 1)
    logits.requires_grad_()
    value = ConnectivityLoss()(logits, target)
    value.backward()
    assert value.item() == pytest.approx(120, rel=0.02)
    assert logits.grad is not None
    assert logits.grad.all()


# --- persistent homology --------------------------------------------------------------------------

gudhi = pytest.importorskip("gudhi")


def ring(size: int = 12) -> Tensor:
    image = torch.zeros(1, 1, size, size, dtype=torch.long)
    image[..., 2:-2, 2:-2] = 1
    image[..., 4:-4, 4:-4] = 0
    return image


def certain(labels: Tensor, sure: float = 6.0) -> Tensor:
    return torch.cat([-sure * (labels - 0.5), sure * (labels - 0.5)], 1)


def test_features_are_born_and_die_at_the_pixels_that_make_them() -> None:
    image = torch.zeros(5, 7)
    image[0, 0], image[0, 3], image[4, 6] = 0.9, 0.5, 0.7  # three peaks
    image[0, 1:3] = 0.2  # a bridge from the first to the second
    likely = image.requires_grad_()
    birth, death = features(likely)[0]
    pairs = sorted(
        (round(b.item(), 3), round(d.item(), 3)) for b, d in zip(birth, death, strict=True)
    )
    assert [pair for pair in pairs if pair[0] > pair[1]] == [(0.5, 0.2), (0.7, 0.0), (0.9, 0.0)]
    birth.sum().backward()
    assert likely.grad is not None
    assert likely.grad[0, 0] == likely.grad[0, 3] == likely.grad[4, 6] == 1


def test_a_volume_has_components_tunnels_and_cavities() -> None:
    shell = torch.zeros(9, 9, 10)
    shell[1:6, 1:6, 1:6] = 1
    shell[2:5, 2:5, 2:5] = 0  # a cavity
    shell[8, 2:8, 2:8] = 1
    shell[8, 4:6, 4:6] = 0  # a ring beside it
    found = [((birth - death) > 0.5).sum().item() for birth, death in features(shell)]
    assert found == [2, 1, 1]


def test_numbers_are_counted_in_the_target_or_given() -> None:
    target = ring()
    logits = certain(target)
    right = PersistentHomologyLoss()(logits, target)
    torch.testing.assert_close(PersistentHomologyLoss(betti=[1, 1])(logits, target), right)
    full = target.clone()
    full[..., 4:-4, 4:-4] = 1
    for loss in (PersistentHomologyLoss(), PersistentHomologyLoss(betti=[1, 0])):
        assert loss(logits, full) > right + 0.3  # the hole must vanish


def test_the_loss_is_its_closed_form() -> None:
    target = torch.zeros(1, 1, 6, 6, dtype=torch.long)
    target[..., 1, 1] = 1
    likely = torch.full((6, 6), 0.1)
    likely[1, 1], likely[4, 4] = 0.8, 0.6
    logits = torch.stack([(1 - likely).log(), likely.log()])[None]
    # one component from 0.8 on, which never dies; one from 0.6 that joins it at 0.1
    expected = (1 - 0.8) ** 2 + (0.6 - 0.1) ** 2 / 2
    value = PersistentHomologyLoss(dimensions=[0])(logits, target)
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_descending_removes_a_spot_and_closes_a_gap() -> None:
    target = ring()
    broken = certain(target, 2.0)
    broken[:, 1, 2:4, 6] = -0.5  # a gap in the ring, not quite certain
    broken[:, 0, 2:4, 6] = 0.5
    broken[:, :, 0, 0] = torch.tensor([-0.5, 0.5])  # a spot
    logits = broken.clone().requires_grad_()
    loss = PersistentHomologyLoss(betti=[1, 1])
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, target).backward()
        optimizer.step()

    def numbers(values: Tensor) -> list[int]:
        mask = values.argmax(1)[0].float()
        return [int(((birth - death) > 0.5).sum()) for birth, death in features(mask)]

    assert numbers(broken) == [2, 0]
    assert numbers(logits) == [1, 1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"betti": [1]}, "expected 2 numbers"),
        ({"betti": [1, 0, 0]}, r"got betti \[1, 0, 0\] for 2D images"),
        ({"foreground": [2]}, r"got foreground \[2\]; expected classes from 0 to 1"),
        ({"dimensions": [2]}, r"got dimensions \[2\]; expected 0 to 1"),
    ],
)
def test_numbers_that_do_not_fit_the_images_are_refused(
    params: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PersistentHomologyLoss(**params)(certain(ring()), ring())


def test_without_the_package_the_loss_tells_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gudhi", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'imtoolkit\[topology\]'"):
        build_loss("persistent_homology", {}, out_channels=2, spatial_dims=2)
