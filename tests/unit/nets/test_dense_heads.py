"""Decoders from feature maps, UPerNet's and UNETR's: sizes, parts, what does not fit."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from monai.networks.blocks.unetr_block import UnetrUpBlock
from torch import Tensor, nn

from imtoolkit.core import registry
from imtoolkit.nets.identity import IdentityBackbone
from imtoolkit.nets.omnivore import Omnivore
from imtoolkit.nets.resizing import resized
from imtoolkit.nets.unetr import UNETRHead
from imtoolkit.nets.uper import UPerHead

CHANNELS = (4, 6, 8)


def maps_of(*sides: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, width, *side) for width, side in zip(CHANNELS, sides, strict=True)]


PLANES = ((16, 24), (8, 12), (4, 6))
VOLUMES = ((4, 16, 24), (4, 8, 12), (4, 4, 6))


@pytest.mark.parametrize("sides", [PLANES, VOLUMES], ids=["2D", "3D"])
def test_a_result_has_the_size_of_the_finest_map_or_the_one_asked_for(
    sides: tuple[tuple[int, ...], ...],
) -> None:
    dims = len(sides[0])
    strides = [[1, 2, 2][-dims:]] * 2
    heads = [
        UPerHead(dims, CHANNELS, 3, width=8),
        UNETRHead(dims, CHANNELS, 3, channels=CHANNELS, strides=strides),
    ]
    image = tuple(4 * side for side in sides[0])
    for head in heads:
        assert head(maps_of(*sides)).shape == (2, 3, *sides[0])
        assert head(maps_of(*sides), size=image).shape == (2, 3, *image)


@pytest.mark.parametrize("name", ["uper_net", "unetr_head"])
def test_every_weight_gets_a_gradient_and_lasts(name: str) -> None:
    filled = {"in_channels": CHANNELS, "spatial_dims": 2, "out_channels": 3}
    first, second = (registry.build("net", name, {}, **filled) for _ in range(2))
    assert first.takes_maps
    first(maps_of(*PLANES)).square().sum().backward()
    assert not [key for key, weight in first.named_parameters() if not weight.grad.abs().sum() > 0]
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first.eval()(maps_of(*PLANES)), second.eval()(maps_of(*PLANES)))


def test_uper_net_takes_maps_of_any_size_even_smaller_than_its_grids() -> None:
    head = UPerHead(2, CHANNELS, 3, width=8)
    assert head(maps_of((17, 9), (5, 3), (1, 1))).shape == (2, 3, 17, 9)
    one = UPerHead(2, CHANNELS[:1], 3, width=8)
    assert one([torch.randn(1, 4, 7, 7)]).shape == (1, 3, 7, 7)


def test_the_pyramid_pools_means_over_grids() -> None:
    head = UPerHead(2, CHANNELS[:1], 3, width=4, pools=(2,))
    features = torch.rand(1, 4, 8, 8)
    conv = head.pooled[0][1]
    means = features.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5))  # four quarters
    torch.testing.assert_close(head.pooled[0](features), torch.relu(conv(means)))


def test_each_level_adds_what_the_coarser_ones_have_seen() -> None:
    head = UPerHead(2, CHANNELS[:2], 3, width=4, pools=(1,), dropout=0.0).eval()
    fine, coarse = maps_of(*PLANES)[:2]
    top = head.top(torch.cat((coarse, head.pooled[0](coarse).expand(-1, -1, 8, 12)), 1))
    raised = F.interpolate(top, (16, 24), mode="bilinear")
    level = head.smooth[0](head.laterals[0](fine) + raised)
    expected = head.last(head.fuse(torch.cat((level, raised), 1)))
    torch.testing.assert_close(head([fine, coarse]), expected)


def test_a_step_of_unetr_is_that_of_monai() -> None:
    torch.manual_seed(0)
    head = UNETRHead(2, CHANNELS[:2], None, channels=CHANNELS[:2])
    block = UnetrUpBlock(2, 6, 4, 3, 2, "instance", res_block=True)
    weights = {
        "transp_conv.conv.weight": head.ups[0].weight,
        **{f"conv_block.{key}": item for key, item in head.joins[0].layer.state_dict().items()},
    }
    block.load_state_dict(weights)
    nn.init.zeros_(head.ups[0].bias)  # MONAI's transposed convolution has none
    fine, coarse = maps_of(*PLANES)[:2]
    expected = block(head.skips[1](coarse), head.skips[0](fine))
    torch.testing.assert_close(head([fine, coarse])[0], expected)


def test_what_rounding_up_had_added_is_cut_off() -> None:
    head = UNETRHead(2, CHANNELS, 3, channels=CHANNELS)
    assert head(maps_of((13, 9), (7, 5), (4, 3))).shape == (2, 3, 13, 9)


def test_maps_that_lie_other_strides_apart_are_refused_with_both_shapes() -> None:
    head = UNETRHead(2, CHANNELS, 3, channels=CHANNELS)
    with pytest.raises(ValueError, match="strides of") as caught:
        head(maps_of((32, 32), (8, 8), (4, 4)))
    text = str(caught.value)
    assert "feature map 0 is [32, 32] and map 1 is [8, 8]" in text
    assert "strides of [2, 2] between them, where [4, 4] would fit" in text
    fitting = UNETRHead(2, CHANNELS, 3, channels=CHANNELS, strides=[4, 2])
    assert fitting(maps_of((32, 32), (8, 8), (4, 4))).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"channels": [4]}, "as many channels as maps"),
        ({"strides": [2]}, "and one stride less"),
        ({"strides": [[1, 2, 2], 2]}, "for 2 axes"),
    ],
)
def test_a_unetr_of_other_lengths_is_refused(params: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        UNETRHead(2, CHANNELS, 3, **params)


@pytest.mark.parametrize("params", [{"pools": []}, {"width": 0}, {"in_channels": []}])
def test_a_pyramid_of_nothing_is_refused(params: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected one feature map or more"):
        UPerHead(**{"spatial_dims": 2, "in_channels": CHANNELS, "out_channels": 3, **params})


def test_heads_stand_on_a_swin_transformer() -> None:
    net = Omnivore(3, 1, size="custom", width=4, depths=[1, 1, 1], heads=[1, 1, 1])
    image = torch.randn(1, 1, 3, 40, 36)
    maps = net(image)
    head = UNETRHead(3, net.feature_channels, 2, (4, 4, 4), strides=list(net.steps[1:]))
    for one in (head, UPerHead(3, net.feature_channels, 2, width=4)):
        assert one(maps, size=image.shape[2:]).shape == (1, 2, 3, 40, 36)
    assert all(fine.shape[3] > coarse.shape[3] for fine, coarse in pairwise(maps))


def test_the_identity_gives_the_image() -> None:
    image = torch.randn(1, 2, 5, 5)
    backbone = IdentityBackbone(2)
    assert backbone(image)[0] is image
    assert backbone.feature_channels == (2,)


def test_resizing_is_torchs_linear_interpolation_and_leaves_equal_sizes_alone() -> None:
    features = torch.randn(1, 2, 3, 4, 5)
    assert resized(features, (3, 4, 5)) is features
    expected = F.interpolate(features, (6, 8, 5), mode="trilinear")
    torch.testing.assert_close(resized(features, (6, 8, 5)), expected)
