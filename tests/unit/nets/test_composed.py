"""Nets made of parts: what flows between them, what reaches them, and what is refused."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.core.facts import DataFacts
from imtoolkit.nets.building import build_net
from imtoolkit.nets.composed import Composed, MultiHead
from imtoolkit.nets.inputs import inputs_of
from imtoolkit.nets.multi_stream import MultiStream
from imtoolkit.nets.outputs import main_output
from imtoolkit.nets.resnet import ResNet
from imtoolkit.nets.siamese import Siamese
from imtoolkit.nets.sizes import SizeProbe
from imtoolkit.nets.wrapped import Wrapped
from imtoolkit.optim.blocks import block_numbers

TINY_UNET = {"name": "unet_features", "params": {"features": [4, 4, 4, 4, 8, 4]}}


def facts(dims: int = 2, channels: int = 1, side: int = 32, tabular: int = 0) -> DataFacts:
    names = tuple(f"column{index}" for index in range(tabular))
    return DataFacts(dims, channels, patch_size=(side,) * dims, tabular=names)


def part(name: str, **params: Any) -> dict[str, Any]:
    return {"name": name, "params": params}


def run(net: nn.Module, known: DataFacts) -> Any:
    assert known.patch_size is not None
    torch.manual_seed(0)
    image = torch.rand(2, known.in_channels, *known.patch_size)
    table = torch.rand(2, len(known.tabular))
    return net(*[table if key == "tabular" else image for key in inputs_of(net)])


def assert_gradients_reach_all(net: nn.Module, output: Any) -> None:
    tensors = output.values() if isinstance(output, dict) else [output]
    sum(item.square().mean() for item in tensors).backward()
    idle = [name for name, weight in net.named_parameters() if weight.grad is None]
    assert not idle, idle


def names(net: nn.Module) -> set[str]:
    return {name.partition(".")[0] for name, _ in net.named_parameters()}


@pytest.mark.parametrize("dims", [2, 3])
def test_three_parts_give_a_dense_output_in_the_size_of_the_image(dims: int) -> None:
    known = facts(dims)
    params = {
        "backbone": part("resnet", width=4, depth=10),
        "post": "dense",
    }
    params["pre"] = part(f"Conv{dims}d", out_channels=3, kernel_size=3, padding=1)
    net = build_net("composed", params, known, 5)
    output = run(net, known)
    assert output.shape == (2, 5, *known.patch_size)  # type: ignore[misc]
    assert net.backbone.conv1.in_channels == 3
    assert names(net) == {"pre", "backbone", "post"}
    assert_gradients_reach_all(net, output)
    assert SizeProbe(net, 1, dims).fits((48,) * dims)


def test_identity_parts_leave_the_part_between_as_it_is() -> None:
    inner = nn.Conv2d(1, 2, 3, padding=1)
    image = torch.rand(1, 1, 9, 9)
    for net in (Composed(inner), Composed(inner, nn.Identity(), nn.Identity())):
        assert torch.equal(net(image), inner(image))


def test_a_backbone_alone_is_given_the_outputs_of_the_task() -> None:
    net = build_net(
        "composed", {"backbone": part("UNet", channels=[4, 8], strides=[2])}, facts(), 3
    )
    assert run(net, facts()).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(
    ("backbone", "side"),
    [
        (part("resnet10"), 28),
        (part("DenseNet121", block_config=[2, 2, 2, 2]), 32),
        (part("EfficientNetBN", model_name="efficientnet-b0"), 48),
        (part("ViT", patch_size=8, hidden_size=12, num_heads=2, num_layers=1, mlp_dim=8), 32),
        (part("vit", hidden_size=12, num_heads=2, num_layers=2, maps=[1, 2]), 32),
        (part("transformer", hidden_size=16, num_heads=2, num_layers=1), 28),
        (part("UNet", channels=[4, 8], strides=[2]), 32),
        (part("SegResNetDS", init_filters=8, blocks_down=[1, 1]), 32),
        (part("inception_resnet_v2", blocks=[1, 1, 1], width=0.125), 64),
        (TINY_UNET, 32),
    ],
    ids=lambda item: item["name"] if isinstance(item, dict) else str(item),
)
@pytest.mark.parametrize("head", ["global_pool", "simple_multidepth_conv"])
def test_any_net_is_a_backbone_for_a_head_that_pools_and_for_a_dense_one(
    backbone: dict[str, Any], side: int, head: str
) -> None:
    known = facts(side=side)
    net = build_net("composed", {"backbone": backbone, "post": head}, known, 3)
    shape = (2, 3) if head == "global_pool" else (2, 3, side, side)
    with torch.no_grad():
        assert run(net, known).shape == shape


def test_the_maps_that_a_backbone_gives_are_those_that_it_tells() -> None:
    for backbone in (part("resnet", width=4, depth=50), TINY_UNET, part("resnet", stem="imagenet")):
        net = build_net("composed", {"backbone": backbone, "post": "global_pool"}, facts(), 2)
        maps = net.backbone(torch.rand(2, 1, 32, 32))
        assert tuple(one.shape[1] for one in maps) == net.backbone.feature_channels
        assert tuple(32 // one.shape[2] for one in maps) == net.backbone.reductions


def test_a_decoder_is_told_how_far_the_maps_lie_apart() -> None:
    known = facts(3)
    maps = part("omnivore", size="custom", width=8, depths=[1, 1], heads=[2, 2])
    net = build_net("composed", {"backbone": maps, "post": "unetr_head"}, known, 2)
    sizes = [one.shape[2:] for one in net.backbone(torch.zeros(1, 1, 32, 32, 32))]
    assert net.post.strides == tuple(
        tuple(fine // coarse for fine, coarse in zip(*pair, strict=True))
        for pair in itertools.pairwise(sizes)
    )


def test_a_classifier_that_no_head_needs_is_taken_off() -> None:
    net = build_net("composed", {"backbone": "resnet10", "post": "global_pool"}, facts(), 2)
    assert not any("fc" in name for name, _ in net.named_parameters())
    assert_gradients_reach_all(net, run(net, facts()))


def test_a_classifier_is_taken_off_a_module_from_python_as_well() -> None:
    image = torch.rand(2, 1, 32, 32)
    heads = {"kind": registry.build("net", "global_pool", {"in_channels": 32, "out_channels": 2})}
    for made in (Composed(ResNet(1, 2, 5, width=4), post=heads["kind"]),
                 MultiHead(ResNet(1, 2, 5, width=4), heads)):  # fmt: skip
        assert_gradients_reach_all(made, made(image))


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("vit", {"hidden_size": 12, "num_heads": 2, "num_layers": 1}),
        ("ViT", {"patch_size": 16, "hidden_size": 12, "mlp_dim": 8, "num_heads": 2}),
        ("UNETR", {"feature_size": 4, "hidden_size": 12, "mlp_dim": 8, "num_heads": 2}),
        ("FlexibleUNet", {"backbone": "efficientnet-b0"}),
        ("BasicUNetPlusPlus", {"features": [4, 4, 4, 4, 8, 4]}),
    ],
)
def test_every_trained_weight_gets_a_gradient_as_distributed_training_needs(
    name: str, params: dict[str, Any]
) -> None:
    net = build_net(name, params, facts(side=32), 2)
    output = main_output(net(torch.rand(2, 1, 32, 32)), net, 2)
    assert isinstance(output, Tensor)
    output.square().mean().backward()
    trained = [(name, weight) for name, weight in net.named_parameters() if weight.requires_grad]
    assert [name for name, weight in trained if weight.grad is None] == []


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("unet_features", TINY_UNET["params"]),
        ("omnivore", {"size": "custom", "width": 8, "depths": [1, 1], "heads": [2, 2]}),
        ("stcnnt_unet", {"channels": [8, 16], "heads": 2, "blocks": "C21"}),
        ("resnet", {"width": 4, "depth": 10}),
    ],
)
@pytest.mark.parametrize("post", ["global_pool", "dense"])
def test_what_a_head_does_not_take_of_a_backbone_is_not_trained(
    name: str, params: dict[str, Any], post: str
) -> None:
    known = facts()
    net = build_net("composed", {"backbone": part(name, **params), "post": post}, known, 2)
    run(net, known).square().mean().backward()
    for weight in net.parameters():
        assert (weight.grad is not None) == weight.requires_grad
    frozen = [key for key, weight in net.named_parameters() if not weight.requires_grad]
    assert bool(frozen) == (name == "omnivore" or (post == "global_pool" and name != "resnet"))


def test_heads_come_last_in_the_order_of_blocks_for_layer_wise_decay() -> None:
    def conv() -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))

    def head() -> nn.Module:
        return nn.Conv2d(2, 2, 1)

    nets = [
        Composed(conv(), pre=conv(), post=head()),
        MultiHead(conv(), {"a": head(), "b": head()}),
        Siamese(conv(), heads={"a": head()}, join="sum"),
        Siamese(conv(), each={"a": head()}),
        MultiStream({"a": {"net": conv(), "channels": [0, 1]}}, post=head()),
    ]
    for net in nets:
        numbers = block_numbers(net)
        last = max(numbers.values())
        assert last > 0
        heads = {name for name in numbers if name.startswith(("post", "heads", "each"))}
        assert heads == {name for name, number in numbers.items() if number == last}


@pytest.mark.parametrize("dims", [2, 3])
def test_heads_of_both_kinds_share_a_backbone(dims: int) -> None:
    known = facts(dims, tabular=3)
    heads = {"mask": "dense", "grade": part("global_pool", tabular=True)}
    wanted = {"mask": 2, "grade": 4}
    net = build_net("multi_head", {"backbone": TINY_UNET, "heads": heads}, known, wanted)
    output = run(net, known)
    assert inputs_of(net) == ("image", "tabular")
    assert output["mask"].shape == (2, 2, *known.patch_size)  # type: ignore[misc]
    assert output["grade"].shape == (2, 4)
    assert_gradients_reach_all(net, output)


def test_the_table_changes_the_output_of_the_head_that_joins_it() -> None:
    known = facts(tabular=2)
    params = {"backbone": part("resnet", width=4), "post": part("global_pool", tabular=True)}
    net = build_net("composed", params, known, 2).eval()
    image = torch.rand(1, 1, 32, 32)
    first, second = (net(image, torch.full((1, 2), value)) for value in (0.0, 1.0))
    assert not torch.allclose(first, second)


def test_one_stream_over_all_channels_is_its_net() -> None:
    inner = nn.Conv2d(2, 3, 3, padding=1)
    image = torch.rand(1, 2, 8, 8)
    for join in ("concat", "sum", "mean", "max"):
        net = MultiStream({"all": {"net": inner, "channels": [0, 1]}}, join)
        assert torch.equal(net(image), inner(image))


def test_each_stream_sees_its_channels_alone() -> None:
    known = facts(channels=3)
    streams = {
        "dapi": {"net": part("resnet", width=4), "channels": [2]},
        "rest": {"net": part("resnet", width=8), "channels": [0, 1]},
    }
    net = build_net("multi_stream", {"streams": streams, "post": "global_pool"}, known, 2).eval()
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[:, 2] += 1
    before, after = net._stream("rest", {"image": image}), net._stream("rest", {"image": changed})
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))
    assert net.post.pooling.out_channels == 8 * (4 + 8)
    output = net.train()(torch.rand(2, 3, 32, 32))
    assert output.shape == (2, 2)
    assert_gradients_reach_all(net, output)


def test_logits_of_streams_are_summed_where_there_is_no_head() -> None:
    known = facts(channels=2)
    streams = {"a": part("resnet", width=4), "b": part("resnet", width=4)}
    net = build_net("multi_stream", {"streams": streams, "join": "sum"}, known, 3).eval()
    image = torch.rand(1, 2, 32, 32)
    expected = net.streams["a"](image[:, :1]) + net.streams["b"](image[:, 1:])
    assert torch.allclose(net(image), expected)


def test_streams_are_a_backbone_as_well() -> None:
    known = facts(channels=2)
    streams = {"a": TINY_UNET, "b": TINY_UNET}
    params = {"backbone": part("multi_stream", streams=streams), "post": "dense"}
    net = build_net("composed", params, known, 2)
    assert net.post.convs[0].conv.in_channels == 8
    assert run(net, known).shape == (2, 2, 32, 32)


def test_a_siamese_net_that_takes_differences_does_not_see_the_order() -> None:
    known = facts(channels=2)
    params = {"backbone": part("resnet", width=4), "post": "global_pool", "join": "difference"}
    net = build_net("siamese", params, known, 1)
    pair = torch.rand(2, 2, 32, 32)
    net.eval()
    assert torch.equal(net(pair), net(pair.flip(1)))
    assert_gradients_reach_all(net.train(), net(pair))
    same = pair[:, :1].repeat(1, 2, 1, 1)
    zero = net.eval().post(torch.zeros(2, 32, 4, 4))
    assert torch.allclose(net(same), zero)


def test_siamese_heads_run_on_each_image_and_on_both() -> None:
    known = facts(channels=2)
    wanted = {"change": 2, "grade_1": 3, "grade_2": 3}
    params = {
        "backbone": part("resnet", width=4),
        "heads": {"change": "dense"},
        "each": {"grade": "global_pool"},
        "join": "both",
    }
    net = build_net("siamese", params, known, wanted).eval()
    pair = torch.rand(1, 2, 32, 32)
    first, turned = net(pair), net(pair.flip(1))
    assert {name: value.shape[1] for name, value in first.items()} == wanted
    assert torch.allclose(first["grade_1"], turned["grade_2"], atol=1e-6)


def test_images_of_a_pair_may_stand_under_keys_of_the_batch() -> None:
    net = Siamese(nn.Conv2d(1, 2, 3), nn.Conv2d(4, 1, 1), keys=["image", "before"])
    assert inputs_of(net) == ("image", "before")
    assert net(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)).shape == (1, 1, 8, 8)


class _TwoResults(nn.Module):
    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 1)

    def forward(self, scan: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        made = self.conv(scan)
        return made, made.mean((2, 3)) + shift.sum(1, keepdim=True)


def test_a_module_is_wrapped_by_naming_its_arguments_and_results() -> None:
    module = _TwoResults(1, 2)
    net = Wrapped(
        module,
        inputs={"shift": "tabular", "scan": "image"},
        outputs=["map", "score"],
        before={"image": nn.Identity()},
        after={"score": torch.sigmoid},  # type: ignore[dict-item]
    )
    image, table = torch.rand(2, 1, 4, 4), torch.rand(2, 3)
    output = net(table, image)
    assert inputs_of(net) == ("tabular", "image")
    assert torch.equal(output["map"], module.conv(image))
    assert torch.equal(output["score"], module(image, table)[1].sigmoid())


def test_a_wrapped_net_from_names_is_filled_in() -> None:
    params = {
        "net": part("UNet", channels=[4, 8], strides=[2]),
        "outputs": ["mask"],
        "before": part("InstanceNorm2d"),
        "after": {"mask": part("Softmax", dim=1)},
    }
    output = run(build_net("wrapped", params, facts(), {"mask": 3}), facts())
    assert output["mask"].shape == (2, 3, 32, 32)
    assert torch.allclose(output["mask"].sum(1), torch.ones(2, 32, 32))


def test_modules_stand_where_components_do() -> None:
    params = {"backbone": nn.Conv2d(1, 4, 3, stride=2, padding=1), "post": "dense"}
    assert run(build_net("composed", params, facts(), 2), facts()).shape == (2, 2, 32, 32)


class _Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = self.inner(image)
        return made


def test_a_net_inside_an_own_net_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"outer": f"{__name__}:_Outer"}
    original = __import__("imtoolkit.core.registry", fromlist=["builtins_of"]).builtins_of
    monkeypatch.setattr(
        "imtoolkit.core.registry.builtins_of", lambda kind: {**original(kind), **table}
    )
    net = build_net("outer", {"inner": part("UNet", channels=[4, 8], strides=[2])}, facts(), 3)
    assert run(net, facts()).shape == (2, 3, 32, 32)


CASES: list[tuple[str, Mapping[str, Any], Any, str]] = [
    (
        "composed",
        {"backbone": "mlp", "post": "simple_multidepth_conv"},
        2,
        r"params\.post: head 'simple_multidepth_conv' takes feature maps, but backbone 'mlp' gives "
        r"one vector \[128\] for an image of \[2, 32, 32\]",
    ),
    ("composed", {"backbone": "mlp", "post": "dense"}, 2, r"head 'dense' cannot take that"),
    ("composed", {"backbone": "resnet", "post": part("Linear")}, 2, r"4 feature maps \[64, 32, 32"),
    (
        "composed",
        {"backbone": part("resnet", in_channels=5), "post": "dense"},
        2,
        r"backbone\.params\.in_channels: in_channels is 5, but the images have 2",
    ),
    (
        "composed",
        {"backbone": "resnet", "post": part("dense", in_channels=5)},
        2,
        r"in_channels is 5, but backbone 'resnet' gives 512",
    ),
    ("composed", {"backbone": "resnet", "post": nn.Conv2d(512, 7, 1)}, 2, "gives 7 channel"),
    ("composed", {"bckbone": "resnet"}, 2, "takes no parameter 'bckbone'. Did you mean 'backbone'"),
    ("composed", {"backbone": "ressnet"}, 2, r"params\.backbone: unknown net 'ressnet'"),
    ("composed", {"backbone": {"resnet": {}}}, 2, "expects a net"),
    ("composed", {"backbone": part("resnet", depht=3)}, 2, r"params\.backbone: .*'depht'"),
    ("composed", {"backbone": "resnet", "post": "dense"}, {"a": 1}, "this net has one output"),
    ("UNet", {"channels": [4, 8], "strides": [2]}, {"a": 1, "b": 1}, "Take {name: multi_head"),
    ("multi_head", {"backbone": "resnet", "heads": {"mask": "dense"}}, {"maks": 2}, "mean 'mask'"),
    ("multi_head", {"backbone": "resnet", "heads": "dense"}, 2, "heads stand by name"),
    (
        "composed",
        {"backbone": "resnet", "post": part("global_pool", tabular=True)},
        2,
        "list them under data.tabular",
    ),
    ("multi_stream", {"streams": {"a": {"net": "resnet", "channels": [2]}}}, 2, "have 2 channel"),
    ("multi_stream", {"streams": {"a": {"net": "resnet"}}}, 2, "say which channels each takes"),
    ("multi_stream", {"streams": {"a": {"nett": "resnet"}}}, 2, "Did you mean 'net'"),
    ("multi_stream", {"streams": {"a": "resnet", "b": "resnet"}}, 2, "needs a head"),
    ("siamese", {"backbone": "resnet", "post": "dense", "count": 3}, 2, r"have 2 channel"),
    (
        "siamese",
        {"backbone": "resnet", "post": "dense", "join": "diference"},
        2,
        "mean 'difference'",
    ),
    ("wrapped", {"net": "resnet", "outputs": ["a"]}, {"b": 1}, "no output is called 'b'"),
]


@pytest.mark.parametrize(("name", "params", "wanted", "message"), CASES)
def test_what_does_not_fit_is_refused_with_both_sides(
    name: str, params: Mapping[str, Any], wanted: Any, message: str
) -> None:
    with pytest.raises((ConfigError, ComponentError), match=message):
        build_net(name, params, facts(channels=2), wanted)


def test_a_size_that_a_backbone_cannot_take_names_sizes_that_fit() -> None:
    known = facts(side=28)
    expected = (
        r"net 'DenseNet121' cannot take images of \[28, 28\].*For small images there is 'resnet'"
    )
    with pytest.raises(ConfigError, match=expected):
        build_net("composed", {"backbone": "DenseNet121", "post": "global_pool"}, known, 2)


def test_a_name_that_torch_uses_cannot_name_a_head() -> None:
    with pytest.raises(ComponentError, match="'keys' cannot name a head"):
        MultiHead(nn.Identity(), {"keys": nn.Identity()})
