"""Names become components of the right kind, and nothing else can be called."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from imtoolkit.core import registry
from imtoolkit.core.errors import ComponentError


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Register a trusted module that defines a loss, a function and an unrelated class."""
    import torch

    module = types.ModuleType("imtoolkit.config.plugins.my_parts")

    class MyLoss(torch.nn.Module):
        def __init__(self, alpha: float = 1.0, inner: Any = None) -> None:
            super().__init__()
            self.alpha, self.inner = alpha, inner

    def brighten(sample: dict[str, Any]) -> dict[str, Any]:
        return sample

    for item in (MyLoss, brighten):
        item.__module__ = module.__name__
        setattr(module, item.__name__, item)
    module.NotALoss = type("NotALoss", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "_plugins", {})
    registry.add_plugin(module, "my_parts")
    yield module


def test_a_builtin_comes_before_a_name_of_a_package() -> None:
    assert registry.resolve("metric", "dice").__module__.startswith("imtoolkit.")


def test_class_names_aliases_and_dotted_paths_lead_to_one_class() -> None:
    names = ("RandFlipd", "RandFlipDict", "monai.transforms.RandFlipD")
    found = {registry.resolve("transform", name) for name in names}
    assert len(found) == 1


def test_a_factory_function_of_a_namespace_counts_as_a_net() -> None:
    assert registry.resolve("net", "resnet10").__name__ == "resnet10"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("transform", "os.system", "lies outside the packages"),
        ("net", "subprocess.Popen", "lies outside the packages"),
        ("loss", "torch.hub.load", "is not a loss, but a function"),
        ("net", "monai.transforms.io.array.locate", "is not a net, but a function"),
        ("net", "torch.nn.modules.module.functools.partial", "does not exist"),
        ("net", "torch.nn.__builtins__", "not a path of public names"),
        ("optimizer", "torch.nn.Linear", "is not derived from torch.optim.Optimizer"),
        ("net", "torch.nn.nothing_here", "does not exist"),
        ("net", "drop_connect", "is not a net, but a function"),
        ("transform", "SaveImaged", "is refused: it writes files"),
        ("transform", "SaveClassificationd", "is refused: it deletes a file"),
        ("transform", "imtoolkit.data.cache.manage.clear", "is not a transform, but a function"),
        ("metric", "torchmetrics.text.BLEUScore", "is refused: it measures text"),
        ("loss", "PerceptualLoss", "is refused: it downloads"),
    ],
)
def test_what_is_not_of_the_kind_is_refused_before_it_is_called(
    kind: str, name: str, message: str
) -> None:
    with pytest.raises(ComponentError, match=message):
        registry.resolve(kind, name)


def test_an_unknown_name_comes_with_the_nearest_one() -> None:
    with pytest.raises(ComponentError, match=r"unknown optimizer 'AdmaW'. Did you mean 'AdamW'"):
        registry.resolve("optimizer", "AdmaW")


def test_a_reader_given_as_text_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []
    monkeypatch.setattr("os.system", ran.append)
    params = {"keys": "image", "reader": "os.system", "command": "touch x"}
    with pytest.raises(ComponentError, match="turns a text into code"):
        registry.build("transform", "LoadImaged", params)
    assert ran == []


def test_weights_are_not_downloaded_even_where_that_is_the_default() -> None:
    # the tests refuse every connection, so building with pretrained=True would fail
    net = registry.build("net", "EfficientNetBN", {"model_name": "efficientnet-b0"})
    assert type(net).__name__ == "EfficientNetBN"


def test_given_parameters_win_over_filled_ones() -> None:
    net = registry.build("net", "Linear", {"in_features": 3}, in_features=5, out_features=2)
    assert tuple(net.weight.shape) == (2, 3)


def test_refused_parameters_of_a_class_name_the_component() -> None:
    with pytest.raises(ComponentError, match=r"net 'Linear' refused its parameters: .*sofmax"):
        registry.build("net", "Linear", {"sofmax": 1})


def test_a_nested_component_is_built_first(plugin: types.ModuleType) -> None:
    params = {"inner": {"name": "DiceLoss", "params": {"sigmoid": True}}}
    loss = registry.build("loss", "MyLoss", params)
    assert type(loss.inner).__name__ == "DiceLoss"
    assert loss.inner.sigmoid is True


def test_names_of_a_plugin_resolve_bare_and_dotted(plugin: types.ModuleType) -> None:
    assert registry.resolve("loss", "MyLoss") is plugin.MyLoss
    assert registry.resolve("loss", "my_parts.MyLoss") is plugin.MyLoss
    assert registry.resolve("transform", "brighten") is plugin.brighten
    with pytest.raises(ComponentError, match="is not derived from"):
        registry.resolve("loss", "NotALoss")


def test_the_kind_of_a_nested_component_is_told_by_its_parameter() -> None:
    assert registry.nested_kind("optimizer", "base_optimizer") == "optimizer"
    assert registry.nested_kind("net", "losses") == "loss"
    assert registry.nested_kind("scheduler", "schedulers") == "scheduler"
    assert registry.nested_kind("net", "planet") == "net"
    assert registry.nested_kind("transform", "num_samples") == "transform"


def test_a_module_that_lacks_a_package_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lacks(path: str) -> types.ModuleType:
        text = "No module named 'tensorrt'"
        raise ModuleNotFoundError(text, name="tensorrt")

    monkeypatch.setattr("imtoolkit.core.registry.importlib.import_module", lacks)
    with pytest.raises(ComponentError, match=r"cannot be imported: No module named 'tensorrt'"):
        registry._import_path(["monai", "networks", "Something"])
