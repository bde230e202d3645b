"""Terms are weighted, set in after their warm-up, and read what they are told to read."""

import pytest
import torch
from torch import Tensor, nn

from imtoolkit.core.errors import ComponentError
from imtoolkit.losses.cross_entropy import CrossEntropyLoss
from imtoolkit.losses.dice import DiceLoss
from imtoolkit.losses.weighted_sum import DeepSupervision, Term, WeightedSum

LOGITS = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))
BATCH = {"target": torch.randint(2, (2, 1, 8, 8), generator=torch.Generator().manual_seed(1))}


def test_the_sum_is_that_of_the_weighted_terms() -> None:
    total = WeightedSum(
        [Term("dice", DiceLoss(), weight=0.5), Term("ce", CrossEntropyLoss(), weight=2.0)]
    )
    loss, terms = total(LOGITS, BATCH)
    torch.testing.assert_close(loss, 0.5 * terms["dice"] + 2 * terms["ce"])
    torch.testing.assert_close(terms["dice"], DiceLoss()(LOGITS, BATCH["target"]))


@pytest.mark.parametrize(("step", "counts"), [(0, False), (9, False), (10, True), (None, True)])
def test_a_term_counts_after_its_warm_up(step: int | None, counts: bool) -> None:
    logits = LOGITS.clone().requires_grad_()
    total = WeightedSum([Term("dice", DiceLoss(), warmup_steps=10)])
    loss, terms = total(logits, BATCH, step)
    loss.backward()  # also alone and waiting: the graph is whole
    assert logits.grad is not None
    assert bool(logits.grad.any()) == counts
    assert loss.item() == (terms["dice"].item() if counts else 0.0)


class _Nan(nn.Module):
    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        return prediction.sum() * torch.nan


def test_a_nan_is_seen_even_in_a_term_that_waits() -> None:
    total = WeightedSum([Term("bad", _Nan(), warmup_steps=5), Term("dice", DiceLoss())])
    assert torch.isnan(total(LOGITS, BATCH, 0)[0])


def test_a_term_reads_the_output_and_the_target_that_it_names() -> None:
    total = WeightedSum([Term("dice", DiceLoss(), prediction="mask", target="nuclei")])
    batch = {"nuclei": BATCH["target"]}
    loss, _ = total({"mask": LOGITS, "other": LOGITS[:, :1]}, batch)
    torch.testing.assert_close(loss, DiceLoss()(LOGITS, BATCH["target"]))


@pytest.mark.parametrize(
    ("term", "raw", "message"),
    [
        (Term("a", DiceLoss()), {"x": LOGITS}, "the net returns 'x': set 'prediction'"),
        (Term("a", DiceLoss(), prediction="y"), {"x": LOGITS}, "reads the output 'y'"),
        (Term("a", DiceLoss(), prediction="y"), LOGITS, "the net returns one tensor"),
        (Term("a", DiceLoss(), target="mask"), LOGITS, "the batch holds 'target'"),
    ],
)
def test_what_is_not_there_is_told(term: Term, raw: object, message: str) -> None:
    with pytest.raises(ComponentError, match=message):
        WeightedSum([term])(raw, BATCH)


def test_deeper_outputs_count_half_of_those_above_with_targets_of_their_size() -> None:
    total = DeepSupervision(WeightedSum([Term("ce", CrossEntropyLoss())]))
    outputs = [LOGITS, LOGITS[..., ::2, ::2], LOGITS[..., ::4, ::4]]
    loss, terms = total(outputs, BATCH)
    # the nearest neighbour of a pixel twice as large is the one beyond its middle
    targets = [BATCH["target"][..., k // 2 :: k, k // 2 :: k] for k in (1, 2, 4)]
    each = [CrossEntropyLoss()(o, t) for o, t in zip(outputs, targets, strict=True)]
    torch.testing.assert_close(loss, (4 * each[0] + 2 * each[1] + each[2]) / 7)
    torch.testing.assert_close(terms["ce"], loss)


def test_cost_maps_follow_the_resolution() -> None:
    total = DeepSupervision(WeightedSum([Term("ce", CrossEntropyLoss())]))
    weight = torch.ones(2, 1, 8, 8)
    weight[..., 4:] = 0
    low = LOGITS[..., ::2, ::2].clone().requires_grad_()
    total([LOGITS, low], {**BATCH, "weight": weight})[0].backward()
    assert low.grad is not None
    assert not low.grad[..., 2:].any()
    assert low.grad[..., :2].any()


def test_only_what_the_terms_read_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    resized: list[torch.Size] = []

    def note(image: Tensor, size: tuple[int, ...], **options: object) -> Tensor:
        resized.append(image.shape)
        return image[..., :: image.shape[-2] // size[0], :: image.shape[-1] // size[1]]

    monkeypatch.setattr("imtoolkit.losses.term.F.interpolate", note)
    total = DeepSupervision(WeightedSum([Term("ce", CrossEntropyLoss())]))
    total([LOGITS, LOGITS[..., ::2, ::2]], {**BATCH, "image": torch.zeros(2, 3, 8, 8)})
    assert resized == [BATCH["target"].shape]


def test_large_labels_survive_resizing() -> None:
    target = torch.full((1, 1, 4, 4), 70_001, dtype=torch.int32)
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, prediction: Tensor, target: Tensor, weight: object = None) -> Tensor:
            seen.append(target)
            return prediction.sum()

    total = DeepSupervision(WeightedSum([Term("spy", Spy())]))
    total([torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)], {"target": target})
    assert torch.equal(seen[1], target[..., :2, :2])
    assert seen[1].dtype == torch.int32
