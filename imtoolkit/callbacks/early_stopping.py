"""Stop when a metric no longer gets better."""

from __future__ import annotations

from typing import Any, Literal

from pytorch_lightning.callbacks import EarlyStopping as LightningEarlyStopping

from imtoolkit.core.errors import ConfigError, Problem, did_you_mean, listed


class EarlyStopping(LightningEarlyStopping):
    """Lightning's early stopping, which a resumed run may make more patient.

    Args:
        monitor: Metric to watch.
        mode: Whether more (``"max"``) or less (``"min"``) of it is better.
        patience: Validations without improvement before training stops.
        min_delta: Smallest change that counts as an improvement.
    """

    def __init__(
        self,
        monitor: str,
        mode: Literal["min", "max"] = "max",
        *,
        patience: int = 10,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta=min_delta, patience=patience, mode=mode)

    @property
    def state_key(self) -> str:
        """Key in the checkpoint, free of settings."""
        return f"EarlyStopping-{self.monitor}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count; the patience is the one asked for now."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def _validate_condition_metric(self, logs: dict[str, Any]) -> bool:
        if self.monitor in logs:
            return super()._validate_condition_metric(logs)
        names = [name for name in logs if "/" in name]
        hint = did_you_mean(self.monitor, names)
        message = f"nobody logs '{self.monitor}'.{hint} There are {listed(names, 20)}"
        raise ConfigError(Problem(message, where="trainer.early_stopping.monitor"))
