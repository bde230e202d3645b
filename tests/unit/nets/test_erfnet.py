"""ERFNet and its branched form: what the papers say, sizes, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from imtoolkit.core.errors import ConfigError
from imtoolkit.nets.erfnet import BranchedERFNet, DownBlock, ERFNet, FactorisedBlock
from imtoolkit.nets.sizes import SizeProbe, check_size

SMALL = {"channels": (4, 8, 8), "blocks": (1, 2), "decoder_blocks": 1}


def test_it_has_the_weights_that_the_layers_of_the_paper_say() -> None:
    def down(into: int, out: int) -> int:
        return 9 * into * (out - into) + (out - into) + 2 * out

    def block(width: int) -> int:
        return 4 * (3 * width * width + width) + 2 * 2 * width

    encoder = down(3, 16) + down(16, 64) + 5 * block(64) + down(64, 128) + 8 * block(128)
    decoder = 9 * 128 * 64 + 64 + 2 * 64 + 2 * block(64) + 9 * 64 * 16 + 16 + 2 * 16 + 2 * block(16)
    last = 4 * 16 * 20 + 20
    net = ERFNet(2, 3, 20)
    assert sum(weight.numel() for weight in net.parameters()) == encoder + decoder + last
    dilations = [
        part.change[-3].dilation[-1] for part in net.encoder if isinstance(part, FactorisedBlock)
    ]
    assert dilations == [1] * 5 + [2, 4, 8, 16] * 2


def test_each_decoder_has_its_own_channels() -> None:
    net = BranchedERFNet(2, 1, 5, **SMALL).eval()
    image = torch.randn(1, 1, 16, 16)
    before = net(image)
    with torch.no_grad():
        for weight in net.decoders[1].parameters():
            weight.zero_()
    after = net(image)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])
    assert BranchedERFNet(2, 1, 6, seed_channels=2, **SMALL)(image).shape[1] == 6


def test_blocks_in_3d_convolve_along_each_axis() -> None:
    kernels = [
        part.kernel_size for part in FactorisedBlock(3, 4).modules() if isinstance(part, nn.Conv3d)
    ]
    assert kernels == 2 * [(3, 1, 1), (1, 3, 1), (1, 1, 3)]


def test_stacks_of_few_slices_keep_them() -> None:
    strides = ([1, 2, 2], [1, 2, 2], 2)
    net = BranchedERFNet(3, 1, 7, strides=strides, **SMALL)
    assert net(torch.zeros(1, 1, 6, 16, 24)).shape == (1, 7, 6, 16, 24)


def test_a_level_that_does_not_widen_is_convolved_whole() -> None:
    assert DownBlock(2, 8, 8)(torch.zeros(1, 8, 4, 4)).shape == (1, 8, 2, 2)
    net = ERFNet(2, 5, 2, channels=(4, 4), blocks=(1,))
    assert net(torch.zeros(1, 5, 8, 8)).shape == (1, 2, 8, 8)


def test_sizes_that_do_not_fit_are_told_with_those_that_do() -> None:
    probe = SizeProbe(BranchedERFNet(2, 1, 5, **SMALL), 1, 2)
    assert probe.fits((64, 40))
    assert probe.rounded_up((60, 33)) == (64, 40)
    with pytest.raises(ConfigError, match=r"Sizes that fit: \[96, 96\] or \[104, 104\]"):
        check_size(probe, (100, 100), name="BranchedERFNet", where="data.patch.size")


def test_what_makes_no_net_is_refused() -> None:
    with pytest.raises(ValueError, match="blocks for each after the first"):
        ERFNet(2, 1, 2, channels=(4, 8))
    with pytest.raises(ValueError, match="one channel for each decoder"):
        BranchedERFNet(2, 1, 1)
