"""Any module used as a net: its arguments named in the batch, its results named as outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from imtoolkit.core.batch import IMAGE
from imtoolkit.core.errors import ComponentError, ConfigError, Problem, did_you_mean

if TYPE_CHECKING:
    from .assembling import Assembler, Slot


class Wrapped(nn.Module):
    """Calls a module with values of the batch and names what it returns.

    Args:
        net: The module.
        inputs: Keys of the batch for its arguments in order; or argument -> key.
        outputs: Names for what it returns, in order: the net then returns a dict. Left out, it
            returns what the module does.
        before: Modules (from Python also functions) that process an input first: one for the
            first input, or by key of the batch.
        after: Modules (or functions) that process an output: one for the first, or by name.

    Example:
        >>> import torch
        >>> lstm = nn.GRU(4, 3, batch_first=True)
        >>> net = Wrapped(lstm, ["image"], ["states", "last"], after={"last": nn.Flatten()})
        >>> {name: tuple(value.shape) for name, value in net(torch.zeros(2, 5, 4)).items()}
        {'states': (2, 5, 3), 'last': (1, 6)}
    """

    def __init__(
        self,
        net: nn.Module,
        inputs: Sequence[str] | Mapping[str, str] = (IMAGE,),
        outputs: Sequence[str] | None = None,
        before: nn.Module | Mapping[str, nn.Module] | None = None,
        after: nn.Module | Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.arguments = tuple(inputs) if isinstance(inputs, Mapping) else None
        self.inputs = tuple(inputs.values()) if isinstance(inputs, Mapping) else tuple(inputs)
        self.outputs = tuple(outputs or ())
        self.before = _Steps(before, self.inputs, "before")
        self.after = _Steps(after, self.outputs or ("output",), "after")

    @classmethod
    def assemble(cls, params: Mapping[str, Any], slot: Slot, make: Assembler) -> Wrapped:
        """Build the module, and what processes its inputs and outputs."""
        outputs: list[str] = list(params.get("outputs") or [])
        wanted = slot.out_channels
        if isinstance(wanted, Mapping):
            missing = [name for name in wanted if name not in outputs]
            if missing:
                message = f"no output is called '{missing[0]}'.{did_you_mean(missing[0], outputs)}"
                raise ConfigError(Problem(message, where=f"{slot.where}.params.outputs"))
            wanted = wanted[outputs[0]] if len(outputs) == 1 else None
        if len(outputs) > 1:
            wanted = None  # which of them would be meant?
        rest = {key: params[key] for key in ("inputs", "outputs") if key in params}
        inner = slot.below("net", wanted)
        net = make.part(params["net"], inner, last=True)
        steps = {
            key: _built(params[key], slot.below(key), make)
            for key in ("before", "after")
            if params.get(key) is not None
        }
        return cls(net, **rest, **steps)

    def forward(self, *values: Tensor) -> Any:
        """Return the module's result for the values under ``inputs``."""
        taken = [self.before(key, value) for key, value in zip(self.inputs, values, strict=True)]
        if self.arguments is None:
            raw = self.net(*taken)
        else:
            raw = self.net(**dict(zip(self.arguments, taken, strict=True)))
        if not self.outputs:
            return self.after("output", raw)
        named = _named(raw, self.outputs)
        return {name: self.after(name, value) for name, value in named.items()}


class _Steps(nn.Module):
    """Modules or functions by key."""

    def __init__(self, steps: Any, keys: Sequence[str], what: str) -> None:
        super().__init__()
        by_key = dict(steps) if isinstance(steps, Mapping) else {keys[0]: steps} if steps else {}
        unknown = [key for key in by_key if key not in keys]
        if unknown:
            hint = did_you_mean(unknown[0], keys)
            message = f"'{what}' has '{unknown[0]}', which is none of {list(keys)}.{hint}"
            raise ComponentError(message)
        self.steps = nn.ModuleDict(
            {key: step for key, step in by_key.items() if isinstance(step, nn.Module)}
        )
        self.functions: dict[str, Callable[[Any], Any]] = {
            key: step for key, step in by_key.items() if key not in self.steps
        }

    def forward(self, key: str, value: Any) -> Any:
        if key in self.steps:
            return self.steps[key](value)
        return self.functions[key](value) if key in self.functions else value


def _built(given: Any, slot: Slot, make: Assembler) -> Any:
    """Build one step, or steps by key; functions stay as they are."""
    if isinstance(given, Mapping) and "name" not in given:
        return {key: _built(item, slot, make) for key, item in given.items()}
    a_function = callable(given) and not isinstance(given, nn.Module)
    return given if a_function else make.part(given, slot, last=True)


def _named(raw: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(raw, Mapping):
        missing = [name for name in names if name not in raw]
        if missing:
            message = f"the module returns {list(raw)}, and no '{missing[0]}'"
            raise ComponentError(message)
        return {name: raw[name] for name in names}
    values = raw if isinstance(raw, (list, tuple)) else [raw]
    if len(values) != len(names):
        message = f"the module returns {len(values)} value(s) for the outputs {list(names)}"
        raise ComponentError(message)
    return dict(zip(names, values, strict=True))
