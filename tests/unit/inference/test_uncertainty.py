"""Maps of uncertainty, against closed forms and against formulas over all members at once."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from imtoolkit.inference.uncertainty import ClassMoments, entropy_of, uncertainty_of


def drawn(count: int, *shape: int) -> Tensor:
    """Return probabilities of classes along axis 1, one row for each member."""
    generator = torch.Generator().manual_seed(1)
    return (3 * torch.randn((count, *shape), generator=generator)).softmax(1)


def test_streaming_gives_what_all_members_at_once_give() -> None:
    members = drawn(7, 3, 6, 5).double()
    maps = uncertainty_of(members, classes=True)
    mean = members.mean(0)
    total = -(mean * mean.log()).sum(0)
    expected = -(members * members.log()).sum(1).mean(0)
    close = {"rtol": 1e-4, "atol": 1e-6, "check_dtype": False}
    torch.testing.assert_close(maps.mean, mean, **close)
    torch.testing.assert_close(maps.variance, members.var(0, correction=0).mean(0), **close)
    torch.testing.assert_close(maps.entropy, total, **close)
    torch.testing.assert_close(maps.mutual_information, total - expected, **close)


def test_members_that_agree_have_no_mutual_information_and_no_variance() -> None:
    one = drawn(1, 4, 8, 8)[0]
    maps = uncertainty_of([one] * 5, classes=True)
    assert maps.mutual_information is not None
    assert float(maps.mutual_information.max()) == 0.0
    assert float(maps.variance.max()) == 0.0
    torch.testing.assert_close(maps.entropy, entropy_of(one))  # what each of them sees is left


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_sure_members_that_disagree_have_all_of_the_entropy_as_mutual_information(
    classes: int,
) -> None:
    members = torch.eye(classes)[:, :, None]  # each sure of another class
    maps = uncertainty_of(members, classes=True)
    assert maps.mutual_information is not None
    assert maps.mutual_information.item() == pytest.approx(math.log(classes), rel=1e-6)
    assert maps.entropy.item() == pytest.approx(math.log(classes), rel=1e-6)
    assert maps.variance.item() == pytest.approx((classes - 1) / classes**2, rel=1e-5)


def test_unsure_members_that_agree_have_entropy_alone() -> None:
    maps = uncertainty_of([torch.tensor([0.5, 0.5])] * 3, classes=True)
    assert maps.mutual_information is not None
    assert maps.entropy.item() == pytest.approx(math.log(2))
    assert maps.mutual_information.item() == 0.0


def test_the_variance_of_two_classes_is_that_of_either_probability() -> None:
    foreground = torch.tensor([0.1, 0.4, 0.9])
    members = torch.stack([1 - foreground, foreground], 1)
    maps = uncertainty_of(members, classes=True)
    assert maps.variance.item() == pytest.approx(float(foreground.var(correction=0)), rel=1e-5)


def test_images_have_mean_variance_and_the_entropy_of_a_gaussian() -> None:
    members = 100 + 3 * torch.randn(2000, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    maps = uncertainty_of(members, classes=False)
    torch.testing.assert_close(maps.mean, members.mean(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(maps.variance, members.var(0, correction=0), rtol=1e-4, atol=1e-4)
    gaussian = 0.5 * math.log(2 * math.pi * math.e * 9)
    assert maps.entropy.mean().item() == pytest.approx(gaussian, abs=0.02)
    assert maps.mutual_information is None
    assert set(maps.named) == {"variance", "entropy"}


def test_equal_images_have_a_finite_entropy() -> None:
    maps = uncertainty_of([torch.ones(1, 2, 2)] * 2, classes=False)
    assert bool(torch.isfinite(maps.entropy).all())


def test_one_member_is_refused_and_so_are_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"1 member\(s\).*two at least"):
        uncertainty_of([torch.ones(2, 3)], classes=True)
    with pytest.raises(ValueError, match="differ in shape"):
        uncertainty_of([torch.ones(2, 3), torch.ones(2, 4)], classes=True)


def test_what_is_kept_does_not_grow_with_the_members() -> None:
    moments = ClassMoments()
    kept = []
    for member in drawn(20, 2, 4, 4):
        moments.add(member)
        values = [value for value in vars(moments).values() if value is not moments.count]
        assert all(isinstance(value, Tensor) for value in values)  # no list of members
        kept.append(sum(value.numel() for value in values))
    assert set(kept) == {2 * 2 * 16 + 16}  # mean and squares of each class, and the entropy
