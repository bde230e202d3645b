"""``imtoolkit evaluate``: measure a trained model on held-out images, alone or against another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from imtoolkit.core.errors import ConfigError

from .output import out
from .train import found_run, show_summary
from .trust import Trust, trust_run


def evaluate(
    run: Annotated[str, typer.Argument(help="Run: path, prefix of its id, or latest.")],
    split: Annotated[str, typer.Option("--split", help="test, val, train or naive.")] = "test",
    against: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--against", help="Another run, compared image by image."),
    ] = None,
    checkpoint: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--checkpoint", help="best, last or best-<metric>."),
    ] = None,
    images: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--images", help="Other images: a pattern such as 'new/images/*.tif'."),
    ] = None,
    targets: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--targets", help="Their targets: a pattern such as 'new/labels/*.tif'."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Measure a trained model on images that it has not seen, each once."""
    for reference in (run, against) if trust else ():
        if reference is not None:
            trust_run(reference)
    source = _source(images, targets)
    name = split if source is None or split != "test" else "other"
    found = found_run(run)
    from imtoolkit.trainer.evaluate import evaluate as measure

    scores = measure(
        found,
        name,
        checkpoint=checkpoint,
        against=against,
        source=source,
        quiet=not out().talks,
    )
    summary = scores.summary
    show_summary(summary, f"{name}: {summary['images']} images, {summary['checkpoint']} state")
    if "against" in summary:
        _show_comparison(summary["against"], summary["confidence"])
    assert scores.path is not None
    out().wrote("scores", scores.path / "per_image.csv")
    out().wrote("summary", scores.path / "summary.json")
    out().result(path=scores.path, **summary)


def _show_comparison(compared: dict[str, Any], confidence: float) -> None:
    from imtoolkit.runs.show import told_apart

    metrics = compared["metrics"]
    keys = ("difference", "low", "high", "p_value", "images")
    rows = [(name, *(metrics[name][key] for key in keys)) for name in told_apart(metrics)]
    level = f"{confidence:.0%}"
    columns = ["metric", "difference", f"{level} low", f"{level} high", "p", "images"]
    out().table(columns, rows, f"\nminus {compared['run']}, image by image")


def _source(images: str | None, targets: str | None) -> dict[str, Any] | None:
    if images is None and targets is None:
        return None
    if images is None or targets is None:
        message = "--images and --targets belong together: both patterns are needed to measure"
        raise ConfigError(message)
    root = str(Path.cwd())
    return {"name": "folder", "params": {"root": root, "image": images, "target": targets}}
