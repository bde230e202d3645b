"""Omnivore is the Swin Transformer of the papers: size, stages, and MONAI's numbers."""

from typing import Any

import pytest
import torch
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from imtoolkit.nets.omnivore import SIZES, Omnivore, PlaneMerging
from imtoolkit.nets.sizes import SizeProbe

TINY: dict[str, Any] = {
    "size": "custom",
    "width": 8,
    "depths": [2, 1, 1],
    "heads": [2, 2, 4],
    "window": [2, 3, 3],
    "drop_path": 0.0,
}


@pytest.mark.parametrize(
    ("size", "window", "millions"),
    [
        ("tiny", None, 28.2),
        ("small", None, 49.8),
        ("base", [8, 7, 7], 88.1),
        ("large", None, 197.0),
    ],
)
def test_published_sizes_have_the_published_number_of_weights(
    size: str, window: list[int] | None, millions: float
) -> None:
    # Liu et al., "Video Swin Transformer", table 1: with the 400 classes of Kinetics and
    # windows of (8, 7, 7)
    with torch.device("meta"):
        net = Omnivore(3, 3, 400, size, window=window)
    count = sum(weight.numel() for weight in net.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.01)


def test_feature_maps_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        net = Omnivore(3, 1, size="tiny")
    maps = net(torch.empty(1, 1, 8, 64, 96, device="meta"))
    assert [tuple(found.shape[1:]) for found in maps] == [
        (96, 4, 16, 24),
        (192, 4, 8, 12),
        (384, 4, 4, 6),
        (768, 4, 2, 3),
    ]
    assert net.feature_channels == (96, 192, 384, 768)
    assert net.reductions == (4, 8, 16, 32)


def test_the_stages_compute_what_monais_swin_transformer_does() -> None:
    torch.manual_seed(0)
    ours = Omnivore(3, 2, halve_depth=True, **{**TINY, "depths": [2] * 4, "heads": [2] * 4}).eval()
    monais = SwinTransformer(
        2,
        8,
        (2, 3, 3),
        (2, 4, 4),
        (2, 2, 2, 2),
        (2, 2, 2, 2),
        patch_norm=True,
        downsample="mergingv2",
    ).eval()
    monais.patch_embed.load_state_dict(ours.embed.state_dict())
    theirs = [monais.layers1[0], monais.layers2[0], monais.layers3[0], monais.layers4[0]]
    for stage, (layer, own) in enumerate(zip(theirs, ours.stages, strict=True)):
        layer.blocks.load_state_dict(own.blocks.state_dict())
        if stage < 3:
            layer.downsample.load_state_dict(ours.merges[stage].state_dict())
    given: list[Tensor] = []
    for own in ours.stages:
        own.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    image = torch.randn(1, 2, 8, 40, 36)
    with torch.no_grad():
        ours(image)
        expected = monais(image, normalize=False)
    for found, wanted in zip(given, expected, strict=False):
        torch.testing.assert_close(found, wanted)


def test_a_2d_image_is_a_volume_of_one_frame_for_the_same_weights() -> None:
    flat, deep = Omnivore(2, 1, **TINY).eval(), Omnivore(3, 1, **TINY).eval()
    deep.load_state_dict(flat.state_dict())
    image = torch.randn(1, 1, 24, 20)
    for one, other in zip(flat(image), deep(image[:, :, None]), strict=True):
        torch.testing.assert_close(one, other[:, :, 0])


@pytest.mark.parametrize("halve_depth", [False, True])
def test_any_size_fits_and_sides_are_rounded_up(halve_depth: bool) -> None:
    net = Omnivore(3, 1, halve_depth=halve_depth, **TINY).eval()
    sides = [tuple(found.shape[2:]) for found in net(torch.randn(1, 1, 5, 18, 23))]
    assert sides == [(3, 5, 6), (2 if halve_depth else 3, 3, 3), (1 if halve_depth else 3, 2, 2)]


def test_outputs_for_the_whole_image_come_from_the_mean_over_the_last_map() -> None:
    torch.manual_seed(0)
    net = Omnivore(2, 1, 3, **TINY).eval()
    image = torch.randn(2, 1, 24, 24)
    logits = net(image)
    head, net.head = net.head, None
    net.norms = nn.ModuleList([nn.Identity(), nn.Identity(), net.norms[0]])
    last = net(image)[-1]
    torch.testing.assert_close(logits, head(last.mean((2, 3))))


@pytest.mark.parametrize("out_channels", [None, 3])
def test_every_weight_gets_a_gradient(out_channels: int | None) -> None:
    torch.manual_seed(0)
    net = Omnivore(3, 1, out_channels, checkpointing=True, **TINY)
    found = net(torch.randn(1, 1, 4, 24, 24))
    outputs = found if isinstance(found, list) else [found]
    sum(output.square().mul(torch.rand_like(output)).sum() for output in outputs).backward()
    missing = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert not missing


def test_weights_saved_and_loaded_give_the_same_maps() -> None:
    first, second = Omnivore(2, 1, **TINY).eval(), Omnivore(2, 1, **TINY).eval()
    image = torch.randn(1, 1, 24, 24)
    assert not torch.allclose(first(image)[-1], second(image)[-1])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(image)[-1], second(image)[-1])


def test_four_neighbours_of_a_frame_merge() -> None:
    merging = PlaneMerging(1)
    merging.norm = nn.Identity()
    with torch.no_grad():
        merging.reduction.weight.fill_(1.0)
    tokens = torch.arange(12.0).view(1, 1, 3, 4, 1)  # three rows: the last is padded with zeros
    merged = merging(tokens)
    expected = torch.tensor([[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9, 10 + 11]]).float()
    torch.testing.assert_close(merged[0, 0], expected[..., None].expand(2, 2, 2))


def test_shapes_alone_tell_that_any_size_fits() -> None:
    net = nn.Sequential(Omnivore(2, 1, 3, **TINY))
    assert SizeProbe(net, 1, 2).complaint((30, 41)) is None


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"size": "huge"}, "one of tiny, small, base, large, custom"),
        ({"size": "tiny", "depths": [2, 2]}, "size 'tiny' has its own depths"),
        ({"size": "custom", "width": 8}, "size 'custom' needs depths and heads"),
        ({**TINY, "heads": [3, 2, 4]}, "do not divide the channels"),
        ({**TINY, "heads": [2]}, "as many heads as depths"),
        ({**TINY, "window": [7, 7]}, "expected three sides each"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(params: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Omnivore(2, 1, **params)


def test_a_size_keeps_its_own_window_unless_another_is_given() -> None:
    with torch.device("meta"):
        nets = [Omnivore(3, 1, size="base", window=window) for window in (None, [4, 7, 7])]
    assert [tuple(net.stages[0].window_size) for net in nets] == [SIZES["base"].window, (4, 7, 7)]
