"""Attention of the spatio-temporal nets beside the same attention written with einsum.

Ours hands query, key and value to torch's ``scaled_dot_product_attention``; the peer computes
logits, softmax and sum itself. Everything else is the same module with the same weights: each case
runs forward and backward with either, in turn, on 64x64x8 and 256x256x1 pixels (Y, X, T). Memory is
the peak of what one forward and backward allocate on top of the module and its input, as torch's
profiler sees it (on a GPU, as its allocator does).
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from measure import alternate, arguments, compared, show
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from imtoolkit.nets.stcnnt import attention
from imtoolkit.nets.stcnnt.cells import Block
from imtoolkit.nets.stcnnt.grammar import parse_block_string
from imtoolkit.nets.stcnnt.options import CellOptions

SIZES = {"64x64x8": (8, 64, 64), "256x256x1": (1, 256, 256)}
"""Y x X x T, as the names say -> (T, Y, X)."""

CASES = {
    "L": CellOptions(window=16, heads=4),
    "G": CellOptions(window=16, heads=4),
    "T": CellOptions(heads=4, causal=True),
    "V": CellOptions(window=8, patch=8, heads=4),
    "L1G1T1": CellOptions(window=16, heads=4),
}
"""Attention alone by its letter, and a block of three cells with mixers."""


def einsum_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Compute what ``scaled_dot_product_attention`` does, step by step."""
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    logits = torch.einsum("nhqd,nhkd->nhqk", query, key) * factor
    if is_causal:
        future = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).triu(1)
        logits = logits.masked_fill(future, float("-inf"))
    if attn_mask is not None:
        logits = logits + attn_mask
    weights = torch.dropout(logits.softmax(-1), dropout_p, train=dropout_p > 0)
    return torch.einsum("nhqk,nhkd->nhqd", weights, value)


@contextlib.contextmanager
def attending(by_einsum: bool) -> Iterator[None]:
    """Let the modules attend by einsum, or as they do."""
    name = "scaled_dot_product_attention"
    function = einsum_attention if by_einsum else getattr(attention, name)
    with mock.patch.object(attention, name, function):
        yield


class Case:
    """A module and its input.

    Args:
        letters: A key of `CASES`.
        size: ``(T, Y, X)``.
        channels: Channels of the features.
        device: Where it runs.
    """

    def __init__(
        self, letters: str, size: tuple[int, int, int], channels: int, device: str
    ) -> None:
        torch.manual_seed(0)
        options = CASES[letters]
        made: nn.Module = (
            attention.ATTENTIONS[letters](channels, options)
            if letters in attention.ATTENTIONS
            else Block(channels, parse_block_string(letters), options)
        )
        self.module = made.to(device)
        self.image = torch.randn(1, channels, *size, device=device, requires_grad=True)
        self.gradient = torch.randn_like(self.image)
        self.device = device
        self.seconds: dict[tuple[str, bool], list[float]] = {}

    def run(self, by_einsum: bool) -> float:
        """Run forward and backward, note the time of both, and return their sum."""
        self.forget()
        with attending(by_einsum):
            start = self.now()
            output = self.module(self.image)
            middle = self.now()
            output.backward(self.gradient)
            end = self.now()
        self.seconds.setdefault(("forward", by_einsum), []).append(middle - start)
        self.seconds.setdefault(("backward", by_einsum), []).append(end - middle)
        return end - start

    def now(self) -> float:
        """Return the time, once the device has done what it was given."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    def forget(self) -> None:
        """Drop the gradients of the last run, which would count as memory."""
        self.module.zero_grad(set_to_none=True)
        self.image.grad = None

    def peak(self, by_einsum: bool) -> float:
        """Return the peak of the memory that forward and backward take, in MiB."""
        self.forget()
        if self.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.run(by_einsum)
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            self.run(by_einsum)
        return highest(seen) / 2**20

    def difference(self) -> float:
        """Return by how much the two differ at most, relative to the largest value."""
        with torch.no_grad():
            with attending(False):
                ours = self.module(self.image)
            with attending(True):
                other = self.module(self.image)
        return float((ours - other).abs().max() / other.abs().max())


def highest(seen: profile) -> float:
    """Return the largest number of bytes held at a time, from the allocations that were seen."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        seen.export_chrome_trace(str(file))
        events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted(
        (event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"
    )
    held = top = 0
    for _, change in changes:
        held += change
        top = max(top, held)
    return top


def measured(case: Case, rounds: int) -> tuple[list[float], list[float], dict[str, Any]]:
    """Measure one case: seconds of all rounds of either, and what to tell about it."""
    difference = case.difference()
    assert difference < 1e-3, f"the two attentions differ by {difference}"
    memory = [case.peak(by_einsum) for by_einsum in (False, True)]  # the first run warms up
    case.seconds.clear()
    ours, other = alternate(lambda: case.run(False), lambda: case.run(True), rounds)
    told: dict[str, Any] = {}
    for part in ("forward", "backward"):
        told[f"{part}_ms"] = 1e3 * statistics.median(case.seconds[part, False])
        told[f"einsum_{part}_ms"] = 1e3 * statistics.median(case.seconds[part, True])
    told |= {"peak_mib": memory[0], "einsum_peak_mib": memory[1], "difference": difference}
    return ours, other, told


def main() -> None:
    options = arguments(
        __doc__ or "",
        ("--rounds", {"type": int, "default": 7}),
        ("--channels", {"type": int, "default": 32}),
        ("--threads", {"type": int, "default": 2}),
        ("--device", {"default": "cpu"}),
    )
    torch.set_num_threads(options.threads)
    ours, other = [0.0] * options.rounds, [0.0] * options.rounds
    details: dict[str, Any] = {}
    for shown, size in SIZES.items():
        for letters in CASES:
            case = Case(letters, size, options.channels, options.device)
            first, second, told = measured(case, options.rounds)
            details[f"{letters} {shown}"] = told
            if letters not in attention.ATTENTIONS:  # the block stands for all in the summary
                ours = [a + b for a, b in zip(ours, first, strict=True)]
                other = [a + b for a, b in zip(other, second, strict=True)]
    result = compared(
        "stcnnt",
        ours,
        other,
        unit="s forward and backward of L1G1T1 on both sizes",
        peer="the same block with einsum and softmax",
        channels=options.channels,
        threads=options.threads,
        **details,
    )
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
