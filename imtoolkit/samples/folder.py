"""From drawings to a folder of image files with a README, ready to train on.

Image ``i`` depends on (name, seed, dims, i) only: a larger count adds images and changes none. A
folder that holds anything else is never touched.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from imtoolkit.core.errors import DataError, did_you_mean, listed
from imtoolkit.core.files import write_json, write_text
from imtoolkit.core.seeding import mix

from .denoise import draw_denoise
from .drawing import Drawn, Rng
from .hippocampus import draw_hippocampus
from .label_free import draw_label_free
from .lesions import READERS, draw_lesions
from .membranes import draw_membranes
from .nuclei import draw_nuclei
from .shapes import SHAPES, draw_shapes
from .unpaired import draw_unpaired
from .wells import TREATMENTS, WELLS_OF_PLATE, draw_well

log = logging.getLogger(__name__)

VERSION: Final = 1
"""Version of the drawings; it rises when one of them changes, so that old folders are not mixed."""
MARKER: Final = "samples.json"
ANNOTATORS: Final = tuple(f"annotator_{number}" for number in range(len(READERS)))
Row = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One kind of drawn sample.

    Attributes:
        draw: Draws one picture from a generator, a shape and its index in the folder.
        shapes: Shape of a picture for each number of dimensions that can be drawn.
        files: Path of image and target for a stem; the class folder for pictures in classes.
        count: How many are drawn unless told.
        about: What it is, for the README.
        tables: Rows of each table for the number of a picture, by the name of its file.
    """

    draw: Callable[[Rng, tuple[int, ...], int], Drawn]
    shapes: dict[int, tuple[int, ...]]
    files: Callable[[str, Drawn], dict[str, Any]]
    count: int
    about: str
    tables: Mapping[str, Callable[[int, Drawn], list[Row]]] = field(default_factory=dict)


def _paired(image: str, target: str) -> Callable[[str, Drawn], dict[str, Any]]:
    def files(stem: str, drawn: Drawn) -> dict[str, Any]:
        return {
            f"{image}/{stem}.ome.tif": drawn.image,
            f"{target}/{stem}.ome.tif": drawn.target,
        }

    return files


def _exposed_twice(stem: str, drawn: Drawn) -> dict[str, Any]:
    return {
        f"noisy/{stem}.ome.tif": drawn.image,
        f"again/{stem}.ome.tif": drawn.more.get("again"),
        f"clean/{stem}.ome.tif": drawn.target,
    }


def _of_two_domains(stem: str, drawn: Drawn) -> dict[str, Any]:
    """Keep one of the two pictures of a scene, in turn, and of each fifth scene both."""
    turn = int(stem.rpartition("_")[2]) % 5
    if turn == 4:
        return {
            f"pairs/a/{stem}.ome.tif": drawn.image,
            f"pairs/b/{stem}.ome.tif": drawn.target,
        }
    kept = ("a", drawn.image) if turn % 2 == 0 else ("b", drawn.target)
    return {f"{kept[0]}/{stem}.ome.tif": kept[1]}


def _in_classes(stem: str, drawn: Drawn) -> dict[str, Any]:
    return {f"{drawn.facts['class']}/{stem}.ome.tif": drawn.image}


def _nnunet(stem: str, drawn: Drawn) -> dict[str, Any]:
    return {f"imagesTr/{stem}_0000.nii.gz": drawn.image, f"labelsTr/{stem}.nii.gz": drawn.target}


def _one_shape(rng: Rng, shape: tuple[int, ...], index: int) -> Drawn:
    kinds = sorted(SHAPES)  # in turn, so that classes are balanced
    return draw_shapes(rng, shape, kind=kinds[index % len(kinds)])


def _one_well(rng: Rng, shape: tuple[int, ...], index: int) -> Drawn:
    return draw_well(rng, shape, treatment=TREATMENTS[index % len(TREATMENTS)])


def _annotated(stem: str, drawn: Drawn) -> dict[str, Any]:
    labels = {f"labels/{reader}/{stem}.ome.tif": drawn.more.get(reader) for reader in ANNOTATORS}
    return {f"images/{stem}.ome.tif": drawn.image, **labels}


def _annotation_rows(index: int, drawn: Drawn) -> list[Row]:
    """Return a row for each annotation of a picture, which is a group of its own."""
    stem = f"lesions_{index:04d}"
    return [
        {
            "id": f"{stem}_{reader}",
            "image": f"images/{stem}.ome.tif",
            "target": f"labels/{reader}/{stem}.ome.tif",
            "annotator": reader,
            "group": stem,
        }
        for reader in ANNOTATORS
    ]


def _image_rows(index: int, drawn: Drawn) -> list[Row]:
    """Return the one row of a picture, with a column for each annotator."""
    stem = f"lesions_{index:04d}"
    labels = {reader: f"labels/{reader}/{stem}.ome.tif" for reader in ANNOTATORS}
    return [{"id": stem, "image": f"images/{stem}.ome.tif", **labels, **drawn.facts}]


def _well_rows(index: int, drawn: Drawn) -> list[Row]:
    stem = f"wells_{index:04d}"
    row = {
        "id": stem,
        "image": f"images/{stem}.ome.tif",
        "target": f"labels/{stem}.ome.tif",
        "plate": f"plate{index // WELLS_OF_PLATE:02d}",
        "line": drawn.facts["line"],
        "dose": drawn.facts["dose"],
        "treatment": drawn.facts["treatment"],
        "findings": drawn.facts["findings"],
        "nuclei": drawn.facts["objects"],
    }
    return [row]


def _plain(draw: Callable[..., Drawn]) -> Callable[[Rng, tuple[int, ...], int], Drawn]:
    return lambda rng, shape, index: draw(rng, shape)


SAMPLES: Final[dict[str, Sample]] = {
    "nuclei": Sample(
        _plain(draw_nuclei),
        {2: (256, 256), 3: (32, 96, 96)},
        _paired("images", "labels"),
        60,
        "Fluorescent nuclei. images/: uint16; labels/: number of the nucleus, 0 for background.",
    ),
    "membranes": Sample(
        _plain(draw_membranes),
        {2: (256, 256), 3: (16, 192, 192)},
        _paired("images", "labels"),
        30,
        "Cell membranes in electron microscopy. images/: uint8; labels/: 1 on membranes.",
    ),
    "denoise": Sample(
        _plain(draw_denoise),
        {2: (256, 256), 3: (16, 128, 128)},
        _exposed_twice,
        40,
        "Fluorescent fibres, briefly exposed twice (noisy/ and again/) and noise-free (clean/); "
        "uint16, one scale.",
    ),
    "label_free": Sample(
        _plain(draw_label_free),
        {2: (256, 256), 3: (16, 128, 128)},
        _paired("brightfield", "fluorescence"),
        40,
        "A cell layer in phase contrast or bright field (brightfield/) and its DNA stain "
        "(fluorescence/); uint16.",
    ),
    "shapes": Sample(
        _one_shape,
        {2: (64, 64), 3: (32, 32, 32)},
        _in_classes,
        100,
        f"One noisy shape in each image, in a folder for each class: {', '.join(sorted(SHAPES))}.",
    ),
    "wells": Sample(
        _one_well,
        {2: (128, 128), 3: (24, 64, 64)},
        _paired("images", "labels"),
        90,
        "Nuclei in the wells of plates. images/: uint16; labels/: number of the nucleus; "
        "table.csv: plate, cell line, dose, treatment, findings (any number, joined by ;) and "
        "number of nuclei of each.",
        tables={"table.csv": _well_rows},
    ),
    "lesions": Sample(
        _plain(draw_lesions),
        {2: (96, 96), 3: (16, 64, 64)},
        _annotated,
        80,
        "Lesions of blurred outline in grey tissue, marked by four readers of different habit. "
        "images/: uint8; labels/annotator_K/: 1 on lesions; table.csv: a row for each annotation, "
        "with the image as group; images.csv: a row for each image, with a column for each reader.",
        tables={"table.csv": _annotation_rows, "images.csv": _image_rows},
    ),
    "unpaired": Sample(
        _plain(draw_unpaired),
        {2: (128, 128), 3: (16, 64, 64)},
        _of_two_domains,
        100,
        "Two domains without pairs: fluorescent nuclei (a/, uint16) and stained sections (b/, RGB, "
        "uint8) of other scenes. pairs/a/ and pairs/b/: scenes seen both ways, to measure with.",
    ),
    "hippocampus": Sample(
        _plain(draw_hippocampus),
        {3: (36, 50, 35)},
        _nnunet,
        40,
        "A curved two-part structure in MR-like contrast; NIfTI, millimetres, nnU-Net layout. "
        "Labels: 1 anterior, 2 posterior.",
    ),
}


def draw_one(
    name: str, index: int, *, seed: int = 0, dims: int | None = None, shape: Any = None
) -> Drawn:
    """Draw picture ``index`` of a sample as arrays, without writing it.

    Args:
        name: A key of `SAMPLES`.
        index: Number of the picture; together with ``name``, ``seed`` and ``dims`` it decides all.
        seed: Seed of the whole set.
        dims: 2 or 3; left out, what the sample is usually drawn in.
        shape: Shape ``([Z,] Y, X)`` in place of the usual one.

    Raises:
        DataError: If there is no such sample or it is not drawn in ``dims`` dimensions.
    """
    sample = _find(name)
    dims = _check_dims(name, sample, dims)
    kind = zlib.crc32(name.encode())
    rng = np.random.default_rng([mix(kind, dims, bits=63), seed & (2**63 - 1), index])
    return sample.draw(rng, tuple(shape or sample.shapes[dims]), index)


def draw(
    name: str,
    folder: str | Path,
    *,
    count: int | None = None,
    seed: int = 0,
    dims: int | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Path:
    """Draw samples with exact truth into a folder.

    Args:
        name: A key of `SAMPLES`.
        folder: Where to draw to; new, empty, or holding the same sample already, which is then
            completed and otherwise left as it is.
        count: Number of pictures; left out, enough for a first training.
        seed: Seed of the whole set.
        dims: 2 or 3; left out, what the sample is usually drawn in.
        track: Wraps the numbers of the pictures to show progress, as `tqdm` does.

    Returns:
        The folder.

    Raises:
        DataError: If the name is unknown, ``count`` or ``dims`` does not fit, or the folder holds
            something else.
    """
    sample, folder = _find(name), Path(folder)
    dims = _check_dims(name, sample, dims)
    count = sample.count if count is None else count
    if count < 1:
        message = f"the count of samples is {count}; it must be at least 1"
        raise DataError(message)
    made_of = {"name": name, "seed": seed, "dims": dims, "version": VERSION}
    _claim(folder, made_of, count)
    rows: dict[str, list[Row]] = {table: [] for table in sample.tables}
    for index in track(range(count)):
        drawn = _write_one(folder, name, sample, index, seed, dims)
        if rows:
            drawn = drawn or draw_one(name, index, seed=seed, dims=dims)
        for table, rows_of in sample.tables.items():
            assert drawn is not None
            rows[table] += rows_of(index, drawn)
    for table, content in rows.items():
        _write_table(folder / table, content)
    _describe(folder, name, sample, count, seed, dims)
    log.info("drew %d %s in %dD into %s", count, name, dims, folder)
    return folder


def _find(name: str) -> Sample:
    if name in SAMPLES:
        return SAMPLES[name]
    message = (
        f"unknown sample '{name}'.{did_you_mean(name, SAMPLES)} "
        f"There are {listed(sorted(SAMPLES))}, and the public sets 'mednist' and 'decathlon:TASK'"
    )
    raise DataError(message)


def _check_dims(name: str, sample: Sample, dims: int | None) -> int:
    if dims is None:
        return min(sample.shapes)
    if dims not in sample.shapes:
        known = " or ".join(str(known) for known in sample.shapes)
        message = f"sample '{name}' is drawn in {known} dimensions, not in {dims}"
        raise DataError(message)
    return dims


def _claim(folder: Path, made_of: dict[str, Any], count: int) -> None:
    """Mark a new folder as ours, or make sure that it holds the same samples."""
    if folder.exists() and not folder.is_dir():
        message = f"{folder} is a file; give a folder to draw into"
        raise DataError(message)
    marker = folder / MARKER
    if marker.exists():
        held = _read_marker(marker)
        if {key: held.get(key) for key in made_of} != made_of or held.get("count", 0) > count:
            message = (
                f"{folder} holds other samples ({_in_words(held)}) than asked for "
                f"({_in_words({**made_of, 'count': count})}); nothing was changed. "
                "Choose another folder, or delete this one"
            )
            raise DataError(message)
    elif folder.is_dir() and any(folder.iterdir()):
        message = (
            f"{folder} is not empty and was not drawn by imtoolkit; nothing was changed. "
            "Choose a new folder"
        )
        raise DataError(message)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(marker, {**made_of, "count": count})
    except OSError as error:
        message = f"cannot write into {folder}: {error.strerror or error}"
        raise DataError(message) from error


def _read_marker(marker: Path) -> dict[str, Any]:
    try:
        held = json.loads(marker.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{marker} cannot be read ({error}); delete the folder and draw it again"
        raise DataError(message) from error
    return held if isinstance(held, dict) else {}


def _in_words(held: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {held.get(key)}" for key in ("name", "seed", "dims", "count", "version")
    )


def _write_one(
    folder: Path, name: str, sample: Sample, index: int, seed: int, dims: int
) -> Drawn | None:
    """Draw and write a picture, and return it; ``None`` where all its files are there."""
    from imtoolkit.io.writer import write  # bioio and nibabel are needed for writing only

    stem = f"{name}_{index:04d}"
    if all(path.exists() for path in _expected(folder, sample, stem)):
        return None
    drawn = draw_one(name, index, seed=seed, dims=dims)
    for relative, pixels in sample.files(stem, drawn).items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(
                path,
                pixels if pixels.ndim > len(drawn.spacing) else pixels[None],  # colours
                spacing=drawn.spacing,
                unit=drawn.unit,
                affine=drawn.affine,
            )
        except OSError as error:
            message = f"cannot write {path}: {error.strerror or error}"
            raise DataError(message) from error
    return drawn


def _write_table(path: Path, rows: list[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _expected(folder: Path, sample: Sample, stem: str) -> Iterator[Path]:
    """Yield the files of a picture, or one that is missing where its class is not known yet."""
    if sample.files is _in_classes:
        found = sorted(folder.glob(f"*/{stem}.ome.tif"))
        yield found[0] if found else folder / "missing"
        return
    empty = Drawn(np.zeros(0), np.zeros(0), ())
    for relative in sample.files(stem, empty):
        yield folder / relative


def _describe(folder: Path, name: str, sample: Sample, count: int, seed: int, dims: int) -> None:
    shape = " x ".join(str(size) for size in sample.shapes[dims])
    command = f"imtoolkit samples {name} DIR --count {count} --seed {seed} --dims {dims}"
    write_text(
        folder / "README.txt",
        f"{sample.about}\n\n{count} pictures of {shape} pixels, drawn by imtoolkit with exact "
        f"truth; free to use (CC0).\nDrawn again by: {command}\n",
    )
    if sample.files is _nnunet:
        write_json(
            folder / "dataset.json",
            {
                "name": name,
                "channel_names": {"0": "MRI"},
                "labels": {"background": 0, "anterior": 1, "posterior": 2},
                "numTraining": count,
                "file_ending": ".nii.gz",
                "licence": "CC0",
            },
        )
