"""Parameters by which a component would run code, unpickle, or download: a config cannot give them.

MONAI turns some strings into code: ``LoadImaged(reader="os.system", command=...)`` runs a command.
A config is data, so such parameters are refused, both when a config is checked and when a component
is built. The tests compare this with every dynamic import and download in the pinned MONAI.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

_READS: Final = (
    "reads files by itself, and its 'reader' turns a text into code. Use 'data.reader' instead"
)
_DOWNLOAD: Final = (
    "downloads weights from the internet. Start from a checkpoint with 'task.start_from' instead"
)
_PICKLE: Final = "lets a data file run code (pickle)"
_OTHERS: Final = "runs whatever the named package offers. Use a transform of MONAI, or a plugin"
_DELETES: Final = "deletes a file of the name that it is given, and writes its own"
_WRITES: Final = "writes files of its own. Predictions are written by 'imtoolkit predict'"

EVERYWHERE: Final[dict[str, str]] = {
    "allow_pickle": _PICKLE,
    "pretrained": _DOWNLOAD,
    "pretrained_url": _DOWNLOAD,
    "pretrained_path": _DOWNLOAD,
    "model_name_or_path": _DOWNLOAD,
}
"""Parameter -> reason, for all classes of the pinned packages; false and null are harmless."""

PACKAGES: Final = ("torch.", "monai.", "torchmetrics.", "pytorch_lightning.")
"""Where `EVERYWHERE` holds; our own classes and trusted plugins answer for their parameters."""

PARAMETERS: Final[dict[str, dict[str, str]]] = {
    "monai.networks.nets.milmodel.MILModel": {"backbone": _DOWNLOAD},
    "monai.networks.nets.cell_sam_wrapper.CellSamWrapper": {"checkpoint": _PICKLE},
    "monai.networks.nets.hovernet.HoVerNet": {"adapt_standard_resnet": _DOWNLOAD},
}
"""Class or function -> parameter -> reason."""

COMPONENTS: Final[dict[str, str]] = {
    "monai.transforms.io.array.LoadImage": _READS,
    "monai.transforms.io.dictionary.LoadImaged": _READS,
    "monai.transforms.io.array.SaveImage": _WRITES,
    "monai.transforms.io.dictionary.SaveImaged": _WRITES,
    "monai.transforms.io.array.WriteFileMapping": _WRITES,
    "monai.transforms.io.dictionary.WriteFileMappingd": _WRITES,
    "monai.transforms.post.dictionary.SaveClassificationd": _DELETES,
    "monai.transforms.utility.array.TorchVision": _OTHERS,
    "monai.transforms.utility.array.RandTorchVision": _OTHERS,
    "monai.transforms.utility.dictionary.TorchVisiond": _OTHERS,
    "monai.transforms.utility.dictionary.RandTorchVisiond": _OTHERS,
    "monai.transforms.utility.array.TorchIO": _OTHERS,
    "monai.transforms.utility.array.RandTorchIO": _OTHERS,
    "monai.transforms.utility.dictionary.TorchIOd": _OTHERS,
    "monai.transforms.utility.dictionary.RandTorchIOd": _OTHERS,
    "monai.transforms.utility.array.CuCIM": _OTHERS,
    "monai.transforms.utility.array.RandCuCIM": _OTHERS,
    "monai.transforms.utility.dictionary.CuCIMd": _OTHERS,
    "monai.transforms.utility.dictionary.RandCuCIMd": _OTHERS,
    "monai.losses.perceptual.PerceptualLoss": "downloads a network and its code from the internet",
    "monai.losses.perceptual.MedicalNetPerceptualSimilarity": _DOWNLOAD,
    "monai.losses.perceptual.RadImageNetPerceptualSimilarity": _DOWNLOAD,
    "monai.losses.perceptual.TorchvisionModelPerceptualSimilarity": _DOWNLOAD,
    "monai.networks.blocks.text_embedding.TextEncoder": _DOWNLOAD,
    "monai.networks.nets.torchvision_fc.TorchVisionFCModel": _DOWNLOAD,
    "monai.networks.nets.transchex.MultiModal": _DOWNLOAD,
    "monai.networks.nets.transchex.Transchex": _DOWNLOAD,
    "torchmetrics.image.fid.FrechetInceptionDistance": _DOWNLOAD,
    "torchmetrics.image.kid.KernelInceptionDistance": _DOWNLOAD,
    "torchmetrics.image.mifid.MemorizationInformedFrechetInceptionDistance": _DOWNLOAD,
    "torchmetrics.image.inception.InceptionScore": _DOWNLOAD,
    "torchmetrics.image.lpip.LearnedPerceptualImagePatchSimilarity": _DOWNLOAD,
    "torchmetrics.image.perceptual_path_length.PerceptualPathLength": _DOWNLOAD,
    "torchmetrics.image.arniqa.ARNIQA": _DOWNLOAD,
    "torchmetrics.image.dists.DeepImageStructureAndTextureSimilarity": _DOWNLOAD,
}
"""Class -> reason why a config cannot use it at all."""

_NO_IMAGES: Final = "measures text or sound, and some of its kind download networks. Take another"
PREFIXES: Final[dict[str, str]] = {
    "torchmetrics.text.": _NO_IMAGES,
    "torchmetrics.audio.": _NO_IMAGES,
    "torchmetrics.multimodal.": _NO_IMAGES,
}
"""Beginning of a dotted path -> reason why a config cannot use what lies below it."""


def refused_component(paths: Iterable[str]) -> str | None:
    """Return why a component is refused as a whole.

    Args:
        paths: Dotted paths of the class and its bases, or of the function.
    """
    for path in paths:
        reasons = (reason for prefix, reason in PREFIXES.items() if path.startswith(prefix))
        reason = COMPONENTS.get(path) or next(reasons, None)
        if reason is not None:
            return reason
    return None


def refused_parameter(paths: Iterable[str], name: str, value: Any) -> str | None:
    """Return why a parameter with this value is refused.

    Example:
        >>> refused_parameter(["monai.data.image_reader.NumpyReader"], "allow_pickle", True)
        'lets a data file run code (pickle)'
        >>> refused_parameter(["monai.networks.nets.resnet.resnet50"], "pretrained", False)
    """
    if value is None or value is False:
        return None
    paths = list(paths)
    for path in paths:
        if name in PARAMETERS.get(path, {}):
            return PARAMETERS[path][name]
    return EVERYWHERE.get(name) if paths and paths[0].startswith(PACKAGES) else None
