"""What the cells of a spatio-temporal net have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NORMS: Final = ("layer", "rms", "batch", "instance")
WAYS: Final = ("conv", "linear")


@dataclass(frozen=True)
class CellOptions:
    """Options of cells; the nets take each by its name.

    Attributes:
        window: Side of a window in pixels of the level; one larger than the map is the map.
        patch: Side of the patches that are tokens, in pixels of the level; divides the window.
        heads: Heads of the attention; divide the channels.
        kernel: Side of the convolutions in pixels, odd.
        projection: How query, key, value and output are made: ``conv`` or ``linear``.
        mixer: The two layers of the mixer: ``conv`` or ``linear``.
        mixer_ratio: Width of the mixer, as a multiple of the channels.
        norm: ``layer`` and ``rms`` over the channels of a pixel, ``batch``, or ``instance`` over a
            frame.
        cosine: Attention by the cosine of query and key, with a learned temperature for each head.
        relative_bias: A learned bias for each offset between two tokens is added to the logits.
        bias_reach: Offset in tokens from which on `G`, `T` and `V` share one bias; a window has
            one for each.
        causal: A frame sees itself and the frames before it.
        time_stride: Stride in Y and X of query and key in `T`, which saves time and memory.
        parallel: Attention and mixer side by side, instead of one after the other.
        dropout: Share of what a cell adds that is left out.
        attention_dropout: Share of the attention weights that is left out.

    Raises:
        ValueError: If a value makes no sense.
    """

    window: int = 8
    patch: int = 1
    heads: int = 8
    kernel: int = 3
    projection: str = "conv"
    mixer: str = "conv"
    mixer_ratio: float = 4.0
    norm: str = "layer"
    cosine: bool = False
    relative_bias: bool = False
    bias_reach: int = 16
    causal: bool = False
    time_stride: int = 1
    parallel: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        for message in filter(None, (*self._unknown_words(), *self._bad_numbers())):
            raise ValueError(message)

    def _unknown_words(self) -> list[str | None]:
        return [
            None if value in known else f"got {name}='{value}'; expected {' or '.join(known)}"
            for name, value, known in (
                ("norm", self.norm, NORMS),
                ("projection", self.projection, WAYS),
                ("mixer", self.mixer, WAYS),
            )
        ]

    def _bad_numbers(self) -> list[str | None]:
        small = [
            f"got {name}={value}; expected at least 1"
            for name in ("window", "patch", "heads", "kernel", "bias_reach", "time_stride")
            if (value := getattr(self, name)) < 1
        ]
        shares = [
            f"got {name}={value}; expected a share of [0, 1)"
            for name in ("dropout", "attention_dropout")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        if small or shares:
            return [*small, *shares]
        return [
            f"got patch={self.patch} and window={self.window}; the patch must divide the window"
            if self.window % self.patch
            else None,
            f"got kernel={self.kernel}; expected an odd number" if self.kernel % 2 == 0 else None,
            f"got mixer_ratio={self.mixer_ratio}; expected more than 0"
            if self.mixer_ratio <= 0
            else None,
            f"got time_stride={self.time_stride} with projection='linear'; a stride needs "
            "projection='conv'"
            if self.time_stride > 1 and self.projection == "linear"
            else None,
        ]
