"""Every place where the pinned MONAI imports, evaluates or downloads by name is out of reach."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from imtoolkit.core import refused, registry
from imtoolkit.core.errors import ComponentError

CALLS = {
    *("locate", "import_module", "__import__", "exec", "hf_hub_download", "download_url"),
    *("download_and_extract", "load_state_dict_from_url", "load_url", "snapshot_download"),
    *("urlretrieve", "urlopen", "instantiate", "run_cmd", "Popen", "check_output"),
    "from_pretrained",
}
WHOLE_CALLS = {
    *("eval", "torch.hub.load", "pickle.load", "pickle.loads", "subprocess.run", "os.system"),
    *("subprocess.call", "torch.jit.load"),
}
LIBRARIES = {"models", "torchvision", "transforms", "torch", "nn", "monai"}

REFUSED_COMPONENTS = {
    "monai.losses.perceptual:MedicalNetPerceptualSimilarity.__init__",
    "monai.losses.perceptual:RadImageNetPerceptualSimilarity.__init__",
    "monai.networks.blocks.text_embedding:TextEncoder.__init__",
    "monai.networks.nets.torchvision_fc:TorchVisionFCModel.__init__",
    "monai.networks.nets.transchex:Transchex.__init__",
    "monai.transforms.io.array:LoadImage.__init__",
    "monai.transforms.io.array:SaveImage.__init__",
    "monai.transforms.utility.array:CuCIM.__init__",
    "monai.transforms.utility.array:RandTorchIO.__init__",
    "monai.transforms.utility.array:RandTorchVision.__init__",
    "monai.transforms.utility.array:TorchIO.__init__",
    "monai.transforms.utility.array:TorchVision.__init__",
}
"""The call stands in a class that a config cannot use."""

REFUSED_PARAMETERS = {
    "monai.data.image_reader:NumpyReader.read": ("data.image_reader.NumpyReader", "allow_pickle"),
    "monai.networks.nets.densenet:_load_state_dict": ("networks.nets.DenseNet121", "pretrained"),
    "monai.networks.nets.efficientnet:_load_state_dict": (
        "networks.nets.EfficientNetBN",
        "pretrained",
    ),
    "monai.networks.nets.hovernet:_remap_preact_resnet_model": (
        "networks.nets.HoVerNet",
        "pretrained_url",
    ),
    "monai.networks.nets.hovernet:_remap_standard_resnet_model": (
        "networks.nets.HoVerNet",
        "adapt_standard_resnet",
    ),
    "monai.networks.nets.milmodel:MILModel.__init__": ("networks.nets.MILModel", "backbone"),
    "monai.networks.nets.resnet:get_pretrained_resnet_medicalnet": (
        "networks.nets.resnet18",
        "pretrained",
    ),
    "monai.networks.nets.senet:_load_state_dict": ("networks.nets.SEResNet50", "pretrained"),
}
"""The call is reached through this parameter only, which a config cannot give."""

UNREACHABLE = {
    "monai.data.dataset:PersistentDataset._cachecheck": "no kind; our subclass replaces it",
    "monai.data.torchscript_utils:load_net_with_metadata": "a function, and of no kind",
    "monai.inferers.inferer:PatchInferer.__init__": "inferers are no kind",
    "monai.networks.nets.flexible_unet:FlexUNetEncoderRegister.register_class": (
        "called with classes at import; FlexibleUNet looks `backbone` up in a dict"
    ),
    "monai.networks.utils:convert_to_torchscript": "a function, and of no kind",
    "monai.networks.utils:convert_to_trt": "a function, and of no kind",
    "monai.networks.utils:has_nvfuser_instance_norm": "imports one fixed name",
}
"""No component of any kind comes here with a value of the user."""

OUTSIDE = ("apps", "auto3dseg", "bundle", "config", "utils", "fl", "handlers", "engines")
"""Rooms of MONAI whose functions are helpers: `test_rooms_outside_hold_no_reachable_class`."""


def _sites() -> Iterator[str]:
    spec = importlib.util.find_spec("monai")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        module = ".".join(("monai", *parts)).removesuffix(".__init__")
        yield from _walk(ast.parse(file.read_bytes()), module, ())


def _walk(node: ast.AST, module: str, scope: tuple[str, ...]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        inner = (*scope, child.name) if named else scope  # type: ignore[attr-defined]
        if isinstance(child, ast.Call) and _is_dynamic(child):
            yield f"{module}:{'.'.join(inner)}"
        yield from _walk(child, module, inner)


def _is_dynamic(call: ast.Call) -> bool:
    called = ast.unparse(call.func)
    last = called.rpartition(".")[2]
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if called in WHOLE_CALLS or last in CALLS:
        return True
    if last == "optional_import":
        names = [*call.args[:1], *(keywords[key] for key in ("module", "name") if key in keywords)]
        return any(not isinstance(name, ast.Constant) for name in names)
    if called == "torch.load":
        safe = keywords.get("weights_only")
        return not (isinstance(safe, ast.Constant) and safe.value is True)
    if called in ("np.load", "numpy.load"):
        return "allow_pickle" in keywords
    holder = call.args[0] if called == "getattr" and len(call.args) > 1 else None
    in_library = isinstance(holder, ast.Name) and holder.id in LIBRARIES
    return in_library and not isinstance(call.args[1], ast.Constant)


def test_every_dynamic_import_and_download_of_monai_is_refused_or_unreachable() -> None:
    found = {site for site in _sites() if site.split(":")[0].split(".")[1] not in OUTSIDE}
    found.discard("monai.transforms.utils_create_transform_ims:get_data")  # a script of its docs
    assert found == {*REFUSED_COMPONENTS, *REFUSED_PARAMETERS, *UNREACHABLE}


@pytest.mark.parametrize("site", sorted(REFUSED_COMPONENTS))
def test_components_that_import_by_name_are_refused(site: str) -> None:
    path = site.removesuffix(".__init__").replace(":", ".")
    module, _, name = path.rpartition(".")
    component = getattr(importlib.import_module(module), name)
    assert refused.refused_component(registry.paths_of(component))


@pytest.mark.parametrize("site", sorted(REFUSED_PARAMETERS))
def test_parameters_that_import_or_download_are_refused(site: str) -> None:
    path, parameter = REFUSED_PARAMETERS[site]
    module, _, name = f"monai.{path}".rpartition(".")
    component = getattr(importlib.import_module(module), name)
    assert refused.refused_parameter(registry.paths_of(component), parameter, "x")


def test_every_refused_path_exists() -> None:
    for path in [*refused.PARAMETERS, *refused.COMPONENTS]:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__name__ == name


def test_rooms_outside_hold_no_reachable_class() -> None:
    """A class that a config could name must not make one of these calls while it is built."""
    for site in _sites():
        module, _, scope = site.partition(":")
        name = scope.partition(".")[0]
        if module.split(".")[1] not in OUTSIDE or not name[:1].isupper():
            continue
        for kind in registry.KINDS:
            with pytest.raises(ComponentError):
                registry.resolve(kind, f"{module}.{name}")


def test_own_components_answer_for_their_parameters_themselves() -> None:
    paths = ["imtoolkit.nets.foo.Foo", "torch.nn.modules.module.Module"]
    assert refused.refused_parameter(paths, "pretrained", True) is None
