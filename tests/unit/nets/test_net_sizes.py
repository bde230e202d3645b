"""Sizes that a net cannot take are found before training, whatever the net."""

import pytest
import torch
from monai.networks import nets
from torch import nn

from imtoolkit.core.errors import ConfigError
from imtoolkit.nets.sizes import SizeProbe, check_size

NETS = {
    "UNet": (lambda: nets.UNet(2, 1, 2, channels=(2, 4, 8), strides=(2, 2)), 4),
    "DynUNet": (
        lambda: nets.DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[2, 4, 8]),
        4,
    ),
    "SegResNet": (lambda: nets.SegResNet(2, 8, 1, 2), 8),
    "AttentionUnet": (lambda: nets.AttentionUnet(2, 1, 2, (2, 4, 8), (2, 2)), 4),
    "SwinUNETR": (lambda: nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2), 32),
    "BasicUNet": (lambda: nets.BasicUNet(2, 1, 2, features=(2, 2, 4, 4, 8, 2)), 1),
    "MedNeXt": (lambda: nets.MedNeXt(2, 4, 1, 2), 16),
}


@pytest.mark.parametrize("name", NETS)
def test_the_multiple_that_a_net_needs_is_found(name: str) -> None:
    make, multiple = NETS[name]
    probe = SizeProbe(make(), 1, 2)
    rounded = probe.rounded_up((101, 101))
    assert rounded == (-(-101 // multiple) * multiple,) * 2


@pytest.mark.parametrize("size", [(40, 48), (36, 44), (38, 44), (50, 31)])
@pytest.mark.parametrize("name", ["UNet", "AttentionUnet", "SegResNet", "BasicUNet"])
def test_shapes_alone_tell_what_the_net_itself_does(name: str, size: tuple[int, int]) -> None:
    net = NETS[name][0]()
    try:
        agrees = net.train()(torch.rand(2, 1, *size)).shape[2:] == size
    except (RuntimeError, ValueError):
        agrees = False
    assert SizeProbe(net, 1, 2).fits(size) == agrees


def test_axes_are_rounded_up_each_by_what_it_needs() -> None:
    net = nets.UNet(3, 1, 2, channels=(2, 4, 8), strides=((1, 2, 2), (1, 2, 2)))
    assert SizeProbe(net, 1, 3).rounded_up((7, 30, 33)) == (7, 32, 36)


def test_the_message_names_sizes_that_fit() -> None:
    probe = SizeProbe(NETS["SegResNet"][0](), 1, 2)
    with pytest.raises(ConfigError) as caught:
        check_size(probe, (100, 100), name="SegResNet", where="data.patch.size")
    text = str(caught.value)
    assert text.startswith("data.patch.size: net 'SegResNet' cannot take images of [100, 100]")
    assert "Sizes that fit: [96, 96] or [104, 104]" in text


def test_a_bottleneck_of_one_pixel_is_refused_as_in_training() -> None:
    net = nets.UNet(2, 1, 2, channels=(2, 4, 8), strides=(2, 2))
    assert not SizeProbe(net, 1, 2).fits((4, 4))


def test_a_net_that_shrinks_its_image_is_refused() -> None:
    complaint = SizeProbe(nn.Conv2d(1, 2, 3), 1, 2).complaint((16, 16))
    assert complaint == "it returns [14, 14] for an image of [16, 16]"


class _LooksAtValues(nn.Conv2d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image - image.mean().item())


class _MakesOnCpu(nn.Conv2d):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image) + torch.arange(image.shape[-1])


@pytest.mark.parametrize("net", [_LooksAtValues, _MakesOnCpu])
def test_a_net_that_cannot_run_on_shapes_alone_is_not_refused(net: type[nn.Conv2d]) -> None:
    assert SizeProbe(net(1, 2, 3, padding=1), 1, 2).fits((16, 16))


def test_the_net_is_left_as_it_was() -> None:
    net = nets.UNet(2, 1, 2, channels=(2, 4), strides=(2,), norm="batch").eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    SizeProbe(net, 1, 2).rounded_up((9, 9))
    assert not net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
