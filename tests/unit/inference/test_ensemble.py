"""Votes of several models, against counting by hand."""

from __future__ import annotations

import pytest
import torch

from imtoolkit.inference.ensemble import (
    average,
    logits_of,
    majority_of_classes,
    majority_of_labels,
    median,
)


def drawn(count: int, *shape: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator).softmax(0) for _ in range(count)]


def test_the_average_is_the_mean() -> None:
    members = drawn(5, 3, 4, 4)
    torch.testing.assert_close(average(members), torch.stack(members).mean(0))


def test_the_majority_of_pixels_is_the_mode_of_their_classes() -> None:
    members = drawn(5, 2, 8, 8)  # an odd number of two classes: no ties
    expected = torch.stack([one.argmax(0) for one in members]).mode(0).values
    assert torch.equal(majority_of_classes(members).argmax(0), expected)
    shares = torch.stack([one.argmax(0) for one in members]).float().mean(0)
    torch.testing.assert_close(majority_of_classes(members)[1], shares, atol=2e-3, rtol=0)


def test_a_tie_goes_to_the_higher_average() -> None:
    members = [torch.tensor([0.9, 0.1]), torch.tensor([0.4, 0.6])]
    assert majority_of_classes(members).argmax() == 0
    assert majority_of_classes([1 - one for one in members]).argmax() == 1
    labels = [torch.tensor([0.9, 0.6]), torch.tensor([0.4, 0.1])]
    assert (majority_of_labels(labels) > 0.5).tolist() == [True, False]


def test_a_majority_outweighs_any_average() -> None:
    members = [torch.tensor([1.0, 0.0])] * 20 + [torch.tensor([0.49, 0.51])] * 21
    assert majority_of_classes(members).argmax() == 1


def test_the_axis_of_the_classes_may_be_another() -> None:
    members = drawn(3, 3, 5)
    turned = majority_of_classes([one.T for one in members], axis=1)
    torch.testing.assert_close(turned.T, majority_of_classes(members))


def test_the_median_of_an_even_number_is_the_mean_of_two() -> None:
    values = [torch.tensor([float(v)]) for v in (1, 9, 2, 3)]
    assert median(values).item() == 2.5
    assert median(values[:3]).item() == 2.0


def test_logits_have_the_probabilities_that_they_were_made_of() -> None:
    chances = drawn(1, 4)[0]
    torch.testing.assert_close(logits_of(chances).softmax(0), chances)
    labels = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(logits_of(labels, exclusive=False).sigmoid(), labels)


@pytest.mark.parametrize("vote", [average, majority_of_classes, majority_of_labels, median])
def test_members_that_do_not_fit_are_told(vote) -> None:
    with pytest.raises(ValueError, match=r"differ in shape: \[2, 3\] and \[2, 4\]"):
        vote([torch.rand(2, 3), torch.rand(2, 4)])
    with pytest.raises(ValueError, match="no members"):
        vote([])
