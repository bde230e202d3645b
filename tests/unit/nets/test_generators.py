"""Generators and discriminators: sizes, what they see, and how their weights are drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from imtoolkit.nets.discriminators import MultiscaleDiscriminator, PatchDiscriminator
from imtoolkit.nets.generators import (
    EncoderDecoderGenerator,
    Pix2PixHDGenerator,
    ResNetGenerator,
)
from imtoolkit.nets.initialising import initialise
from imtoolkit.nets.sizes import least_size

GENERATORS: dict[type[nn.Module], dict[str, Any]] = {
    ResNetGenerator: {"channels": 2, "blocks": 1, "dropout": 0.1},
    EncoderDecoderGenerator: {"channels": 2, "depth": 3},
    Pix2PixHDGenerator: {
        **{"channels": 2, "global_blocks": 1, "local_blocks": 1, "depth": 1},
        "enhancers": 2,
    },
}


@pytest.mark.parametrize("upsampling", ["resize", "transposed"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", list(GENERATORS))
def test_a_generator_keeps_the_size_and_teaches_every_weight(
    kind: type[nn.Module], dims: int, upsampling: str
) -> None:
    net = kind(dims, 2, 3, upsampling=upsampling, **GENERATORS[kind])
    image = torch.randn(1, 2, *(16, 24, 16)[:dims], generator=torch.manual_seed(0))
    found = net(image)
    assert found.shape == (1, 3, *image.shape[2:])
    found.square().mean().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("kind", list(GENERATORS))
def test_resizing_makes_no_checkerboards_and_transposed_convolutions_do(
    kind: type[nn.Module],
) -> None:
    """What is flat stays flat, borders included."""
    torch.manual_seed(0)
    flat = torch.full((1, 1, 32, 32), 0.7)
    given: dict[str, Any] = {**GENERATORS[kind], "channels": 8, "norm": None}
    smooth = kind(2, 1, 1, **given).eval()
    rough = kind(2, 1, 1, upsampling="transposed", **given).eval()
    assert smooth(flat).std() < 1e-5
    assert rough(flat).std() > 1e-3


def test_the_global_generator_of_pix2pixhd_keeps_its_names_below_an_enhancer() -> None:
    alone = Pix2PixHDGenerator(2, 1, 1, channels=8, global_blocks=1, depth=1, enhancers=0)
    both = Pix2PixHDGenerator(2, 1, 1, channels=4, global_blocks=1, depth=1, enhancers=1)
    ours, theirs = both.coarse.state_dict(), alone.coarse.state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }


@pytest.mark.parametrize("kind", [ResNetGenerator, Pix2PixHDGenerator])
def test_generators_refuse_an_unknown_upsampling(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="'nearest'; expected resize or transposed"):
        kind(2, 1, 1, upsampling="nearest")


@pytest.mark.parametrize(("depth", "side"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_logit_of_a_patch_discriminator_sees_a_patch_of_the_known_side(
    depth: int, side: int
) -> None:
    net = PatchDiscriminator(2, 1, channels=1, depth=depth, norm=None)
    for weight in net.parameters():
        nn.init.constant_(weight, 0.1)
    image = torch.zeros(1, 1, 256, 256, requires_grad=True)
    logits = net(image)[-1]
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    seen = image.grad[0, 0] != 0  # type: ignore[index]
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == side == net.seen


def test_each_scale_judges_the_image_averaged_once_more() -> None:
    net = MultiscaleDiscriminator(2, 1, scales=3, channels=2, depth=1)
    image = torch.randn(1, 1, 64, 64)
    found = net(image)
    assert len(found) == 3
    for scale, layers in zip(net.scales, found, strict=True):
        assert torch.equal(layers[-1], scale(image)[-1])
        image = F.avg_pool2d(image, 3, 2, 1, count_include_pad=False)


def test_a_spectral_norm_bounds_what_each_layer_can_amplify() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(2, 1, channels=4, depth=2, norm=None, spectral=True)
    for _ in range(30):  # each pass in training takes a step of the power iteration
        net(torch.randn(1, 1, 32, 32))
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2).item()
            assert largest == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("net", "dims", "expected"),
    [
        (PatchDiscriminator(2, 1, channels=2, depth=1, norm=None), 2, (6, 6)),
        (PatchDiscriminator(2, 1, channels=2, depth=3, norm=None), 2, (24, 24)),
        (PatchDiscriminator(3, 1, channels=2, depth=2, norm=None), 3, (12, 12, 12)),
        (MultiscaleDiscriminator(2, 1, scales=2, channels=2, depth=1, norm=None), 2, (11, 11)),
    ],
)
def test_the_least_size_is_taken_and_one_pixel_less_is_not(
    net: nn.Module, dims: int, expected: tuple[int, ...]
) -> None:
    assert least_size(net, 1, dims) == expected
    net(torch.zeros(2, 1, *expected))
    for axis in range(dims):
        smaller = list(expected)
        smaller[axis] -= 1
        with pytest.raises(RuntimeError):
            net(torch.zeros(2, 1, *smaller))


def test_the_least_size_counts_a_norm_that_needs_several_pixels() -> None:
    net = PatchDiscriminator(2, 1, channels=2, depth=3, norm="instance")
    plain = PatchDiscriminator(2, 1, channels=2, depth=3, norm=None)
    assert least_size(plain, 1, 2) == (24, 24)  # two pixels before the logits
    least = least_size(net, 1, 2)
    assert least is not None
    net(torch.zeros(1, 1, *least))
    with pytest.raises((RuntimeError, ValueError)):
        net(torch.zeros(1, 1, *(side - 1 for side in least)))


@pytest.mark.parametrize("spectral", [False, True])
def test_weights_are_drawn_in_the_way_that_is_named(spectral: bool) -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(2, 8, channels=32, depth=2, norm=None, spectral=spectral)

    def stored() -> list[Tensor]:
        named = dict(net.named_parameters())
        return [w for name, w in named.items() if w.ndim == 4 and w.shape[0] > 1]

    initialise(net, "normal", 0.05)
    assert all(float(w.detach().std()) == pytest.approx(0.05, rel=0.1) for w in stored())
    initialise(net, "kaiming")
    for w in stored():
        wanted = math.sqrt(2 / w[0].numel())
        assert float(w.detach().std()) == pytest.approx(wanted, rel=0.1)
    initialise(net, "xavier", 2.0)
    for w in stored():
        fans = (w.shape[0] + w.shape[1]) * w[0, 0].numel()
        assert float(w.detach().std()) == pytest.approx(2 * math.sqrt(2 / fans), rel=0.1)
    initialise(net, "orthogonal", 3.0)
    for w in stored():
        rows = w.detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, 9 * torch.eye(len(rows)), atol=1e-4, rtol=0)
    assert all(not w.any() for name, w in net.named_parameters() if name.endswith("bias"))
    with pytest.raises(ValueError, match="expected normal, xavier, kaiming, orthogonal"):
        initialise(net, "uniform")
