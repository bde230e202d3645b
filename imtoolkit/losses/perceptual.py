"""Difference of the features that a trained net sees in two images."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name that every reader of torch code knows
from torch import Tensor, nn

from imtoolkit.core.errors import ComponentError, did_you_mean, listed

from .images import ImageLoss, check_choice, mean_of, slices


class PerceptualLoss(ImageLoss):
    r"""Mean difference of the outputs of chosen layers of a trained net that stays as it is.

    Johnson et al., "Perceptual losses for real-time style transfer and super-resolution", ECCV
    2016. With the output :math:`\phi_l` of layer :math:`l`:

    .. math:: L = \sum_l a_l \, \mathrm{mean} \left| \phi_l(p) - \phi_l(t) \right|^q

    The net is any net of imtoolkit, MONAI or torch, and its weights come from a file of the user:
    nothing is downloaded. The weights are read when the loss is first used, in training, so that
    a trained model predicts without them; they are part of no checkpoint.

    Args:
        net: The net, such as ``{name: resnet18, params: {spatial_dims: 2, n_input_channels: 1}}``.
        weights: File of its weights: a ``state_dict``, or a checkpoint of a run. Weights beyond
            those of the net are left aside.
        layers: Names of the modules whose outputs are compared, such as ``[layer1, layer2]``.
        factors: :math:`a`, one for each layer; 1 when left out.
        norm: ``l1`` (:math:`q = 1`) or ``l2`` (:math:`q = 2`).
        normalize: Divide the features of each position by their length over the channels, as Zhang
            et al., CVPR 2018.
        repeat: Give the net each channel by itself, this many times side by side: 3 for a net of
            colour images. 0 gives it all channels at once.
        mean: Taken off each channel of what the net gets.
        std: What is left is divided by it.
        per_slice: Give volumes to a 2D net slice by slice.
        complex_channels: Channels are pairs of real and imaginary part; magnitudes are compared.

    Shape:
        prediction and target ``(B, C, [Z,] Y, X)``, weight ``(B, 1, [Z,] Y, X)``, brought to the
        size of the features, or ``None``; returns a scalar.

    Example:
        >>> import tempfile
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        >>> file = Path(tempfile.mkdtemp()) / "weights.pt"
        >>> torch.save(net.state_dict(), file)
        >>> loss = PerceptualLoss(net, str(file), ["0", "1"])
        >>> image = torch.rand(2, 1, 8, 8)
        >>> loss(image, image).item(), bool(loss(image, 1 - image) > 0)
        (0.0, True)
    """

    def __init__(
        self,
        net: nn.Module,
        weights: str,
        layers: Sequence[str],
        *,
        factors: Sequence[float] | None = None,
        norm: str = "l1",
        normalize: bool = False,
        repeat: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        per_slice: bool = False,
        complex_channels: bool = False,
    ) -> None:
        super().__init__(complex_channels=complex_channels)
        names = [name for name, _ in net.named_modules() if name]
        unknown = [layer for layer in layers if layer not in names]
        if unknown or not layers:
            hint = did_you_mean(unknown[0], names) if unknown else ""
            message = f"got layers {list(layers)}; expected modules of the net: {listed(names, 20)}"
            raise ValueError(message + hint)
        if factors is not None and len(factors) != len(layers):
            message = f"got {len(factors)} factors for {len(layers)} layers"
            raise ValueError(message)
        self._held = [net.requires_grad_(False).eval()]  # in a list: no part of the state
        self.file = str(weights)
        self.layers = tuple(layers)
        self.factors = tuple(factors or [1.0] * len(layers))
        self.power = 1 if check_choice("norm", norm, ("l1", "l2")) == "l1" else 2
        self.normalize = normalize
        self.repeat = repeat
        self.shift = None if mean is None else torch.as_tensor(mean, dtype=torch.float32)
        self.scale = None if std is None else torch.as_tensor(std, dtype=torch.float32)
        self.per_slice = per_slice
        self._loaded = False

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
        """See `ImageLoss`."""
        if self.per_slice:
            prediction, target = slices(prediction), slices(target)
            weight = None if weight is None else slices(weight)
        if self.repeat and weight is not None:
            weight = weight.repeat_interleave(prediction.shape[1], 0)
        seen = self.features(prediction)
        with torch.no_grad():
            wanted = self.features(target)
        total = prediction.new_zeros(())
        for factor, layer in zip(self.factors, self.layers, strict=True):
            each = (seen[layer] - wanted[layer]).abs() ** self.power
            total = total + factor * mean_of(each, _at_size(weight, each))
        return total

    def features(self, image: Tensor) -> dict[str, Tensor]:
        """Return the output of each layer for images ``(B, C, [Z,] Y, X)``.

        Raises:
            ComponentError: If the file does not hold the weights of the net.
        """
        net = self._net_on(image.device)
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(_: nn.Module, __: Any, output: Tensor) -> None:
                found[name] = _unit(output) if self.normalize else output

            return hook

        modules = dict(net.named_modules())
        hooks = [modules[name].register_forward_hook(keep(name)) for name in self.layers]
        try:
            net(self._as_input(image))
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _as_input(self, image: Tensor) -> Tensor:
        if self.repeat:
            image = image.flatten(0, 1)[:, None].repeat_interleave(self.repeat, 1)
        shape = (1, -1, *[1] * (image.ndim - 2))
        if self.shift is not None:
            image = image - self.shift.to(image).reshape(shape)
        return image if self.scale is None else image / self.scale.to(image).reshape(shape)

    def _net_on(self, device: torch.device) -> nn.Module:
        net = self._held[0]
        if not self._loaded:
            load_weights(net, self.file)
            self._loaded = True
        self._held = [net.to(device)]
        return self._held[0]


def load_weights(net: nn.Module, file: str) -> None:
    """Load all weights of a net from a file that may hold more, without unpickling code.

    Args:
        net: The net.
        file: A ``state_dict``, or a mapping with the key ``state_dict``, as checkpoints have. The
            names may all stand below a common prefix, such as ``nets.net.``.

    Raises:
        ComponentError: If the file cannot be read, or lacks a weight of the net.
    """
    try:
        content = torch.load(Path(file), map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        message = f"the weights '{file}' do not exist; expected a file that you bring along"
        raise ComponentError(message) from error
    except (RuntimeError, OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
        message = f"the weights '{file}' cannot be read as plain tensors: {error}"
        raise ComponentError(message) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    wanted = net.state_dict()
    prefix = _prefix(state, list(wanted))
    found = {name: state.get(prefix + name) for name in wanted}
    wrong = [
        name
        for name, value in found.items()
        if not isinstance(value, Tensor) or value.shape != wanted[name].shape
    ]
    if wrong:
        message = (
            f"the file '{file}' lacks weights of the net, or has them in another shape: "
            f"{listed(wrong)}. It holds {listed(list(state))}. Give the net the parameters with "
            "which it was trained"
        )
        raise ComponentError(message)
    net.load_state_dict(found)


def _prefix(state: Mapping[str, Any], wanted: Sequence[str]) -> str:
    """Return the beginning of the names in a file, below which the most weights stand."""
    first = wanted[0]
    prefixes = [name.removesuffix(first) for name in state if f".{name}".endswith(f".{first}")]
    return max(prefixes, key=lambda p: sum(p + name in state for name in wanted), default="")


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + 1e-10).sqrt()


def _at_size(weight: Tensor | None, each: Tensor) -> Tensor | None:
    if weight is None or each.ndim < 3:
        return None
    return F.interpolate(weight, each.shape[2:], mode="nearest-exact")
