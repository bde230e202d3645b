"""The loss of spatial embeddings beside one that compares every pixel with every object."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from imtoolkit.losses.embedseg import EmbedSegLoss, as_embedding
from imtoolkit.losses.lovasz import LovaszLoss, lovasz_of_groups

SHAPES = {2: (24, 31), 3: (6, 14, 17)}


def drawn(dims: int, seed: int = 0, batch: int = 2, count: int = 5) -> tuple[Tensor, Tensor]:
    """Return labels of boxes that may cover each other, and a cost map with zeros."""
    generator = torch.Generator().manual_seed(seed)
    shape = SHAPES[dims]
    labels = torch.zeros(batch, 1, *shape, dtype=torch.long)
    for image in labels:
        for number in torch.randperm(900, generator=generator)[:count] + 1:
            box = [0]
            for side in shape:
                start = int(torch.randint(0, side - 3, (1,), generator=generator))
                box.append(slice(start, start + 3 + side // 6))
            image[tuple(box)] = number
    weight = torch.randint(0, 3, labels.shape, generator=generator).float() / 2
    return labels, weight


def outputs(labels: Tensor, n_sigma: int, seed: int = 1, spread: float = 0.7) -> Tensor:
    dims = labels.ndim - 2
    generator = torch.Generator().manual_seed(seed)
    shape = (len(labels), dims + n_sigma + 1, *labels.shape[2:])
    return spread * torch.randn(shape, generator=generator)


def dense_loss(
    embedding: Tensor,
    labels: Tensor,
    n_sigma: int,
    anisotropy: tuple[float, ...],
    centres: Tensor | None = None,
    weight: Tensor | None = None,
    foreground: float = 10.0,
) -> dict[str, Tensor]:
    """Write the formulas down, one object after the other, each over all pixels of its image."""
    dims = labels.ndim - 2
    weight = torch.ones(labels.shape) if weight is None else weight
    size = torch.tensor(anisotropy).reshape(dims, *[1] * dims)
    grids = torch.meshgrid(*(torch.arange(float(side)) for side in labels.shape[2:]), indexing="ij")
    places = torch.stack(grids)
    hinge, variances, seeds, total = [], [], torch.zeros(()), torch.zeros(())
    lovasz = LovaszLoss(only_present=False)
    for image, (values, truth, counts) in enumerate(zip(embedding, labels, weight, strict=True)):
        points = size * (places + values[:dims])
        wanted = torch.zeros(truth.shape[1:])
        for number in truth.unique():
            mask = (truth[0] == number) & (counts[0] > 0)
            if number == 0 or not mask.any():
                continue
            shares = counts[0][mask]
            if centres is None:
                centre = (size * places)[:, mask].mean(1)
            else:
                centre = (size * (places + centres[image]))[:, mask].mean(1)
            own = values[dims:-1][:, mask]
            scale = (own * shares).sum(1) / shares.sum()
            told = (2 * (2 * own).exp()).log() / 10  # log(2 sigma^2) / 10
            mean = (2 * (2 * scale).exp()).log() / 10
            variances.append((((told - mean[:, None]) ** 2) * shares).sum(1).mean() / shares.sum())
            away = (points - centre.reshape(dims, *[1] * dims)) ** 2
            sigma = scale.exp().reshape(n_sigma, *[1] * dims)
            value = torch.exp(-(away / (2 * sigma**2)).sum(0))
            hinge.append(lovasz(2 * value[None, None] - 1, mask[None, None].long(), counts[None]))
            wanted = torch.where(mask, value.detach(), wanted)
        factor = torch.where(truth[0] > 0, foreground, 1.0)
        seeds = seeds + (counts[0] * factor * (values[-1] - wanted) ** 2).sum()
        total = total + counts.sum()
    nothing = embedding.sum() * 0
    return {
        "instances": torch.stack(hinge).mean() if hinge else nothing,
        "smoothness": torch.stack(variances).mean() if variances else nothing,
        "seeds": seeds / total.clamp_min(1e-9),
    }


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "one scale": {"n_sigma": 1},
    "anisotropic": {"anisotropy": (3.0, 0.5, 1.0)},
    "cost map": {"weighted": True},
    "centres": {"centres": True, "weighted": True},
    "wide": {"spread": 3.0},
}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_loss_of_every_pixel_with_every_object(case: str, dims: int) -> None:
    told = CASES[case]
    n_sigma = told.get("n_sigma", dims)
    anisotropy = told.get("anisotropy", (1.0,) * 3)[-dims:]
    labels, weight = drawn(dims)
    used = weight if told.get("weighted") else None
    centres = None
    target = labels
    if told.get("centres"):
        centres = (labels > 0) * torch.randn(2, dims, *labels.shape[2:]).sign()
        target = torch.cat((labels.float(), centres), dim=1)
    raw = outputs(labels, n_sigma, spread=told.get("spread", 0.7))
    found, expected = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    loss = EmbedSegLoss(
        dims, anisotropy, instance_weight=2.0, smoothness_weight=0.5, seed_weight=3.0
    )
    options = {"radius": 3.0, "anisotropy": anisotropy}
    value = loss(as_embedding(found, dims, **options), target, used)
    parts = dense_loss(
        as_embedding(expected, dims, **options), labels, n_sigma, anisotropy, centres, used
    )
    reference = 2 * parts["instances"] + 0.5 * parts["smoothness"] + 3 * parts["seeds"]
    for name, part in parts.items():
        assert loss.last_parts[name] == pytest.approx(part.item(), abs=2e-4), name
    assert value.item() == pytest.approx(reference.item(), abs=5e-4)
    value.backward()
    reference.backward()
    assert found.grad is not None and expected.grad is not None
    torch.testing.assert_close(found.grad, expected.grad, atol=2e-5, rtol=1e-2)


def test_groups_have_the_lovasz_extension_of_each_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    group = torch.randint(0, 7, (400,), generator=generator)
    group[group == 4] = 3  # one that is empty
    errors = torch.rand(400, generator=generator)
    errors[::3] = 0.5  # ties
    truth = torch.randint(0, 2, (400,), generator=generator).float()
    truth[group == 2] = 0.0
    counts = torch.rand(400, generator=generator) + 0.1
    found = lovasz_of_groups(errors, truth, counts, group, 7)
    loss = LovaszLoss(only_present=False)
    for number in range(7):
        own = group == number
        if not own.any():
            assert found[number] == 0
            continue
        # a logit whose hinge is the error
        sign = 2 * truth[own] - 1
        logits, target = ((1 - errors[own]) * sign), truth[own].long()
        shape = (1, 1, 1, int(own.sum()))
        alone = loss(logits.reshape(shape), target.reshape(shape), counts[own].reshape(shape))
        assert found[number].item() == pytest.approx(alone.item(), abs=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_but_background_teaches_the_seeds_alone(dims: int) -> None:
    labels = torch.zeros(2, 1, *SHAPES[dims], dtype=torch.long)
    raw = outputs(labels, dims).requires_grad_()
    loss = EmbedSegLoss(dims)
    value = loss(as_embedding(raw, dims), labels)
    assert value.item() == pytest.approx(raw[:, -1].sigmoid().square().mean().item(), rel=1e-5)
    value.backward()
    assert raw.grad is not None and raw.grad.isfinite().all()  # one for each, as DDP needs
    assert (raw.grad[:, :-1] == 0).all()


def test_an_object_that_the_cost_map_ignores_is_none() -> None:
    labels, _ = drawn(2)
    first = int(labels[0][labels[0] > 0][0])
    weight = torch.ones(labels.shape)
    weight[0][labels[0] == first] = 0.0
    raw = outputs(labels, 2)
    without = torch.where((labels == first) & (torch.arange(2).reshape(2, 1, 1, 1) == 0), 0, labels)
    loss = EmbedSegLoss()
    ours = loss(as_embedding(raw, 2), labels, weight)
    theirs = loss(as_embedding(raw, 2), without, weight)
    assert torch.equal(ours, theirs)
    nothing = loss(as_embedding(raw, 2), labels, torch.zeros(labels.shape))
    assert nothing.item() == 0


def test_ignored_pixels_change_nothing() -> None:
    labels, weight = drawn(2)
    raw = outputs(labels, 1)
    other = torch.where(weight > 0, raw, outputs(labels, 1, seed=9))
    loss = EmbedSegLoss()
    target = torch.cat((labels.float(), torch.ones(2, 2, *labels.shape[2:])), dim=1)
    assert torch.equal(
        loss(as_embedding(raw, 2), target, weight), loss(as_embedding(other, 2), target, weight)
    )


def test_equal_numbers_in_two_images_are_two_objects() -> None:
    one = torch.zeros(1, 1, 16, 16, dtype=torch.long)
    one[..., 2:6, 2:6] = 1
    other = torch.zeros_like(one)
    other[..., 9:14, 8:12] = 1
    raw = outputs(torch.cat((one, other)), 2)
    loss = EmbedSegLoss()
    both = loss(as_embedding(raw, 2), torch.cat((one, other)))
    each = [loss(as_embedding(raw[i : i + 1], 2), part) for i, part in enumerate((one, other))]
    assert both.item() == pytest.approx(sum(value.item() for value in each) / 2, rel=1e-5)


def test_a_thousand_tiny_objects() -> None:
    labels = torch.zeros(1, 1, 96, 96, dtype=torch.long)
    labels[0, 0, ::3, ::3] = torch.arange(1, 1025).reshape(32, 32)
    raw = outputs(labels, 2).requires_grad_()
    loss = EmbedSegLoss()
    value = loss(as_embedding(raw, 2, radius=2.0), labels)
    parts = dense_loss(as_embedding(raw, 2, radius=2.0), labels, 2, (1.0, 1.0))
    assert loss.last_parts["instances"] == pytest.approx(parts["instances"].item(), abs=2e-4)
    value.backward()
    assert raw.grad is not None and raw.grad.isfinite().all()


def test_half_precision_is_computed_in_full() -> None:
    labels, _ = drawn(2)
    raw = outputs(labels, 2).bfloat16()
    loss = EmbedSegLoss()
    half, full = (loss(as_embedding(x, 2), labels) for x in (raw, raw.float()))
    assert half.dtype == torch.float32
    assert torch.equal(half, full)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(as_embedding(raw, 2), labels).item() == pytest.approx(full.item(), rel=1e-3)


@pytest.mark.parametrize("channel", [0, 2, 4])
def test_what_is_not_a_number_makes_the_loss_none(channel: int) -> None:
    labels, _ = drawn(2)
    embedding = as_embedding(outputs(labels, 2), 2)
    embedding[0, channel][labels[0, 0] > 0] = torch.nan
    assert EmbedSegLoss()(embedding, labels).isnan()


def test_training_an_embedding_freely_finds_the_objects() -> None:
    """Without any net, gradient descent on the maps alone brings each part near 0."""
    labels, _ = drawn(2, count=4)
    raw = torch.zeros(2, 5, *labels.shape[2:], requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.1)
    loss = EmbedSegLoss()
    for _ in range(150):
        optimizer.zero_grad()
        loss(as_embedding(raw, 2, radius=4.0), labels).backward()
        optimizer.step()
    assert loss.last_parts["instances"] < 0.05
    assert loss.last_parts["seeds"] < 0.05


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    labels, _ = drawn(2)
    with pytest.raises(ValueError, match=r"expected \(B, 4, \.\.\.\) with one scale"):
        EmbedSegLoss()(torch.zeros(2, 3, 24, 31), labels)
    with pytest.raises(ValueError, match="expected 2 positive numbers"):
        EmbedSegLoss(2, (1.0, 1.0, 1.0))(torch.zeros(2, 4, 24, 31), labels)
    with pytest.raises(ValueError, match="0 or more"):
        EmbedSegLoss(seed_weight=-1.0)


def test_offsets_end_at_the_grid_and_take_the_size_of_pixels_into_account() -> None:
    raw = torch.full((1, 7, 1, 1, 1), 1e6)
    far = as_embedding(raw, 3, grid=64.0, anisotropy=(4.0, 1.0, 1.0))[:, :3].flatten()
    assert far.tolist() == [16.0, 64.0, 64.0]
