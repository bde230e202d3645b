"""Spatio-temporal nets: shapes, levels, causality, sizes that fit, weights that learn and last."""

from typing import Any

import pytest
import torch
from torch import nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ConfigError
from imtoolkit.nets.sizes import SizeProbe, check_size
from imtoolkit.nets.stcnnt.cells import Block, Cell
from imtoolkit.nets.stcnnt.grammar import CellSpec, parse_block_string
from imtoolkit.nets.stcnnt.hrnet import Fusion
from imtoolkit.nets.stcnnt.options import CellOptions

SMALL = {"channels": [4, 8], "window": 4, "heads": 2, "mixer_ratio": 1.0}
NAMES = ["stcnnt_unet", "stcnnt_hrnet", "mixed_unetr"]


def built(name: str, spatial_dims: int = 2, out_channels: int | None = 3, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    extra = {"width": 4} if name == "mixed_unetr" else {}
    params = {**SMALL, "blocks": "L1G1T1", **extra, **more}
    filled = {"spatial_dims": spatial_dims, "in_channels": 2, "out_channels": out_channels}
    net: nn.Module = registry.build("net", name, params, **filled)
    return net


@pytest.mark.parametrize("size", [(16, 32), (3, 16, 16), (1, 16, 16)])
@pytest.mark.parametrize("name", NAMES)
def test_the_result_has_the_size_of_the_image(name: str, size: tuple[int, ...]) -> None:
    net = built(name, len(size))
    assert net(torch.randn(2, 2, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("name", NAMES)
def test_without_output_channels_it_gives_feature_maps_finest_first(name: str) -> None:
    net = built(name, out_channels=None)
    maps = net(torch.randn(1, 2, 16, 32))
    assert len(maps) == len(net.feature_channels) == len(net.reductions)
    for found, channels, factor in zip(maps, net.feature_channels, net.reductions, strict=True):
        assert found.shape == (1, channels, 16 // factor, 32 // factor)


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("name", NAMES)
def test_a_coarser_stem_is_made_up_for_at_the_end(name: str, stem: int) -> None:
    net = built(name, 3, stem=stem, blocks="C21")
    assert net(torch.randn(1, 2, 3, 16, 8)).shape == (1, 3, 3, 16, 8)
    assert net.reductions[-2:] == (stem, 2 * stem)


@pytest.mark.parametrize("name", ["stcnnt_unet", "stcnnt_hrnet"])
def test_an_image_is_a_volume_of_one_frame(name: str) -> None:
    net, image = built(name, 3).eval(), torch.randn(1, 2, 16, 16)
    torch.testing.assert_close(net(image), net(image[:, :, None])[:, :, 0])


@pytest.mark.parametrize("name", NAMES)
def test_the_depth_is_halved_where_asked(name: str) -> None:
    net = built(name, 3, out_channels=None, halve_depth=True, blocks="C31")
    sides = [found.shape[2] for found in net(torch.randn(1, 2, 4, 8, 8))]
    assert sides == ([4, 4, 2] if name == "mixed_unetr" else [4, 2])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parallel", [False, True])
def test_every_weight_gets_a_gradient(name: str, parallel: bool) -> None:
    options = {"relative_bias": True, "cosine": True, "parallel": parallel}
    net = built(name, 3, blocks=["C21C30L1G1", "V1T1"], **options)
    net(torch.randn(2, 2, 2, 16, 16)).square().sum().backward()
    zero = [key for key, item in net.named_parameters() if not item.grad.abs().sum() > 0]
    assert not zero


@pytest.mark.parametrize("name", NAMES)
def test_weights_saved_and_loaded_give_the_same_result(name: str) -> None:
    first, second = built(name).eval(), built(name).eval()
    for weight in second.parameters():
        nn.init.normal_(weight)
    image = torch.randn(1, 2, 16, 16)
    assert not torch.allclose(first(image), second(image))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(image), second(image))


@pytest.mark.parametrize("norm", ["layer", "rms", "batch", "instance"])
@pytest.mark.parametrize("name", ["stcnnt_unet", "stcnnt_hrnet"])
def test_a_causal_net_does_not_see_the_future(name: str, norm: str) -> None:
    net = built(name, 3, blocks="L1T1C31", causal=True, relative_bias=True, norm=norm).eval()
    before = torch.randn(1, 2, 4, 8, 8)
    after = before.clone()
    after[:, :, 2] += 1.0
    with torch.no_grad():
        first, second = net(before), net(after)
    torch.testing.assert_close(first[:, :, :2], second[:, :, :2])
    for frame in (2, 3):  # the changed frame, and one after it
        assert not torch.allclose(first[:, :, frame], second[:, :, frame], atol=1e-4)


def test_a_net_that_is_not_causal_sees_the_future() -> None:
    net = built("stcnnt_unet", 3, blocks="T1").eval()
    before = torch.randn(1, 2, 4, 8, 8)
    after = before.clone()
    after[:, :, 3] += 1.0
    assert not torch.allclose(net(before)[:, :, 0], net(after)[:, :, 0], atol=1e-4)


def test_a_cell_adds_its_parts_one_after_the_other_or_side_by_side() -> None:
    frames = torch.randn(1, 4, 2, 8, 8)
    for parallel in (False, True):
        cell = Cell(4, CellSpec("L", True), CellOptions(window=4, heads=2, parallel=parallel))
        normed = cell.norm(frames)
        first = frames + cell.attention(normed)
        assert cell.mixer is not None
        if parallel:
            assert cell.mixer_norm is None
            expected = first + cell.mixer(normed)
        else:
            assert cell.mixer_norm is not None
            expected = first + cell.mixer(cell.mixer_norm(first))
        torch.testing.assert_close(cell(frames), expected)


def test_0_leaves_the_mixer_out() -> None:
    options = CellOptions(window=4, heads=2)
    block = Block(4, parse_block_string("L0C21"), options)
    assert [cell.mixer is None for cell in block] == [True, False]


@pytest.mark.parametrize(("kind", "reach"), [("C2", {1}), ("C3", {0, 1, 2})])
def test_c2_sees_its_frame_and_c3_the_next_ones(kind: str, reach: set[int]) -> None:
    cell = Cell(4, CellSpec(kind, False), CellOptions(kernel=3, norm="layer"))
    frames = torch.randn(1, 4, 3, 8, 8, requires_grad=True)
    cell(frames)[0, :, 1, 4, 4].sum().backward()
    seen = frames.grad[0].abs().sum((0, 2, 3)) > 0
    assert {frame for frame in range(3) if seen[frame]} == reach


def test_instance_norm_is_that_of_each_frame() -> None:
    frames = torch.randn(2, 4, 3, 8, 8) * 5 + 3
    normed = Cell(4, CellSpec("C2", False), CellOptions(norm="instance")).norm(frames)
    spread = normed.var((3, 4), correction=0)
    torch.testing.assert_close(normed.mean((3, 4)), torch.zeros(2, 4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(spread, torch.ones(2, 4, 3), rtol=1e-3, atol=0)


def test_levels_have_their_own_blocks_windows_and_heads() -> None:
    net = built(
        "stcnnt_unet", blocks=["C21", "L1V1"], decoder_blocks="G0", window=[8, 4], heads=[1, 4]
    )
    assert [[cell.attention._get_name() for cell in block] for block in net.encoders] == [
        ["ConvolutionPair"],
        ["LocalAttention", "PatchAttention"],
    ]
    assert [cell.attention._get_name() for cell in net.decoders[0]] == ["GlobalAttention"]
    options = [net.decoders[0][0].attention.options, net.encoders[1][0].attention.options]
    assert [(one.window, one.heads) for one in options] == [(8, 1), (4, 4)]


def test_streams_get_the_sum_of_all_and_one_more() -> None:
    fusion = Fusion([4, 8], [4, 8, 16], (1, 2, 2))
    fine, coarse = torch.randn(1, 4, 2, 8, 8), torch.randn(1, 8, 2, 4, 4)
    first, second, third = fusion([fine, coarse])
    assert third.shape == (1, 16, 2, 2, 2)
    down = fusion.paths[1][0]
    torch.testing.assert_close(second, down(fine) + coarse)
    raised = nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear")(fusion.paths[0][1](coarse))
    torch.testing.assert_close(first, fine + raised)


def test_an_hrnet_has_as_many_stages_as_asked() -> None:
    net = built("stcnnt_hrnet", stages=4)
    assert [len(streams) for streams in net.stages] == [1, 2, 2, 2]
    assert net(torch.randn(1, 2, 16, 16)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_a_window_that_does_not_divide_is_refused_with_the_level_and_sizes_that_fit(
    name: str,
) -> None:
    net = built(name, channels=[4, 8, 16], window=8)
    with pytest.raises(ValueError, match="Sizes that fit") as caught:
        net(torch.zeros(1, 2, 72, 128))
    text = str(caught.value)
    assert "got images of 72 x 128 (Y x X); level" in text
    assert "windows of 8 x 8, which do not divide its map of" in text
    assert "Sizes that fit: 64 x 128 (Y x X) or" in text


def test_sizes_named_in_the_message_fit() -> None:
    net = built("stcnnt_unet", channels=[4, 8, 16], window=8)
    for size in ((64, 128), (96, 128), (32, 32), (12, 20)):
        fits = net.fitting.fits(size)
        assert fits == (size != (12, 20))
        assert SizeProbe(net, 2, 2).fits(size) == fits


def test_blocks_of_the_decoder_need_fitting_sizes_as_well() -> None:
    net = built("stcnnt_unet", blocks="C21", decoder_blocks="L1", window=8)
    with pytest.raises(ValueError, match="level 0 has windows of 8 x 8"):
        net(torch.zeros(1, 2, 20, 20))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_alone_tell_the_sizes_that_a_net_takes(name: str) -> None:
    probe = SizeProbe(built(name), 2, 2)
    assert probe.fits((16, 32))
    assert not probe.fits((18, 32))
    assert "Sizes that fit" in str(probe.complaint((18, 32)))
    rounded = probe.rounded_up((18, 30))
    assert rounded is not None
    assert probe.fits(rounded)


def test_the_check_of_a_config_shows_window_and_map() -> None:
    probe = SizeProbe(built("stcnnt_unet", window=8), 2, 2)
    with pytest.raises(ConfigError) as caught:
        check_size(probe, (36, 36), name="stcnnt_unet", where="data.patch.size")
    assert str(caught.value) == (
        "data.patch.size: net 'stcnnt_unet' got images of 36 x 36 (Y x X); level 0 has windows of "
        "8 x 8, which do not divide its map of 36 x 36. Sizes that fit: 32 x 32 (Y x X) or "
        "48 x 48 (Y x X)"
    )


def test_depth_that_cannot_be_halved_is_refused() -> None:
    net = built("stcnnt_unet", 3, blocks="C31", halve_depth=True)
    with pytest.raises(ValueError, match="level 1 is 2 times coarser in Z"):
        net(torch.zeros(1, 2, 3, 8, 8))
    with pytest.raises(ValueError, match="level 1 is 2 times coarser in Z"):
        net(torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("stcnnt_unet", {"blocks": ["L1"]}, r"1 block string\(s\) \['L1'\] for 2 levels"),
        ("stcnnt_unet", {"blocks": "L1Q"}, "The grammar: a block is one or more cells"),
        ("stcnnt_unet", {"heads": [2, 2, 2]}, "one number, or one for each level"),
        ("stcnnt_unet", {"heads": 3}, "3 heads do not divide 4 channels"),
        ("stcnnt_unet", {"halve_depth": True}, "spatial_dims=2: no Z"),
        ("stcnnt_hrnet", {"stages": 1}, "got stages=1 for 2 streams"),
        ("mixed_unetr", {"causal": True}, "see the future"),
        ("mixed_unetr", {"encoder": "tiny"}, "takes none of the options of blocks"),
        ("mixed_unetr", {"encoder": "huge"}, "blocks, tiny, small, base, large"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    name: str, params: dict[str, Any], says: str
) -> None:
    with pytest.raises(Exception, match=says):
        built(name, **params)


def test_a_mixed_unetr_can_stand_on_a_swin_transformer() -> None:
    with torch.device("meta"):
        net: nn.Module = registry.build(
            "net",
            "mixed_unetr",
            {"encoder": "tiny", "width": 8},
            spatial_dims=3,
            in_channels=1,
            out_channels=2,
        )
    assert net.reductions == (1, 4, 8, 16, 32)
    image = torch.empty(1, 1, 5, 70, 64, device="meta")
    assert net(image).shape == (1, 2, 5, 70, 64)  # any size fits
