"""Weights that are not trained, chosen by patterns of their names."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed


def freeze(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Stop training the weights whose names match; return their names.

    Args:
        module: Changed in place: ``requires_grad`` of the weights.
        patterns: Such as ``"nets.net.model.0.*"``, case counts.

    Raises:
        ConfigError: If a pattern matches no weight.
    """
    parameters = dict(module.named_parameters())
    problems = [
        Problem(
            f"no weight is called '{pattern}'.{did_you_mean(pattern.rstrip('.*'), parameters)} "
            f"Names are like {listed(list(parameters), 3)}",
            where="task.freeze",
        )
        for pattern in patterns
        if not any(fnmatchcase(name, pattern) for name in parameters)
    ]
    if problems:
        raise ConfigError(problems)
    frozen = [
        name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    for name in frozen:
        parameters[name].requires_grad_(False)
    return frozen


def hold_frozen_norms(module: nn.Module) -> None:
    """Put frozen normalisation layers into evaluation mode: their statistics stay as well."""
    for part in module.modules():
        if not hasattr(part, "running_mean"):
            continue
        own = list(part.parameters(recurse=False))
        if own and not any(weight.requires_grad for weight in own):
            part.eval()
