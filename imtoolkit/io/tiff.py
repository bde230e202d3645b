"""TIFF, with OME or ImageJ metadata or without, through tifffile.

bioio reads these files as well, by way of the same tifffile; going directly saves its imports (more
than a second) and its parsing of the whole OME model (tens of milliseconds a file). That both give
the same is a test. A file that was cut short is refused: tifffile would fill what is missing with
zeros.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from .opened import Index, OpenImage, PickScene, broken, guess_axes, micrometers, seconds

_ALPHA: Final = (1, 2)  # associated, unassociated, in tag ExtraSamples
_NO_SCENES: Final = ("thumbnail", "label", "macro", "overview", "map")
_DAMAGE: Final = re.compile("invalid (page|value|offset|offset to)|corrupt|missing data")
_PRINTED: Final = 20.0
"""Micrometres; a resolution tag of a plain TIFF that means larger pixels is for printers."""


def open_tiff(path: Path, pick: PickScene) -> OpenImage:
    """Open a TIFF; see `OpenImage`.

    Raises:
        DataError: If it is no TIFF or is damaged.
    """
    name = str(path)
    file = None
    try:
        with _no_complaints(name):
            file = tifffile.TiffFile(path)
            return _open_series(name, file, pick)
    except BaseException as error:
        if file is not None:
            file.close()
        if not isinstance(error, tifffile.TiffFileError):
            raise
        message = f"is not a TIFF, whatever its suffix says ({error}). Export it again as TIFF"
        raise broken(name, message) from error


def has_alpha(path: Path) -> bool:
    """Tell whether the last colour of a TIFF's pixels is transparency."""
    with tifffile.TiffFile(path) as file:
        return _alpha(file.pages[0])


@contextlib.contextmanager
def _no_complaints(name: str) -> Iterator[None]:
    """Make an error of what tifffile only logs: it skips pages and tags that lie past the end."""
    complaints: list[str] = []
    thread = threading.get_ident()

    def note(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.thread != thread or not _DAMAGE.search(text):
            return True
        complaints.append(text)
        return False

    log = logging.getLogger("tifffile")
    log.addFilter(note)
    try:
        yield
    finally:
        log.removeFilter(note)
    if complaints:
        raise broken(name, f"is cut short or damaged ({complaints[0]}). Copy or export it again")


def _open_series(name: str, file: Any, pick: PickScene) -> OpenImage:
    series = _scenes(file)
    if not series:
        raise broken(
            name,
            "is a TIFF without images: it was cut short or never finished. Copy or export it again",
        )
    xml = _ome_images(file)
    # OME numbers its images; they may have names, which count where they tell images apart
    titles = [item.name or "" for item in series]
    unique = len(set(titles)) == len(titles) and all(titles)
    scenes = tuple(titles if unique else (f"Image:{n}" for n in range(len(series))))
    number = pick(scenes)
    chosen = series[number]
    axes, shape = _axes(name, chosen)
    image = OpenImage(
        path=name,
        axes=axes,
        shape=shape,
        dtype=np.dtype(chosen.dtype),
        load=lambda index: _load(name, file, chosen, axes, shape, index),
        scenes=scenes,
        alpha="S" in axes and _alpha(chosen.keyframe),
        close=file.close,
    )
    if number < len(xml):
        _add_ome(image, xml[number])
    elif file.is_imagej:
        _add_imagej(image, file, chosen.keyframe)
    elif file.is_svs:
        _add_svs(image, chosen.keyframe)
    else:
        _add_resolution(image, chosen.keyframe)
    return image


def _scenes(file: Any) -> list[Any]:
    main = [s for s in file.series if not (s.name or "").lower().startswith(_NO_SCENES)]
    # small copies that viewers show while the image loads
    full = [s for s in main if not (s.keyframe.is_reduced and len(main) > 1)]
    return full or main


def _axes(name: str, series: Any) -> tuple[str, tuple[int, ...]]:
    axes, shape = series.get_axes(squeeze=False), tuple(series.get_shape(squeeze=False))
    if series.kind not in ("ome", "imagej"):
        axes, shape = series.axes, tuple(series.shape)
    if axes.endswith("S") and shape[-1] == 1:
        axes, shape = axes[:-1], shape[:-1]
    unknown = [n for n, letter in enumerate(axes) if letter not in "TCZYXS"]
    if not unknown:
        return axes, shape
    if len(shape) - len(unknown) == 2 and axes.endswith("YX"):
        # pages without a meaning, or an array that tifffile wrote
        guessed = "ZYX" if series.kind != "shaped" and len(shape) == 3 else guess_axes(name, shape)
        return guessed, shape
    free = iter(letter for letter in "ZCT" if letter not in axes)
    return "".join(
        next(free, letter) if n in unknown else letter for n, letter in enumerate(axes)
    ), shape


def _alpha(page: Any) -> bool:
    return bool(page.extrasamples) and int(page.extrasamples[-1]) in _ALPHA


# --- pixels ---------------------------------------------------------------------------------------


def _load(
    name: str, file: Any, series: Any, axes: str, shape: tuple[int, ...], index: Index
) -> NDArray[np.generic]:
    try:
        with _no_complaints(name):
            return _read(name, file, series, axes, shape, index)
    except (tifffile.TiffFileError, OSError, ValueError, RuntimeError) as error:
        message = f"is a damaged TIFF: its pixels cannot be read ({error}). Copy or export it again"
        raise broken(name, message) from error


def _read(
    name: str, file: Any, series: Any, axes: str, shape: tuple[int, ...], index: Index
) -> NDArray[np.generic]:
    offset = series.dataoffset
    if offset is not None and series.transform is None and series.keyframe.parent is file:
        end = offset + math.prod(shape) * series.dtype.itemsize
        if end > file.filehandle.size:
            raise _cut(name, end, file.filehandle.size)
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        mapped = np.memmap(file.filehandle.path, dtype, "r", offset, shape)
        return np.array(mapped[index])
    lead = min(axes.index(letter) for letter in "YS" if letter in axes)
    numbers = np.arange(math.prod(shape[:lead])).reshape(shape[:lead])[index[:lead]]
    if len(series) != math.prod(shape[:lead]) or series.transform is not None:
        _check_pages(name, file, series)
        whole: NDArray[np.generic] = series.asarray().reshape(shape)
        return whole[index]
    pages = [series[int(number)] for number in np.ravel(numbers)]
    _check_chain(name, file, series)
    for page in pages:
        _check_page(name, page)
    if len(pages) == len(series):
        whole = series.asarray().reshape(shape)
        return whole[index]
    planes = np.stack([_plane(page) for page in pages])
    planes = planes.reshape(*numbers.shape, *shape[lead:])
    return planes[(slice(None),) * numbers.ndim + index[lead:]]


def _plane(page: Any) -> NDArray[np.generic]:
    handle = page.parent.filehandle
    other = bool(handle.closed)  # of a set of several files, which tifffile does not keep open
    if other:
        handle.open()
    try:
        pixels: NDArray[np.generic] = page.asarray()
        return pixels
    finally:
        if other:
            handle.close()


def _check_pages(name: str, file: Any, series: Any) -> None:
    _check_chain(name, file, series)
    for number in range(len(series)):
        _check_page(name, series[number])


def _check_chain(name: str, file: Any, series: Any) -> None:
    if series.kind == "imagej" and (file.imagej_metadata or {}).get("images", 1) > len(series):
        raise broken(
            name, "is cut short: pages are missing that its ImageJ metadata promise. Copy it again"
        )


def _check_page(name: str, page: Any) -> None:
    if page is None:
        message = (
            "pages are missing: the file is cut short, or belongs to a set of several files of "
            "which some are absent. Copy it again, with all files of the set"
        )
        raise broken(name, message)
    size = page.parent.filehandle.size
    ends = [
        start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)
    ]
    if ends and max(ends) > size:
        raise _cut(name, max(ends), size)


def _cut(name: str, expected: int, size: int) -> Exception:
    message = (
        f"is cut short: its pixels end at byte {expected}, the file has {size} bytes. Copy or "
        "export it again"
    )
    return broken(name, message)


# --- what the metadata say ------------------------------------------------------------------------


def _ome_images(file: Any) -> list[ElementTree.Element]:
    if not file.is_ome:
        return []
    try:
        root = ElementTree.fromstring(file.ome_metadata)
    except ElementTree.ParseError:
        return []
    return [node for node in root if _tag(node) == "Image"]


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]


def _inside(node: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    return (child for child in node if _tag(child) == tag)


def _add_ome(image: OpenImage, node: ElementTree.Element) -> None:
    pixels = next(_inside(node, "Pixels"), None)
    if pixels is None:
        return
    for letter in "ZYX":
        size = micrometers(
            pixels.get(f"PhysicalSize{letter}"), pixels.get(f"PhysicalSize{letter}Unit", "µm")
        )
        if size is not None:
            image.spacing[letter] = size
    image.unit = "micrometer"
    image.interval = seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit"))
    image.channel_names = tuple(channel.get("Name") or "" for channel in _inside(pixels, "Channel"))


def _add_imagej(image: OpenImage, file: Any, page: Any) -> None:
    metadata = file.imagej_metadata or {}
    image.interval = seconds(metadata.get("finterval"), metadata.get("tunit"))
    unit = metadata.get("unit")
    if not unit:
        return
    image.unit = "micrometer"
    for letter, tag in (("X", "XResolution"), ("Y", "YResolution")):
        size = micrometers(_inverse(page, tag), unit)
        if size is not None:
            image.spacing[letter] = size
    depth = micrometers(metadata.get("spacing"), unit)
    if depth is not None:
        image.spacing["Z"] = depth


def _add_svs(image: OpenImage, page: Any) -> None:
    for item in page.description.split("|"):
        key, _, value = item.partition("=")
        if key.strip() == "MPP":
            size = micrometers(value, "µm")
            if size is not None:
                image.spacing.update(Y=size, X=size)
                image.unit = "micrometer"


def _add_resolution(image: OpenImage, page: Any) -> None:
    unit = {2: "inch", 3: "cm", 4: "mm", 5: "um"}.get(int(page.resolutionunit or 1))
    if unit is None:
        return
    sizes = {
        letter: micrometers(_inverse(page, tag), unit)
        for letter, tag in (("X", "XResolution"), ("Y", "YResolution"))
    }
    known = {
        letter: size for letter, size in sizes.items() if size is not None and size <= _PRINTED
    }
    if len(known) == len(sizes):
        image.spacing.update(known)
        image.unit = "micrometer"


def _inverse(page: Any, tag: str) -> float | None:
    found = page.tags.get(tag)
    if found is None:
        return None
    count, per = found.value
    return per / count if count else None
