"""Means over an epoch, exact however it is cut into batches, ranks and resumed parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .rows import gathered


class EpochMeans:
    """Running sums of named values, weighted by the number of samples.

    The sums stay on the device, so that adding does not wait for it.

    Example:
        >>> means = EpochMeans()
        >>> means.add({"loss": torch.tensor(1.0)}, count=3, place=(0, 0))
        >>> means.add({"loss": torch.tensor(2.0)}, count=1, place=(0, 1))
        >>> means.reduced()
        {'loss': 1.25}
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None
        self._count = 0
        self._fewer: dict[str, int] = {}  # how many samples a name lacks
        self._place: tuple[int, int] | None = None

    def add(
        self,
        values: dict[str, Tensor],
        count: int,
        place: tuple[int, int],
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Add the values of a batch.

        Args:
            values: Scalars; the same names each time.
            count: Samples that they are means of.
            place: Epoch and number of the batch. A new epoch starts anew; a place that was added
                already counts once, since some optimizers evaluate a batch several times.
            counts: Samples that single values are means of, where these are fewer.
        """
        if self._place is not None and place[0] != self._place[0]:
            self.reset()
        if place == self._place:
            return
        stacked = torch.stack([value.detach().reshape(()) for value in values.values()])
        # Apple's GPUs have no float64
        exact = stacked.float() if stacked.device.type == "mps" else stacked.double()
        if self._sums is None:
            self._names, self._sums = tuple(values), torch.zeros_like(exact)
        own = [(counts or {}).get(name, count) for name in values]
        for name, number in zip(values, own, strict=True):
            if number != count:
                self._fewer[name] = self._fewer.get(name, 0) + count - number
        factor = count if set(own) == {count} else exact.new_tensor(own)
        self._sums = self._sums.to(exact) + exact * factor
        self._count += count
        self._place = place

    def reduced(self) -> dict[str, float]:
        """Return the means over all ranks; empty where nothing was added."""
        state = self.state()
        counts = {
            name: state["count"] - state.get("fewer", {}).get(name, 0) for name in state["sums"]
        }
        return {name: total / counts[name] for name, total in state["sums"].items() if counts[name]}

    def state(self) -> dict[str, Any]:
        """Return the sums over all ranks as plain values; every rank must call it."""
        sums = [] if self._sums is None else self._sums.tolist()
        parts = gathered(
            [
                {
                    "sums": dict(zip(self._names, sums, strict=True)),
                    "count": self._count,
                    "place": list(self._place) if self._place else None,
                    "fewer": self._fewer,
                }
            ]
        )
        fewer = {
            name: sum(part.get("fewer", {}).get(name, 0) for part in parts)
            for part in parts
            for name in part.get("fewer", {})
        }
        named: dict[str, float] = next((part["sums"] for part in parts if part["sums"]), {})
        return {
            "sums": {name: sum(part["sums"].get(name, 0.0) for part in parts) for name in named},
            "count": sum(part["count"] for part in parts),
            "place": next((part["place"] for part in parts if part["place"]), None),
            **({"fewer": fewer} if fewer else {}),
        }

    def restore(self, state: dict[str, Any], rank: int) -> None:
        """Take up the sums of `state`; rank 0 holds them, so that they count once."""
        self.reset()
        place = state.get("place")
        self._place = None if place is None else (int(place[0]), int(place[1]))
        if rank == 0 and state.get("sums"):
            self._names = tuple(state["sums"])
            self._sums = torch.tensor(list(state["sums"].values()), dtype=torch.float64)
            self._count = int(state["count"])
            self._fewer = dict(state.get("fewer", {}))
