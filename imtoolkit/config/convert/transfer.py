"""One conversion under way: the old file, the new config, and the account of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from imtoolkit.config.index import Entry, Index, open_index
from imtoolkit.core.filled import FILLED

from .old import OldFile
from .report import Ledger

_ABSENT: Final = object()

_FACTS: Final = (
    *("in_channels", "out_channels", "spatial_dims", "image_size", "image_shape", "yes"),
)
"""What of nets and losses the data and the task fill in better than an old file."""


@dataclass
class Facts:
    """What several steps of a conversion need to know.

    Attributes:
        framework: ``FCN``, ``pix2pix``, ``cyclegan``, ``embedseg``, ``ProbUnet`` or ``nnUnet``.
        category: The category of the task here.
        trains: Whether the old file trains; otherwise it predicts.
        dims: 2 or 3, where the old file tells.
        target_is_image: Whether the target is made of pixels, and not of numbers for the image.
        patch: Size of a patch ``[Z,] Y, X``, where there is one.
        per_image: Patches drawn from an image at a visit.
    """

    framework: str
    category: str
    trains: bool
    dims: int | None = None
    target_is_image: bool = True
    patch: list[int] | None = None
    per_image: int = 1

    @property
    def labels(self) -> bool:
        """Whether targets are labels of pixels: classes or objects."""
        return self.category in ("segmentation", "embedseg", "probabilistic_unet")

    @property
    def unpaired(self) -> bool:
        """Whether images of two domains do not belong together."""
        return self.category == "cyclegan"


@dataclass
class Transfer:
    """What the old file says, what the new one gets, and what became of each key.

    Attributes:
        old: The old file.
        facts: What is known about it.
        new: The new config, as plain values.
        ledger: The account.
        remarks: What a user shall know or do before training.
        joined: The inference file that joined a training file.
    """

    old: OldFile
    facts: Facts
    new: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger = field(init=False)
    remarks: list[str] = field(default_factory=list)
    joined: Transfer | None = None

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.old.leaves)

    @property
    def index(self) -> Index:
        """The components that may be named here."""
        return open_index()

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value of the old file."""
        return self.old.get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Write a value into the new config."""
        *parents, last = key.split(".")
        section = self.new
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value

    def option(self, key: str, name: str, value: Any) -> None:
        """Write an option of a component beside its name, such as the weight of a loss."""
        *parents, last = key.split(".")
        section = self.new
        for parent in parents:
            section = section[parent]
        if isinstance(section[last], str):
            section[last] = {"name": section[last]}
        section[last][name] = value

    def append(self, key: str, value: Any) -> str:
        """Add a value to a list of the new config and return its key."""
        *parents, last = key.split(".")
        section = self.new
        for parent in parents:
            section = section.setdefault(parent, {})
        section.setdefault(last, []).append(value)
        return f"{key}.{len(section[last]) - 1}"

    def carry(self, key: str, to: str, value: Any = _ABSENT, note: str = "") -> None:
        """Write the value of an old key to a new one, where the old file has it."""
        got = self.get(key)
        if got is None:
            return
        self.put(to, got if value is _ABSENT else value)
        self.ledger.carried(key, to, note)

    def imply(self, key: str, why: str, to: str = "") -> None:
        """Tell that what an old key says is so anyway."""
        self.ledger.implied(key, why, to)

    def lose(self, key: str, why: str) -> None:
        """Tell that an old key has no counterpart."""
        self.ledger.lost(key, why)

    def remark(self, text: str) -> None:
        """Tell the user something, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    # --- components -------------------------------------------------------------------------------

    def component(self, key: str) -> tuple[str, str, dict[str, Any]]:
        """Return module, name and parameters of a component of the old file."""
        raw = self.get(key, {})
        if not isinstance(raw, Mapping):
            return "", str(raw), {}
        params = raw.get("params")
        return (
            str(raw.get("module_name") or ""),
            str(raw.get("func_name") or ""),
            dict(params) if isinstance(params, Mapping) else {},
        )

    def entry(self, kind: str, name: str) -> Entry | None:
        """Return what is known of a component here, if a config may use it."""
        found = self.index.get(kind, name)
        return None if found is None or found.refused is not None else found

    def known_params(
        self, key: str, to: str, kind: str, name: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters that a component takes, and account for all of them.

        What the data fill in is left out, and so is what the component does not know.
        """
        entry = self.entry(kind, name)
        kept: dict[str, Any] = {}
        for parameter, value in params.items():
            place = f"{key}.params.{parameter}"
            if kind in ("net", "loss") and FILLED[kind].get(parameter) in _FACTS:
                self.imply(place, "filled in from the data and the task")
            elif value is None:
                self.imply(place, "null is as if it were left out")
            elif entry is None or parameter in entry.signature.names or entry.signature.open:
                kept[parameter] = value
                self.ledger.carried(place, f"{to}.params.{parameter}")
            else:
                self.lose(place, f"'{name}' of the installed release takes no such parameter")
        return kept


def component(name: str, params: Mapping[str, Any] | None = None) -> Any:
    """Return a component as a config has it: a bare name where there are no parameters.

    Example:
        >>> component("flips"), component("flips", {"prob": 0.5})
        ('flips', {'name': 'flips', 'params': {'prob': 0.5}})
    """
    return {"name": name, "params": dict(params)} if params else name


def as_list(value: Any) -> list[Any]:
    """Return a value as a list.

    Example:
        >>> as_list(3), as_list([1, 2]), as_list(None)
        ([3], [1, 2], [])
    """
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
