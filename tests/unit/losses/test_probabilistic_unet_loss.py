"""The divergence against torch's, and the bound against a straightforward computation."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.distributions import kl_divergence as torch_kl

from imtoolkit.losses.cross_entropy import CrossEntropyLoss
from imtoolkit.losses.dice import DiceLoss
from imtoolkit.losses.probabilistic_unet import EvidenceLowerBound, kl_divergence
from imtoolkit.losses.weighted_sum import Term, WeightedSum


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bound(**options: float | str) -> EvidenceLowerBound:
    terms = WeightedSum([Term("cross_entropy", CrossEntropyLoss())])
    return EvidenceLowerBound(terms, **options)  # type: ignore[arg-type]


def test_the_divergence_is_that_of_torch() -> None:
    mean, log_std, other, other_std = (drawn(5, 6, seed=seed) for seed in range(4))
    ours = kl_divergence(mean, log_std, other, other_std)
    q, p = (Independent(Normal(m, s.exp()), 1) for m, s in ((mean, log_std), (other, other_std)))
    torch.testing.assert_close(ours, torch_kl(q, p))
    assert bool((ours > 0).all())
    assert bool((kl_divergence(mean, log_std, mean, log_std) == 0).all())


def test_a_tiny_deviation_does_not_overflow() -> None:
    zero, tiny = torch.zeros(1, 6), torch.full((1, 6), -10.0)
    found = kl_divergence(zero, tiny, zero, zero)
    assert found.item() == pytest.approx(6 * (10 - 0.5), rel=1e-4)


def test_the_bound_is_the_sum_over_pixels_and_the_divergence() -> None:
    logits, target = drawn(3, 2, 8, 6), (drawn(3, 1, 8, 6, seed=1) > 0).long()
    divergence = torch.tensor([1.0, 2.0, 6.0])
    chosen = logits.log_softmax(1).gather(1, target)[:, 0]
    expected = (-chosen.sum((1, 2)) + 2.5 * divergence).mean()  # of images, over their pixels
    loss, terms = bound(beta=2.5, reduction="sum")(logits, divergence, {"target": target})
    torch.testing.assert_close(loss, expected)
    assert terms["kl"].item() == 3.0
    torch.testing.assert_close(terms["reconstruction"], -chosen.mean())
    mean, _ = bound(beta=2.5, reduction="mean")(logits, divergence, {"target": target})
    torch.testing.assert_close(mean * 48, loss)


def test_pixels_of_weight_zero_count_neither_in_the_loss_nor_in_the_number_of_pixels() -> None:
    logits, target = drawn(1, 2, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.long)
    weight = torch.zeros(1, 1, 4, 4)
    weight[..., :2] = 1
    divergence = torch.tensor([4.0])
    masked, terms = bound(beta=1.0)(logits, divergence, {"target": target, "weight": weight})
    half, _ = bound(beta=1.0)(logits[..., :2], divergence, {"target": target[..., :2]})
    torch.testing.assert_close(masked, half)
    changed = torch.where(weight > 0, logits, 100.0)
    again, _ = bound(beta=1.0)(changed, divergence, {"target": target, "weight": weight})
    assert torch.equal(again, masked)
    assert terms["kl"].item() == 4.0


def test_an_image_that_is_ignored_altogether_has_no_divergence() -> None:
    logits, target = drawn(2, 2, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.long)
    weight = torch.ones(2, 1, 4, 4)
    weight[1] = 0
    divergence = torch.tensor([4.0, 1000.0], requires_grad=True)
    loss, terms = bound()(logits, divergence, {"target": target, "weight": weight})
    assert terms["kl"].item() == 4.0
    loss.backward()
    assert divergence.grad is not None
    assert divergence.grad[1].item() == 0.0
    nothing, _ = bound()(logits, divergence, {"target": target, "weight": torch.zeros_like(weight)})
    assert nothing.item() == 0.0


def test_several_losses_reconstruct_and_each_is_told() -> None:
    terms = WeightedSum([Term("ce", CrossEntropyLoss()), Term("dice", DiceLoss(), weight=0.5)])
    logits, target = drawn(2, 2, 8, 8), (drawn(2, 1, 8, 8, seed=1) > 0).long()
    _, told = EvidenceLowerBound(terms)(logits, torch.zeros(2), {"target": target})
    assert set(told) == {"reconstruction", "kl", "ce", "dice"}
    torch.testing.assert_close(told["reconstruction"], told["ce"] + 0.5 * told["dice"])


def test_an_unknown_reduction_and_a_negative_factor_are_refused() -> None:
    for options in ({"reduction": "median"}, {"beta": -1.0}):
        with pytest.raises(ValueError, match="expected mean or sum, 0 or more"):
            bound(**options)  # type: ignore[arg-type]
