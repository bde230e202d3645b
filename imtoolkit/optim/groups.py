"""Parameter groups: which weights decay, which learn slower, and how patterns choose them.

Decay pulls weights towards zero. A norm's scale, a bias, an embedding or a table of positions sets
a level, not a pattern: pulling it to zero changes what a layer computes without making it simpler,
so these are left out of weight decay whatever the optimizer is, unless asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from torch import Tensor, nn

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed

from .blocks import block_numbers

_TABLES: Final = re.compile(
    r"(^|_)pos(ition(al)?)?_?(emb|enc|bias|table)|rel_?pos|relative_pos|_token$"
)
"""Last names of tables of positions and of learnt tokens: `pos_embed`, `cls_token`, ..."""


@dataclass(frozen=True)
class Rule:
    """Weights that are trained otherwise than the rest.

    Attributes:
        weights: Patterns of weight names.
        lr: Their learning rate.
        weight_decay: Their weight decay.
        params: Other options of the optimizer for them.
    """

    weights: Sequence[str]
    lr: float | None = None
    weight_decay: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        """Return what the rule sets."""
        rates = {"lr": self.lr, "weight_decay": self.weight_decay}
        return {**self.params, **{key: rate for key, rate in rates.items() if rate is not None}}


def parameter_groups(
    module: nn.Module,
    *,
    lr: float | None,
    weight_decay: float | None,
    rules: Sequence[Rule] = (),
    layer_decay: float | None = None,
    decay_all: bool = False,
    nets: Mapping[str, nn.Module] | None = None,
    prefix: str = "",
    where: str = "task.optimizer",
) -> list[dict[str, Any]]:
    """Part the trained weights of a module into groups for an optimizer.

    The options of a weight are those of the first rule that fits its name; its learning rate is
    then multiplied by ``layer_decay ** d``, where d is how many blocks lie between it and the end
    of its net (`imtoolkit.optim.blocks`). Weights with equal options share a group, in the order of
    the first of each.

    Args:
        module: Holds the weights; those that need no gradient are left out.
        lr: Learning rate of the weights that no rule names.
        weight_decay: Decay of the weights that no rule names; ``None`` where the optimizer knows no
            decay, and then no weight is told apart for it.
        rules: What differs between weights; the first that fits counts.
        layer_decay: Factor from each block of a net to the one before it.
        decay_all: Decay norms, biases, embeddings and tables of positions as well. Without it they
            do not decay, not even where a rule sets the decay of the weights around them.
        nets: Nets whose blocks are counted, by the beginning of their weights' names; left out, the
            module is one net.
        prefix: Put before each name, such as ``"nets.net."``.
        where: Key of the config, for messages.

    Returns:
        Groups with ``params``, ``param_names`` and the options that are set.

    Raises:
        ConfigError: If a pattern fits no trained weight.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        >>> groups = parameter_groups(net, lr=0.1, weight_decay=0.01)
        >>> [(group["param_names"], group["weight_decay"]) for group in groups]
        [(['0.weight'], 0.01), (['0.bias', '1.weight', '1.bias'], 0.0)]
    """
    trained = {
        prefix + name: weight for name, weight in module.named_parameters() if weight.requires_grad
    }
    _check_rules(rules, trained, where)
    flat = {prefix + name for name in undecayed(module)} if weight_decay is not None else set()
    factors = _layer_factors(nets or {prefix: module}, layer_decay, set(trained))
    groups: dict[str, dict[str, Any]] = {}
    for name, weight in trained.items():
        options: dict[str, Any] = {} if lr is None else {"lr": lr}
        if weight_decay is not None:
            options["weight_decay"] = weight_decay
        rule = next((item for item in rules if _fits(name, item.weights)), None)
        options |= rule.options() if rule is not None else {}
        if name in flat and not decay_all:
            options["weight_decay"] = 0.0
        if name in factors:
            options["lr"] *= factors[name]
        group = groups.setdefault(
            repr(sorted(options.items())), {"params": [], "param_names": [], **options}
        )
        group["params"].append(weight)
        group["param_names"].append(name)
    return list(groups.values())


def undecayed(module: nn.Module) -> set[str]:
    """Return the names of the weights that decay should leave alone.

    These are weights of norms and embeddings, biases, whatever has one axis or none (scales,
    slopes of PReLU), tables of positions and learnt tokens, known by their names.

    Example:
        >>> sorted(undecayed(nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Embedding(3, 2)})))
        ['a.bias', 'b.weight']
    """
    found = set()
    for path, part in module.named_modules():
        whole = isinstance(part, (nn.Embedding, nn.EmbeddingBag)) or _is_norm(part)
        for name, weight in part.named_parameters(recurse=False):
            if whole or weight.ndim <= 1 or name.endswith("bias") or _TABLES.search(name):
                found.add(f"{path}.{name}" if path else name)
    return found


def _is_norm(module: nn.Module) -> bool:
    # own norms of nets are called so as well: GroupNorm32, LayerNorm2d, AdaptiveNorm
    return "norm" in type(module).__name__.lower() and not any(module.children())


def _layer_factors(
    nets: Mapping[str, nn.Module], decay: float | None, trained: set[str]
) -> dict[str, float]:
    if decay is None:
        return {}
    return {
        prefix + name: factor
        for prefix, net in nets.items()
        for name, factor in _of(net, decay)
        if prefix + name in trained
    }


def _of(net: nn.Module, decay: float) -> Iterator[tuple[str, float]]:
    numbers = block_numbers(net)
    last = max(numbers.values(), default=0)
    yield from ((name, decay ** (last - number)) for name, number in numbers.items())


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_rules(rules: Sequence[Rule], trained: Mapping[str, Tensor], where: str) -> None:
    problems = []
    for number, rule in enumerate(rules):
        for pattern in rule.weights:
            if any(fnmatchcase(name, pattern) for name in trained):
                continue
            hint = did_you_mean(pattern, _beginnings(trained))
            message = (
                f"the pattern '{pattern}' fits no trained weight.{hint} Weights are called "
                f"{listed(list(trained), 4)}"
            )
            problems.append(Problem(message, where=f"{where}.groups.{number}.weights"))
    if problems:
        raise ConfigError(problems)


def _beginnings(names: Mapping[str, Tensor]) -> list[str]:
    """Return the names, and the patterns that whole modules would have."""
    parts = [name.split(".") for name in names]
    cut = {".".join(part[:n]) + ".*" for part in parts for n in range(1, len(part))}
    return [*names, *sorted(cut)]
