"""Nets of the field that MONAI lacks: sizes, identities, and what the papers say of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imtoolkit.nets.deeplab import AtrousPyramid, DeepLabV3
from imtoolkit.nets.dncnn import DnCNN
from imtoolkit.nets.drunet import DRUNet
from imtoolkit.nets.erfnet import BranchedERFNet, ERFNet
from imtoolkit.nets.fnet import FNet
from imtoolkit.nets.inception_resnet import InceptionResNetV2, ResidualInception
from imtoolkit.nets.suggestive import SuggestiveNet

SMALL: dict[type[nn.Module], dict[str, Any]] = {
    DnCNN: {"depth": 4, "width": 4, "fold": 2, "residual": False},
    DRUNet: {"channels": (4, 8), "blocks": 1, "fold": 2},
    FNet: {"width": 2, "depth": 2},
    DeepLabV3: {"depth": 18, "width": 8},
    ERFNet: {"channels": (2, 4, 8), "blocks": (1, 2), "decoder_blocks": 1},
    BranchedERFNet: {"channels": (2, 4, 8), "blocks": (1, 2), "decoder_blocks": 1},
    SuggestiveNet: {"channels": (4, 8), "width": 4},
}


def of_size(dims: int, channels: int = 2, side: int = 32) -> Tensor:
    return torch.randn(2, channels, *(side, side + 16, side)[:dims], generator=torch.manual_seed(0))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", list(SMALL))
def test_a_dense_net_keeps_the_size_and_teaches_every_weight(
    kind: type[nn.Module], dims: int
) -> None:
    net = kind(dims, 2, 3, **SMALL[kind])
    image = of_size(dims)
    for weight in net.parameters():  # layers that start at zero hide what lies before them
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    found = net(image)
    assert found.shape == (2, 3, *image.shape[2:])
    found.square().mean().backward()
    assert [name for name, weight in net.named_parameters() if weight.grad is None] == []


def test_an_untrained_residual_denoiser_changes_nothing() -> None:
    image = of_size(2, channels=1)
    assert torch.equal(DnCNN(2, 1, 1, depth=3, width=4)(image), image)
    assert torch.equal(
        DRUNet(2, 1, 1, channels=(4,), blocks=1, fold=2, residual=True)(image), image
    )


def test_dncnn_s_has_the_weights_that_its_layers_say() -> None:
    net = DnCNN(2, 1, 1)
    # first and last convolution with bias, fifteen inner ones with the two numbers of a norm
    expected = (9 * 64 + 64) + 15 * (9 * 64 * 64 + 2 * 64) + (9 * 64 + 1)
    assert sum(weight.numel() for weight in net.parameters()) == expected


@pytest.mark.parametrize("kind", [DnCNN, DRUNet])
def test_residual_learning_needs_as_many_channels_out_as_in(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="2 channels in and 1 out"):
        kind(2, 2, 1, residual=True)


def test_folding_moves_each_pixel_to_its_place_and_back() -> None:
    net = DnCNN(2, 1, 1, depth=3, width=4, fold=2, residual=False)
    net.chain = nn.Identity()  # type: ignore[assignment]
    image = of_size(2, channels=1)
    assert torch.equal(net(image), image)


def test_a_single_scale_of_drunet_is_a_chain_of_residual_blocks() -> None:
    net = DRUNet(2, 1, 1, channels=(4,), blocks=2)
    image = of_size(2, channels=1)
    assert torch.equal(net(image), net.tail(net.head(image)))  # blocks start as the identity
    assert not list(net.downs)


def test_fnet_has_a_u_of_the_depth_that_is_asked_for() -> None:
    net = FNet(2, 1, 1, width=2, depth=4).eval()
    found = net(of_size(2, channels=1, side=32))
    assert found.shape[2:] == (32, 48)
    assert [down[0].in_channels for down in net.downs] == [2, 4, 8, 16]  # type: ignore[index]


@pytest.mark.parametrize(("stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplab_keeps_the_resolution_that_its_stride_says(
    stride: int, rates: tuple[int, ...]
) -> None:
    net = DeepLabV3(2, 1, 2, depth=18, output_stride=stride, width=8).eval()
    seen: list[Tensor] = []
    net.pyramid.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.zeros(1, 1, 64, 96))
    assert seen[0].shape[2:] == (64 // stride, 96 // stride)
    views = [view[0] for view in net.pyramid.views]  # type: ignore[index]
    assert tuple(view.dilation[0] for view in views[1:]) == rates


def test_a_dilated_stage_sees_what_the_strided_one_saw() -> None:
    """At the places that the strided stage keeps, the dilated one gives the same numbers."""
    torch.manual_seed(0)
    dense = DeepLabV3(2, 1, 2, depth=18, output_stride=16, width=8).eval().encoder
    coarse = DeepLabV3(2, 1, 2, depth=18, output_stride=16, width=8).eval().encoder
    coarse.load_state_dict(dense.state_dict())
    for layer in coarse.layer4.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] == 3:
            layer.dilation = layer.padding = (1, 1)
    coarse.layer4[0].conv1.stride = coarse.layer4[0].downsample[0].stride = (2, 2)
    features = torch.randn(1, 256, 16, 16)
    assert torch.allclose(dense.layer4(features)[..., ::2, ::2], coarse.layer4(features), atol=1e-5)


def test_the_pyramid_sees_the_mean_of_the_image() -> None:
    pyramid = AtrousPyramid(2, 4, 3, rates=(2,)).eval()
    pyramid.whole = nn.Identity()  # type: ignore[assignment]
    seen: list[Tensor] = []
    pyramid.join.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    features = of_size(2, channels=4)
    with pytest.raises(RuntimeError):  # the identity gives four channels where three are joined
        pyramid(features)
    whole = seen[0][:, -4:]
    assert torch.allclose(whole, features.mean((2, 3), keepdim=True).expand_as(whole))


@pytest.mark.parametrize("dims", [2, 3])
def test_inception_resnet_gives_logits_or_feature_maps(dims: int) -> None:
    small: dict[str, Any] = {"blocks": (1, 1, 1), "width": 0.125}
    image = torch.randn(2, 1, *(32, 48, 32)[:dims])
    net = InceptionResNetV2(dims, 1, 3, **small)
    logits = net(image)
    assert logits.shape == (2, 3)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())
    backbone = InceptionResNetV2(dims, 1, 0, **small)
    maps = backbone(image)
    assert tuple(part.shape[1] for part in maps) == backbone.feature_channels
    assert [image.shape[2] // part.shape[2] for part in maps] == list(backbone.reductions)


def test_inception_resnet_has_the_channels_of_the_paper() -> None:
    with torch.device("meta"):
        net = InceptionResNetV2(2, 3, 1000)
    assert net.feature_channels == (320, 1088, 2080)
    # the published network has 55.9 million weights; ours differs by its padded stem alone
    assert sum(weight.numel() for weight in net.parameters()) == pytest.approx(55.9e6, rel=0.02)


def test_a_residual_inception_block_of_scale_zero_keeps_what_is_positive() -> None:
    net = InceptionResNetV2(2, 1, 1, blocks=(1, 1, 1), width=0.125, scale=(0.0, 0.0, 0.0))
    block = net.scale1[0]
    assert isinstance(block, ResidualInception)
    features = torch.randn(1, net.feature_channels[0], 8, 8)
    assert torch.equal(block(features), features.relu())
