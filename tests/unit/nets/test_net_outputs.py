"""Outputs of several resolutions come with the main one first, whatever the net calls them."""

import pytest
import torch
from monai.networks import nets
from torch import nn

from imtoolkit.nets.outputs import all_outputs, main_output

DYNUNET = {"kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3}


def _nets() -> dict[str, tuple[nn.Module, int]]:
    return {
        "DynUNet": (
            nets.DynUNet(
                2, 1, 3, filters=[2, 4, 8, 8], deep_supervision=True, deep_supr_num=2, **DYNUNET
            ),
            3,
        ),
        "SegResNetDS": (nets.SegResNetDS(2, 4, 1, 3, dsdepth=3), 3),
        "MedNeXt": (nets.MedNeXt(2, 4, 1, 3, deep_supervision=True), 5),
        "BasicUNetPlusPlus": (
            nets.BasicUNetPlusPlus(2, 1, 3, features=(2, 2, 4, 4, 8, 2), deep_supervision=True),
            4,
        ),
        "UNet": (nets.UNet(2, 1, 3, channels=(2, 4), strides=(2,)), 1),
        "SegResNetVAE": (nets.SegResNetVAE([32, 32], spatial_dims=2, out_channels=3), 1),
    }


@pytest.mark.parametrize("name", _nets())
def test_training_gives_all_outputs_and_evaluation_the_first(name: str) -> None:
    net, count = _nets()[name]
    image = torch.rand(2, 1, 32, 32)
    outputs = all_outputs(net.train()(image), net, 2)
    assert len(outputs) == count
    assert all(output.shape[:2] == (2, 3) for output in outputs)
    assert main_output(net.eval()(image), net, 2).shape == (2, 3, 32, 32)


def test_the_main_output_of_unet_plus_plus_is_its_last() -> None:
    net = nets.BasicUNetPlusPlus(2, 1, 3, features=(2, 2, 4, 4, 8, 2), deep_supervision=True)
    raw = net.eval()(torch.rand(1, 1, 32, 32))
    assert torch.equal(main_output(raw, net, 2), raw[-1])


def test_named_outputs_stay_named() -> None:
    named = {"a": torch.zeros(1)}
    assert all_outputs(named, nn.Identity(), 2) is named
