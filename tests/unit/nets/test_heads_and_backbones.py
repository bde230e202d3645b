"""Heads and backbones: shapes, closed forms, and nets of MONAI under their bare names."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.nets import resnet18
from torch import nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.core.facts import DataFacts
from imtoolkit.nets.building import build_net
from imtoolkit.nets.features import tokens_to_map
from imtoolkit.nets.global_pool import GlobalPoolHead, GlobalPooling
from imtoolkit.nets.heads import (
    ChannelNorm,
    DenseHead,
    NormPoolLinear,
    SimpleConv,
    SimpleMultidepthConv,
)
from imtoolkit.nets.mlp import MLP
from imtoolkit.nets.outputs import main_output
from imtoolkit.nets.resnet import DEPTHS, ResNet
from imtoolkit.nets.transformer import PatchTransformer, positions
from imtoolkit.nets.unet_features import UNetFeatures
from imtoolkit.nets.vit import VisionTransformer

SMALL = DataFacts(2, 1, patch_size=(28, 28), tabular=("age", "sex=f"))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", ["global_pool", "norm_pool_linear", "conv_pool_linear"])
def test_heads_that_pool_give_numbers_in_any_dimension(name: str, dims: int) -> None:
    params = {} if name == "global_pool" else {"spatial_dims": dims}
    head = registry.build("net", name, {"in_channels": 8, "out_channels": 3, **params})
    assert head.pools
    output = head(torch.rand(2, 8, *(6, 5, 4)[:dims]))
    assert output.shape == (2, 3)
    output.sum().backward()
    assert all(weight.grad is not None for weight in head.parameters())


def test_pooling_is_what_its_name_says() -> None:
    features = torch.rand(2, 3, 4, 5)
    mean, top = features.mean((2, 3)), features.amax((2, 3))
    assert torch.allclose(GlobalPooling(3, "avg")(features), mean)
    assert torch.equal(GlobalPooling(3, "max")(features), top)
    assert torch.allclose(GlobalPooling(3, "avgmax")(features), torch.cat([mean, top], 1))
    assert torch.allclose(GlobalPooling(3)(mean), mean)


def test_attention_with_equal_scores_is_the_mean_and_follows_the_score_otherwise() -> None:
    pooling = GlobalPooling(2, "attention")
    features = torch.zeros(1, 2, 1, 2)
    features[0, 0, 0, 1] = 1.0
    assert pooling.score is not None
    for weight in pooling.score.parameters():
        nn.init.zeros_(weight)
    assert torch.allclose(pooling(features), features.mean((2, 3)))
    pooling.score[0].weight.data[0, 0] = 100.0  # type: ignore[index, union-attr]
    pooling.score[2].weight.data[0, 0] = 100.0  # type: ignore[index, union-attr]
    assert torch.allclose(pooling(features), torch.tensor([[1.0, 0.0]]))


def test_a_head_without_hidden_layers_is_linear_in_the_pooled_features_and_the_table() -> None:
    head = GlobalPoolHead(3, 2, tabular=True, tabular_features=4, tabular_hidden=())
    features, table = torch.rand(5, 3, 6, 6), torch.rand(5, 4)
    joined = torch.cat([features.mean((2, 3)), table], dim=1)
    assert head.inputs == ("image", "tabular")
    assert torch.allclose(head(features, table), head.out(joined))


def test_tabular_data_that_are_not_there_are_asked_for() -> None:
    with pytest.raises(ComponentError, match=r"data\.tabular"):
        GlobalPoolHead(3, 2, tabular=True)
    with pytest.raises(ComponentError, match=r"data\.tabular"):
        MLP(3, 2, reads="tabular")


def test_norm_pool_linear_is_the_layer_norm_of_torch_on_each_pixel() -> None:
    head = NormPoolLinear(4, 2, 2)
    features = torch.rand(3, 4, 5, 6)
    normed = nn.functional.layer_norm(features.permute(0, 2, 3, 1), (4,))
    assert torch.allclose(head(features), head.out(normed.mean((1, 2))), atol=1e-6)
    vector = torch.rand(3, 4)
    assert torch.allclose(ChannelNorm(4)(vector), nn.functional.layer_norm(vector, (4,)))


@pytest.mark.parametrize("dims", [2, 3])
def test_dense_heads_keep_the_size_of_the_map(dims: int) -> None:
    features = torch.rand(2, 8, *(6, 8, 10)[:dims])
    for head in (SimpleConv(8, 3, dims), DenseHead(8, 3, dims, hidden=[4, 4], dropout=0.1)):
        assert head(features).shape == (2, 3, *features.shape[2:])


def test_a_simple_conv_of_one_pixel_is_a_linear_layer_for_each_pixel() -> None:
    head = SimpleConv(4, 2, 2, kernel_size=1)
    features = torch.rand(1, 4, 3, 3)
    weight = head.conv.weight[:, :, 0, 0]  # type: ignore[index, union-attr]
    expected = torch.einsum("kc,bcyx->bkyx", weight, features) + head.conv.bias.view(1, -1, 1, 1)  # type: ignore[operator, union-attr]
    assert torch.allclose(head(features), expected, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_multidepth_head_reads_all_maps(dims: int) -> None:
    head = SimpleMultidepthConv([4, 8], 3, dims, channels=4)
    maps = [torch.rand(1, 4, *(8,) * dims), torch.rand(1, 8, *(4,) * dims)]
    first = head(maps)
    assert first.shape == (1, 3, *(8,) * dims)
    assert not torch.allclose(first, head([maps[0], maps[1] + torch.rand_like(maps[1])]))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("depth", [18, 50])
def test_a_resnet_tells_what_it_gives(depth: int, dims: int) -> None:
    for stem in ("small", "imagenet"):
        net = ResNet(1, dims, depth=depth, width=2, stem=stem).eval()  # type: ignore[arg-type]
        maps = net(torch.rand(1, 1, *(32,) * dims))
        assert tuple(one.shape[1] for one in maps) == net.feature_channels
        assert tuple(32 // one.shape[2] for one in maps) == net.reductions


def test_depths_have_the_blocks_of_the_paper() -> None:
    per_block = {"basic": 2, "bottleneck": 3}
    counted = {depth: per_block[kind] * sum(blocks) + 2 for depth, (kind, blocks) in DEPTHS.items()}
    assert all(depth == count for depth, count in counted.items())


def test_the_large_stem_is_that_of_monai_and_the_small_one_is_chosen_for_small_images() -> None:
    own = ResNet(3, 2, 5)
    theirs = resnet18(
        spatial_dims=2, n_input_channels=3, num_classes=5, conv1_t_stride=2, bias_downsample=False
    )
    theirs.load_state_dict(own.state_dict())
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(own.eval()(image), theirs.eval()(image))
    assert ResNet(1, 2, 2, image_size=(28, 28)).no_max_pool
    assert not ResNet(1, 2, 2, image_size=(224, 224)).no_max_pool


def test_the_norm_of_a_resnet_is_everywhere() -> None:
    net = ResNet(1, 2, 2, width=4, norm="instance")
    assert not any(isinstance(part, nn.BatchNorm2d) for part in net.modules())


def test_a_resnet_of_another_depth_is_refused() -> None:
    with pytest.raises(ComponentError, match="depth is one of 10, 18"):
        ResNet(1, 2, depth=20)


def test_a_unet_gives_logits_or_its_maps() -> None:
    params: dict[str, Any] = {"features": (4, 4, 8, 8, 16, 4)}
    logits = UNetFeatures(2, 1, 3, **params)
    image = torch.rand(1, 1, 40, 36)
    assert logits(image).shape == (1, 3, 40, 36)
    maps = UNetFeatures(2, 1, **params)
    maps.load_state_dict(logits.state_dict(), strict=False)
    assert torch.allclose(logits.final_conv(maps(image)[0]), logits(image), atol=1e-6)


def test_an_mlp_without_hidden_layers_is_a_linear_layer_on_the_pixels() -> None:
    net = MLP(1, 3, hidden=(), image_size=(4, 4))
    image = torch.rand(2, 1, 4, 4)
    assert net.out is not None
    assert torch.allclose(net(image), net.out(image.flatten(1)))
    with pytest.raises(ComponentError, match=r"made for \[1, 4, 4\]"):
        net(torch.rand(1, 1, 5, 5))


def test_an_mlp_reads_the_table_alone_or_with_the_image() -> None:
    table = build_net("mlp", {"reads": "tabular"}, SMALL, 2)
    both = build_net("mlp", {"reads": "both", "hidden": [8]}, SMALL, 2)
    assert table.inputs == ("tabular",)
    assert table(torch.rand(3, 2)).shape == (3, 2)
    assert both.hidden[0].in_features == 28 * 28 + 2
    assert both(torch.rand(3, 1, 28, 28), torch.rand(3, 2)).shape == (3, 2)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_a_transformer_takes_any_size(dims: int) -> None:
    net = PatchTransformer(2, dims, patch_size=4, hidden_size=24, num_layers=1, num_heads=2)
    assert net(torch.rand(2, 2, *(9, 12, 4)[:dims])).shape == (2, 24, *(3, 3, 1)[:dims])
    logits = PatchTransformer(2, dims, 3, patch_size=4, hidden_size=24, num_layers=1, num_heads=2)
    output = logits(torch.rand(2, 2, *(9, 12, 4)[:dims]))
    assert output.shape == (2, 3)
    output.sum().backward()
    assert all(weight.grad is not None for weight in logits.parameters())


def test_positions_of_all_patches_differ() -> None:
    encoded = positions((3, 4, 5), 24)
    distances = torch.cdist(encoded, encoded) + torch.eye(60) * 10
    assert distances.min() > 0.1


def test_tokens_become_the_map_that_they_were_made_of() -> None:
    conv = nn.Conv3d(1, 6, 4, stride=4)
    image = torch.rand(1, 1, 8, 12, 16)
    made = conv(image)
    tokens = made.flatten(2).transpose(1, 2)
    assert torch.equal(tokens_to_map(tokens, (8, 12, 16)), made)
    with_class = torch.cat([torch.zeros(1, 1, 6), tokens], dim=1)
    assert torch.equal(tokens_to_map(with_class, (8, 12, 16)), made)


def test_patches_that_do_not_divide_the_image_are_told_with_sizes_that_do() -> None:
    with pytest.raises((ComponentError, ConfigError), match=r"\[8, 8\] do not divide .*\[24, 24\]"):
        build_net("vit", {"patch_size": 8}, SMALL, 2)


def test_a_vit_gives_the_maps_that_are_named() -> None:
    net = VisionTransformer(
        1, (16, 16, 16), 3, hidden_size=12, num_heads=2, num_layers=2, maps=[1, 2]
    )
    maps = net(torch.rand(1, 1, 16, 16, 16))
    assert [tuple(one.shape) for one in maps] == [(1, 12, 2, 2, 2)] * 2
    with pytest.raises(ComponentError, match="maps names block 3"):
        VisionTransformer(1, (16, 16), 2, num_layers=2, maps=[3])


@pytest.mark.parametrize(
    ("name", "params", "side"),
    [
        ("resnet", {"width": 4}, 28),
        ("resnet10", {}, 28),
        ("mlp", {}, 28),
        ("vit", {"patch_size": 7, "hidden_size": 12, "num_heads": 2, "num_layers": 1}, 28),
        ("transformer", {"hidden_size": 16, "num_heads": 2, "num_layers": 1}, 28),
        ("ViT", {"patch_size": 7, "hidden_size": 12, "num_heads": 2, "num_layers": 1}, 28),
        ("DenseNet121", {"block_config": [1, 1, 1, 1]}, 32),
        ("EfficientNetBN", {"model_name": "efficientnet-b0"}, 32),
        ("SENet154", {"layers": [1, 1, 1, 1]}, 28),
        ("Classifier", {"channels": [4, 8], "strides": [2, 2]}, 28),
        ("inception_resnet_v2", {"blocks": [1, 1, 1], "width": 0.125}, 32),
    ],
)
def test_nets_classify_under_their_bare_names(name: str, params: dict[str, Any], side: int) -> None:
    facts = DataFacts(2, 1, patch_size=(side, side))
    net = build_net(name, params, facts, 3)
    output = main_output(net(torch.rand(2, 1, side, side)), net, 2)
    assert isinstance(output, torch.Tensor)
    assert output.shape == (2, 3)


def test_the_vit_of_monai_gives_logits_without_bounds() -> None:
    params = {"patch_size": 7, "hidden_size": 12, "num_heads": 2, "num_layers": 1}
    net = build_net("ViT", params, SMALL, 3)
    assert isinstance(net.classification_head, nn.Linear)


def test_a_regressor_of_monai_is_given_the_numbers_of_the_task() -> None:
    net = build_net("Regressor", {"channels": [4, 8], "strides": [2, 2]}, SMALL, 2)
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 2)


def test_a_resnet_learns_which_small_image_is_bright() -> None:
    torch.manual_seed(0)
    net = build_net("resnet", {"width": 4, "depth": 10}, SMALL, 2)
    labels = torch.tensor([0, 1] * 8)
    images = torch.rand(16, 1, 28, 28) + labels.view(-1, 1, 1, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert (net(images).argmax(1) == labels).all()
