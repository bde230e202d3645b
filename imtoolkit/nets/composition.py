"""What composed nets share: heads behind features, and outputs in the size of the image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE
from imtoolkit.core.errors import ComponentError

from .features import Features, feed, main_index
from .inputs import call, inputs_of
from .resizing import resized


class Headed(nn.Module):
    """A net that ends in one head (``post``), in several named ones (``heads``), or in none.

    Args:
        post: Takes the features, gives the output.
        heads: Heads by name: the net then returns a dict of named outputs.
        bodies: The parts before them. They are registered first: whoever asks for the order of the
            computation, as layer-wise decay does, takes that of the registration.

    Raises:
        ComponentError: If both are given, or a name cannot be one.
    """

    def __init__(
        self,
        post: nn.Module | None = None,
        heads: Mapping[str, nn.Module] | None = None,
        **bodies: nn.Module | None,
    ) -> None:
        super().__init__()
        for name, body in bodies.items():
            setattr(self, name, body)
        if post is not None and heads:
            message = "got post and heads; take post for one output, heads for several"
            raise ComponentError(message)
        self.post = post
        self.heads = named_modules(heads or {}, "head")

    @property
    @abstractmethod
    def entries(self) -> Sequence[nn.Module]:
        """The parts that are given the image itself."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the batch that the net is called with, the image first."""
        entries = self.entries
        others = [part for part in _parts_of(self) if not any(part is item for item in entries)]
        keys = [key for part in entries for key in inputs_of(part)]
        keys += [key for part in others for key in inputs_of(part) if key != IMAGE]
        return tuple(sorted(dict.fromkeys(keys), key=lambda key: key != IMAGE))

    def given(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the values that the net was called with by their keys."""
        return dict(zip(self.inputs, values, strict=True))

    def finish(
        self, features: Features, given: Mapping[str, Tensor], source: nn.Module | None = None
    ) -> Any:
        """Run the heads on features and bring dense outputs to the size of the image.

        Args:
            features: What stands before the heads.
            given: What the net was called with, for heads that take more than features.
            source: The backbone, which names the map for a head that takes one.

        Returns:
            A tensor; a dict of tensors where there are named heads; the features where there is
            no head.
        """
        image = given.get(IMAGE)
        source = source or nn.Identity()
        if self.heads:
            return {
                name: restored(call(head, feed(head, features, source), given), image)
                for name, head in self.heads.items()
            }
        if self.post is None:
            return features
        return restored(call(self.post, feed(self.post, features, source), given), image)


def restored(output: Any, image: Tensor | None) -> Any:
    """Bring a dense output ``(B, K, [Z,] Y, X)`` to the spatial size of the image, linearly.

    Vectors, and outputs of the same size, are left alone.

    Example:
        >>> import torch
        >>> restored(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 16, 12)).shape
        torch.Size([1, 2, 16, 12])
    """
    if not isinstance(output, Tensor) or image is None or output.ndim != image.ndim:
        return output
    return resized(output, image.shape[2:])


def one_map(features: Features, source: nn.Module | None = None) -> Tensor:
    """Return the tensor that a part takes which is no head: the backbone's main map."""
    if isinstance(features, list):
        return features[main_index(source or nn.Identity(), None)]
    return features


def named_modules(parts: Mapping[str, nn.Module], what: str) -> nn.ModuleDict:
    """Return named parts as a ``ModuleDict``.

    Raises:
        ComponentError: If a name holds a dot or is one of ``ModuleDict``'s own.
    """
    made = nn.ModuleDict()
    for name, part in parts.items():
        if not name or "." in name or hasattr(nn.ModuleDict, name):
            message = f"'{name}' cannot name a {what}: take a plain word, and none that torch uses"
            raise ComponentError(message)
        made[name] = part
    return made


def _parts_of(net: nn.Module) -> Iterable[nn.Module]:
    for child in net.children():
        if isinstance(child, (nn.ModuleDict, nn.ModuleList)):
            items = child.values() if isinstance(child, nn.ModuleDict) else child
            yield from cast(Iterable[nn.Module], items)
        else:
            yield child
