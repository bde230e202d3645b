"""Nets inside nets are checked with their lines before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imtoolkit.config import load_config
from imtoolkit.config.nested import Holds, holds

Problems = Callable[..., list[str]]

GOOD: dict[str, dict[str, Any]] = {
    "composed": {
        "pre": {"name": "Conv2d", "params": {"out_channels": 8, "kernel_size": 3}},
        "backbone": {"name": "resnet", "params": {"depth": 34}},
        "post": "dense",
    },
    "multi_head": {
        "backbone": "unet_features",
        "heads": {"mask": {"name": "dense"}, "grade": {"name": "global_pool", "params": {}}},
    },
    "multi_stream": {
        "streams": {
            "dapi": {"net": {"name": "resnet", "params": {}}, "channels": [0]},
            "actin": {"name": "resnet", "params": {}},
            "other": "resnet",
        },
        "post": "global_pool",
    },
    "siamese": {"backbone": "resnet", "post": "global_pool", "each": {"grade": "global_pool"}},
    "wrapped": {
        "net": {"name": "UNet", "params": {"channels": [8, 16], "strides": [2]}},
        "inputs": {"x": "image"},
        "outputs": ["mask"],
        "before": {"name": "InstanceNorm2d", "params": {}},
        "after": {"mask": {"name": "Softmax", "params": {"dim": 1}}},
    },
}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_data_fill_in_may_be_left_out_in_parts(good: dict[str, Any], name: str) -> None:
    good["task"]["net"] = {"name": name, "params": GOOD[name]}
    assert load_config(good).task.nets["net"].params == GOOD[name]


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("composed", "backbone", {"name": "resnet", "params": {"depht": 1}}, "mean 'depth'"),
        ("composed", "backbone", {"name": "resnet", "depth": 1}, "stand under its 'params'"),
        ("composed", "backbone", {"name": "resnet", "params": [1]}, "expects a mapping"),
        ("composed", "backbone", "ressnet", "unknown net 'ressnet'. Did you mean 'resnet'?"),
        ("composed", "backbone", {"resnet": 1}, "expects a net, {name: ..., params: {...}}, got"),
        ("composed", "backbone", 3, "expects a net"),
        ("composed", "post", "DiceLoss", "'DiceLoss' is not a net, but a loss"),
        ("composed", "pre", {"name": "Conv2d", "params": {}}, "needs the parameter 'kernel_size'"),
        ("composed", "bckbone", "resnet", "takes no parameter 'bckbone'. Did you mean 'backbone'"),
        ("multi_head", "heads", {"mask": {"name": "dense", "params": {"hidden": 3}}}, "a list"),
        ("multi_head", "heads", {"name": "dense", "params": {}}, "holds nets by name"),
        ("multi_head", "heads", "dense", "holds nets by name"),
        ("multi_stream", "streams", {"a": {"nett": "resnet"}}, "'nett'. Did you mean 'net'?"),
        ("multi_stream", "streams", {"a": {"channels": [0]}}, "the key 'net' is missing"),
        ("multi_stream", "streams", {"a": {"net": "resnet", "channels": 0}}, "a list of channels"),
        ("siamese", "each", {"grade": "global_pol"}, "Did you mean 'global_pool'?"),
        ("wrapped", "before", {"image": "Identty"}, "Did you mean 'Identity'?"),
    ],
)
def test_a_mistake_in_a_part_is_found(
    good: dict[str, Any], problems: Problems, name: str, key: str, value: Any, message: str
) -> None:
    good["task"]["net"] = {"name": name, "params": {**GOOD[name], key: value}}
    found = problems(good)
    assert any(message in text for text in found), found


def test_the_line_of_a_mistake_deep_inside_is_told(
    write: Callable[..., Path], problems: Problems
) -> None:
    from .conftest import GOOD as TEXT

    start = TEXT.index("  net: {")
    net = """\
  net:
    name: composed
    params:
      backbone: {name: resnet, params: {}}
      post:
        name: dense
        params:
          hiden: [8]
"""
    text = TEXT[:start] + net + TEXT[TEXT.index("  loss:") :]
    line = text.splitlines().index("          hiden: [8]") + 1
    (found,) = problems(write(text))
    assert f"nuclei.yaml:{line}: task.net.params.post.params.hiden" in found


def test_annotations_tell_what_a_parameter_holds() -> None:
    assert holds("nn.Module") == Holds(one=True, named=False, entries=False)
    assert holds("Optional[torch.nn.Module]") == Holds(one=True, named=False, entries=False)
    assert holds("dict[str, Module]") == Holds(one=False, named=True, entries=False)
    assert holds("Mapping[str, nn.Module | Mapping[str, Any]]") == Holds(
        one=False, named=True, entries=True
    )
    assert holds("str | nn.Module") is None
    assert holds("Sequence[int]") is None
