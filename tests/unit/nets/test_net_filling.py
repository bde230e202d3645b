"""The data fill in what a net leaves open, and contradict what does not fit them."""

import pytest
from monai.networks import nets

from imtoolkit.core.errors import ComponentError, ConfigError
from imtoolkit.core.facts import DataFacts
from imtoolkit.nets.building import build_net
from imtoolkit.nets.filling import fill_net, signature_of

FACTS = DataFacts(spatial_dims=3, in_channels=2, patch_size=(32, 64, 64))


def test_channels_and_dimensions_are_filled_in() -> None:
    filled = fill_net(nets.UNet, {"channels": (4, 8)}, FACTS, 5)
    assert filled == {"channels": (4, 8), "spatial_dims": 3, "in_channels": 2, "out_channels": 5}


@pytest.mark.parametrize(
    ("net", "params", "expected"),
    [
        (nets.ResNet, {}, {"n_input_channels": 2, "num_classes": 5, "spatial_dims": 3}),
        (nets.UNETR, {}, {"img_size": (32, 64, 64), "in_channels": 2, "out_channels": 5}),
        (nets.SegResNetVAE, {}, {"input_image_size": (32, 64, 64)}),
        (nets.Regressor, {}, {"in_shape": (2, 32, 64, 64)}),
        (nets.SENet154, {}, {"in_channels": 2, "num_classes": 5, "pretrained": False}),
        (nets.DenseNet121, {}, {"in_channels": 2, "pretrained": False}),
        (nets.NaViT, {}, {"image_size": (32, 64, 64), "num_classes": 5}),
    ],
)
def test_aliases_of_each_net_are_known(net: type, params: dict, expected: dict) -> None:
    filled = fill_net(net, params, FACTS, 5)
    assert {key: filled.get(key) for key in expected} == expected


def test_a_size_of_one_number_is_filled_in_only_for_square_patches() -> None:
    oblong = DataFacts(spatial_dims=2, in_channels=1, patch_size=(64, 96))
    square = DataFacts(spatial_dims=2, in_channels=1, patch_size=(64, 64))
    assert "image_size" not in fill_net(nets.EfficientNet, {"blocks_args_str": []}, oblong, 2)
    assert fill_net(nets.EfficientNet, {"blocks_args_str": []}, square, 2)["image_size"] == 64


def test_equal_values_of_the_user_are_kept() -> None:
    filled = fill_net(nets.UNETR, {"in_channels": 2, "img_size": [32, 64, 64]}, FACTS, 5)
    assert filled["img_size"] == [32, 64, 64]


def test_all_contradictions_are_told_at_once_with_both_sides() -> None:
    with pytest.raises(ConfigError) as caught:
        fill_net(nets.UNet, {"in_channels": 3, "out_channels": 4, "spatial_dims": 2}, FACTS, 5)
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "in_channels is 3, but the images have 2 channel(s)" in text
    assert "out_channels is 4, but the task needs 5" in text
    assert "task.net.params.spatial_dims" in text


def test_parameters_behind_kwargs_are_found() -> None:
    assert {"spatial_dims", "in_channels", "num_classes"} <= set(signature_of(nets.SEResNet50))


def test_weights_are_not_fetched_unless_asked_for() -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1, patch_size=(32, 32))
    net = build_net("EfficientNetBN", {"model_name": "efficientnet-b0"}, facts, 2)
    assert net._conv_stem.in_channels == 1


def test_a_size_that_a_net_cannot_be_built_for_names_sizes_that_fit() -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1, patch_size=(72, 72))
    params = {"hidden_size": 12, "mlp_dim": 8, "num_heads": 2}
    with pytest.raises(ConfigError, match=r"Patch sizes that fit: \[64, 64\] or \[80, 80\]"):
        build_net("UNETR", params, facts, 2)


def test_a_net_for_one_size_asks_for_a_patch() -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1)
    with pytest.raises(ComponentError, match=r"set data\.patch\.size"):
        build_net("UNETR", {}, facts, 2)


def test_a_wrong_parameter_is_told_with_its_place() -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1)
    with pytest.raises(ComponentError, match=r"task\.nets\.net: net 'UNet' refused"):
        build_net("UNet", {"chanels": [4]}, facts, 2, where="task.nets.net")


def test_deep_supervision_is_refused_where_the_net_has_none() -> None:
    facts = DataFacts(spatial_dims=2, in_channels=1)
    params = {"channels": [4, 8], "strides": [2]}
    with pytest.raises(ConfigError, match="has no outputs of lower resolution; take DynUNet"):
        build_net("UNet", params, facts, 2, deep_supervision=True)
