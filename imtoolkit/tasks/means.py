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
            values: Scalars, by name; a name that a batch lacks is left out of its count.
            count: Samples that they are means of.
            place: Epoch and number of the batch. A new epoch starts anew; a place that was added
                already counts once, since some optimizers evaluate a batch several times.
            counts: Samples that single values are means of, where these are fewer.
        """
        if self._place is not None and place[0] != self._place[0]:
            self.reset()
        if place == self._place:
            return
        self._meet(values)
        absent = next(iter(values.values())).new_zeros(())
        named = {name: values.get(name, absent) for name in self._names}
        stacked = torch.stack([value.detach().reshape(()) for value in named.values()])
        # Apple's GPUs have no float64
        exact = stacked.float() if stacked.device.type == "mps" else stacked.double()
        own = [(counts or {}).get(name, count if name in values else 0) for name in self._names]
        for name, number in zip(self._names, own, strict=True):
            if number != count:
                self._fewer[name] = self._fewer.get(name, 0) + count - number
        factor = count if set(own) == {count} else exact.new_tensor(own)
        before = torch.zeros_like(exact) if self._sums is None else self._sums.to(exact)
        self._sums = before + exact * factor
        self._count += count
        self._place = place

    def _meet(self, values: Mapping[str, Tensor]) -> None:
        """Make room for names that were not there before: not every batch has a value of each."""
        new = [name for name in values if name not in self._names]
        if new and self._sums is not None:
            self._sums = torch.cat([self._sums, self._sums.new_zeros(len(new))])
            self._fewer |= dict.fromkeys(new, self._count)
        self._names = (*self._names, *new)

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
        names = dict.fromkeys(name for part in parts for name in part["sums"])
        lacking = {
            name: sum(
                part.get("fewer", {}).get(name, 0) if name in part["sums"] else part["count"]
                for part in parts
            )
            for name in names
        }
        fewer = {name: count for name, count in lacking.items() if count}
        return {
            "sums": {name: sum(part["sums"].get(name, 0.0) for part in parts) for name in names},
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
