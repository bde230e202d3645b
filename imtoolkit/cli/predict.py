"""``imtoolkit predict``: apply a trained model to images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from imtoolkit.core.errors import ConfigError

from .output import out
from .train import found_run
from .trust import Trust, trust_run
from .tuning import Tuned

if TYPE_CHECKING:
    from imtoolkit.trainer.inputs import Input


def predict(
    run: Annotated[str, typer.Argument(help="Run: path, prefix of its id, or latest.")],
    inputs: Annotated[
        list[str],
        typer.Argument(help="Files, folders, patterns, tables, OME-Zarr; 'a|b' joins channels."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the predictions.")],
    members: Annotated[
        Optional[list[str]],  # noqa: UP045 - typer reads it at run time
        typer.Option("--with", help="Another run that votes as well; may be repeated."),
    ] = None,
    vote: Annotated[
        str, typer.Option("--vote", help="How several runs vote: average or majority.")
    ] = "average",
    checkpoint: Annotated[
        Optional[str],  # noqa: UP045 - typer reads it at run time
        typer.Option("--checkpoint", help="best, last or best-<metric>."),
    ] = None,
    suffix: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--format", help=".ome.tif, .nii.gz, .npy or .png; left out, as the input."),
    ] = None,
    accelerator: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--accelerator", help="auto, cpu, gpu, ..."),
    ] = None,
    axes: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--axes", help="Axes of the images; left out, those of the run's images."),
    ] = None,
    time: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--time", help="The only time point to predict, from 0; left out, all."),
    ] = None,
    scene: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scene", help="Scene of files with several, by number or name."),
    ] = None,
    direction: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--direction", help="Of a CycleGAN: a_to_b or b_to_a."),
    ] = None,
    tuned: Tuned = True,
    uncertainty: Annotated[
        bool,
        typer.Option("--uncertainty", help="Predict several times; write where they differ."),
    ] = False,
    method: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--uncertainty-method",
            help="auto, posterior, dropout, perturb, flips or ensemble (the runs of --with).",
        ),
    ] = None,
    samples: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--samples", help="Predictions of an image, for --uncertainty."),
    ] = None,
    trust: Trust = False,
) -> None:
    """Apply a trained model to images and write what it makes of them, with their pixel size."""
    from imtoolkit.trainer.predict import predict as apply

    asked = {"method": method, "samples": samples}
    given = {key: value for key, value in asked.items() if value is not None}
    if given and not uncertainty:
        message = "--uncertainty-method and --samples belong to --uncertainty: add it"
        raise ConfigError(message)
    references = [run, *(members or [])]
    for reference in references if trust else ():
        trust_run(reference)
    found = [found_run(reference) for reference in references]

    def track(items: Iterable[Input]) -> Iterable[Input]:
        return out().progress(items, "predicting", total=len(list(items)))

    written = apply(
        found,
        inputs,
        output,
        vote=vote,
        checkpoint=checkpoint,
        accelerator=accelerator,
        axes=axes,
        time=time,
        scene=scene,
        direction=direction,
        tuned=tuned,
        suffix=suffix,
        uncertainty=given if uncertainty else False,
        track=track,
    )
    _tell(found[0].path, output, written)


def _tell(run: Path, output: Path, written: list[Path]) -> None:
    """Say what was written and where."""
    from imtoolkit.trainer.predict import TABLE

    many = f"{len(written)} files" if len(written) != 1 else "1 file"
    out().wrote(many, output)
    table = next((path for path in written if path.name == TABLE), None)
    if table is not None:
        out().wrote("table", table)
    out().result(run=run, output=output, written=written)
