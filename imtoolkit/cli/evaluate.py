"""``imtoolkit evaluate``: measure a trained model on held-out images, alone or against another."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from imtoolkit.core.errors import ConfigError

from .output import out
from .train import found_run, show_summary
from .trust import Trust, trust_run
from .tuning import Tuned
from .tuning import tune as tune_run

if TYPE_CHECKING:
    from imtoolkit.runs import Run


def evaluate(
    run: Annotated[str, typer.Argument(help="Run: path, prefix of its id, or latest.")],
    split: Annotated[str, typer.Option("--split", help="test, val, train or naive.")] = "test",
    against: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--against", help="Another run, compared image by image."),
    ] = None,
    members: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--with", help="Another run that votes as well; may be repeated."),
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
    table: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--table", help="Other images: a CSV with columns image and target."),
    ] = None,
    tune: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--tune", help="postprocess: search its parameters on the validation images first."
        ),
    ] = None,
    metric: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--metric", help="With --tune: what shall become better, such as ap/50."),
    ] = None,
    head: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--head", help="With --tune: the output to tune, where there are several."),
    ] = None,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Measure how well uncertainty tells errors."),
    ] = False,
    method: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--uncertainty-method", help="As of imtoolkit predict."),
    ] = None,
    samples: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--samples", help="Predictions of an image, for --uncertainty."),
    ] = None,
    tuned: Tuned = True,
    trust: Trust = False,
) -> None:
    """Measure a trained model on images that it has not seen, each once."""
    members = members or []
    for reference in (run, against, *members) if trust else ():
        if reference is not None:
            trust_run(reference)
    source = _source(images, targets, table)
    name = split if source is None or split != "test" else "other"
    found = found_run(run)
    if tune is not None:
        _refuse_beside_tuning(split, members, against, source)
        tune_run(found, tune, metric=metric, head=head, checkpoint=checkpoint)
        return
    if metric is not None or head is not None:
        message = "--metric and --head say what --tune shall make better: give --tune postprocess"
        raise ConfigError(message)
    if uncertainty or method is not None or samples is not None:
        if not uncertainty or against is not None:
            message = (
                "--uncertainty-method and --samples belong to --uncertainty, which measures by "
                "itself, without --against"
            )
            raise ConfigError(message)
        runs = [found, *(found_run(one) for one in members)]
        given = {"method": method, "samples": samples}
        _evaluate_uncertainty(runs, name, given, checkpoint=checkpoint, source=source)
        return
    if members:
        if against is not None:
            message = "--with and --against exclude each other: evaluate the ensemble by itself"
            raise ConfigError(message)
        _evaluate_ensemble([found, *(found_run(one) for one in members)], name, checkpoint, source)
        return
    from imtoolkit.trainer.evaluate import evaluate as measure

    scores = measure(
        found,
        name,
        checkpoint=checkpoint,
        against=against,
        source=source,
        tuned=tuned,
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


def _refuse_beside_tuning(
    split: str, members: list[str], against: str | None, source: dict[str, Any] | None
) -> None:
    if members or against is not None or source is not None or split not in ("test", "val"):
        message = (
            "--tune searches on the validation images of one run: leave --with, --against, "
            "--images, --targets, --table and --split out"
        )
        raise ConfigError(message)


def _show_comparison(compared: dict[str, Any], confidence: float) -> None:
    from imtoolkit.runs.show import told_apart

    metrics = compared["metrics"]
    keys = ("difference", "low", "high", "p_value", "images")
    rows = [(name, *(metrics[name][key] for key in keys)) for name in told_apart(metrics)]
    level = f"{confidence:.0%}"
    columns = ["metric", "difference", f"{level} low", f"{level} high", "p", "images"]
    out().table(columns, rows, f"\nminus {compared['run']}, image by image")


def _evaluate_ensemble(
    runs: list[Run], split: str, checkpoint: str | None, source: dict[str, Any] | None
) -> None:
    """Measure several runs that vote, and show each member beside the votes."""
    from imtoolkit.trainer.evaluate_ensemble import evaluate_ensemble as measure

    def track(batches: Iterable[Any]) -> Iterable[Any]:
        return out().progress(batches, "evaluating", total=len(batches))  # type: ignore[arg-type]

    scores = measure(runs, split, checkpoint=checkpoint, source=source, track=track)
    table = scores.table()
    rows = [(str(name), *_cells(values)) for name, values in table.iterrows()]
    title = f"{split}: {scores.summary['images']} images, {len(runs)} runs"
    out().table(["metric", *table.columns], rows, title)
    assert scores.path is not None
    out().wrote("scores of the average", scores.path / "per_image.csv")
    out().wrote("all members", scores.path / "members.csv")
    out().result(path=scores.path, **scores.summary)


def _evaluate_uncertainty(
    runs: list[Run], split: str, given: dict[str, Any], **options: Any
) -> None:
    """Measure how well uncertainty tells errors, and show it."""
    from imtoolkit.trainer.evaluate_uncertainty import evaluate_uncertainty as measure

    def track(batches: Iterable[Any]) -> Iterable[Any]:
        return out().progress(batches, "evaluating", total=len(batches))  # type: ignore[arg-type]

    scores = measure(runs, split, uncertainty=given, track=track, **options)
    summary = scores.summary
    made = summary["uncertainty"]
    title = f"{split}: {summary['images']} images, {made['predictions']} predictions of each"
    show_summary(summary, f"{title} by {made['method']}")
    rows = list(summary["correlation"].items())
    out().table(["over the images", "rank correlation"], rows, "\nuncertainty and quality")
    assert scores.path is not None
    out().wrote("scores", scores.path / "per_image.csv")
    out().wrote("summary", scores.path / "summary.json")
    out().result(path=scores.path, **summary)


def _cells(values: Any) -> list[float | None]:
    return [None if value != value else float(value) for value in values]


def _source(images: str | None, targets: str | None, table: Path | None) -> dict[str, Any] | None:
    if table is not None:
        if images is not None or targets is not None:
            message = "--table stands for itself: leave --images and --targets out"
            raise ConfigError(message)
        return {"name": "csv", "params": {"path": str(table.absolute())}}
    if images is None and targets is None:
        return None
    if images is None or targets is None:
        message = "--images and --targets belong together: both patterns are needed to measure"
        raise ConfigError(message)
    root = str(Path.cwd())
    return {"name": "folder", "params": {"root": root, "image": images, "target": targets}}
