"""TIFF: plain, ImageJ, OME and BigTIFF, read by region."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .image import (
    LETTERS,
    Image,
    LazyArray,
    Region,
    check_chunk,
    check_content,
    check_size,
    find_made_by,
    native,
    reading,
)
from .units import PIXEL, length_factor, length_unit, seconds

BEST_RATIO = 100_000
"""Header and file disagree if decompression would have to gain more than this factor."""


def open_tiff(
    path: Path, series: int = 0, axes: str | None = None, *, whole: bool = False
) -> Image:
    """Open one image series of a TIFF file; of a pyramid, the finest level.

    Contiguous pixels are mapped into memory, others are decoded strip by strip or tile by tile;
    `whole` reads all pixels and closes the file, which Windows asks for before it is replaced.
    Axes of length 1 are left out, unless `axes` asks for them.

    Raises
    ------
    InputError
        If the file is damaged, or its compression needs a package that is not installed.
    """
    import tifffile

    with reading(path), _quiet_log() as complaints:
        file = tifffile.TiffFile(path)
        try:
            if _breaks_off(file):
                raise InputError(f"{path} is truncated: it ends before its last page.")
            if any("TiffTag 270 " in text for text in complaints):
                raise InputError(f"{path} is truncated: it ends before its description.")
            if series >= len(file.series):
                raise InputError(f"{path} holds {len(file.series)} image series, not {series + 1}.")
            found = file.series[series]
            letters = _letters(found.axes)
            single = set(found.get_axes(squeeze=False)) & set(LETTERS) - set(letters)
            steps, unit = _steps(file, found, series)
            data, levels = _levels(path, found)
            made_by = find_made_by(file.pages.first.description)
            if whole:
                data, levels = np.array(data[...]), ()
        except BaseException:
            file.close()
            raise
        if isinstance(data, np.ndarray):
            file.close()
    wanted = (axes or "").upper()
    if (
        letters
        and set(wanted) & single
        and "".join(a for a in wanted if a not in single) == letters
    ):
        data, levels, letters = _with_single(data, letters, wanted), (), wanted
    scale = tuple(steps.get(a, 1.0) for a in letters or " " * len(data.shape))
    return Image(data, letters, scale, unit, str(path), levels, made_by=made_by)


def _with_single(data: Any, axes: str, wanted: str) -> LazyArray:
    """Put axes of length 1 into an array with `axes`, so that they become `wanted`."""
    length = dict(zip(axes, data.shape, strict=True))

    def read(region: Region) -> NDArray[Any]:
        kept = tuple(r for a, r in zip(wanted, region, strict=True) if a in axes)
        return np.asarray(data[kept]).reshape([r.stop - r.start for r in region])

    return LazyArray(tuple(length.get(a, 1) for a in wanted), data.dtype, read)


def _levels(path: Path, series: Any) -> tuple[Any, tuple[Any, ...]]:
    shape = tuple(int(n) for n in series.shape)
    check_content(path, shape, np.dtype(series.dtype))
    stored = prod(shape) * np.dtype(series.dtype).itemsize
    size = path.stat().st_size
    if series.dataoffset is not None:
        check_size(path, series.dataoffset + stored, size)
        order = series.keyframe.parent.byteorder
        dtype = np.dtype(series.dtype).newbyteorder(order)
        mapped = np.memmap(path, dtype, "r", series.dataoffset, shape)
        return (mapped if dtype.isnative else _swapped(mapped)), ()
    pages = list(series)
    if any(page is None for page in pages):
        raise InputError(f"{path} is truncated: pages that its header announces are missing.")
    if all(page.parent is series.keyframe.parent for page in pages):
        check_size(path, max(_end(page) for page in pages), size)
        check_size(path, stored, size * BEST_RATIO)
    _check_codec(path, series.keyframe)
    levels = tuple(_by_segment(path, series, n) for n in range(len(series.levels)))
    return levels[0], levels if len(levels) > 1 else ()


def _by_segment(path: Path, series: Any, level: int) -> LazyArray:
    import zarr

    array: Any = zarr.open_array(series.aszarr(level=level), mode="r")
    check_chunk(path, array.chunks, array.dtype)
    check_size(path, prod(array.chunks) * array.dtype.itemsize, path.stat().st_size * BEST_RATIO)

    def read(region: Region) -> NDArray[Any]:
        with reading(path):
            return np.asarray(array[region])

    return LazyArray(tuple(array.shape), native(array.dtype), read, tuple(array.chunks))


def _swapped(mapped: NDArray[Any]) -> LazyArray:
    return LazyArray(mapped.shape, native(mapped.dtype), lambda region: mapped[region])


def _end(page: Any) -> int:
    """Return the position behind the last byte of a page's pixels."""
    return max(
        (at + n for at, n in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0
    )


def _breaks_off(file: Any) -> bool:
    """Tell whether the last page that can be read points to one that cannot."""
    pointer = file.pages.next_page_offset
    if not pointer:
        return False
    file.filehandle.seek(pointer)
    following = int.from_bytes(
        file.filehandle.read(file.tiff.offsetsize), "little" if file.byteorder == "<" else "big"
    )
    return bool(following >= file.filehandle.size)


def _check_codec(path: Path, page: Any) -> None:
    import tifffile

    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        name = getattr(page.compression, "name", page.compression)
        raise InputError(
            f"{path} is compressed with {name}, which needs one more package: "
            "pip install imagecodecs."
        ) from error


def _letters(axes: str) -> str:
    """Return tifffile's axes if each is one of ours, else "" (unknown)."""
    ours = axes.replace("S", "C")
    known = set(ours) <= set(LETTERS) and len(set(ours)) == len(ours) and {"Y", "X"} <= set(ours)
    return ours if known else ""


def _steps(file: Any, series: Any, index: int) -> tuple[dict[str, float], str]:
    """Read the step along each axis, where it is known, and the unit of length."""
    if series.kind == "ome" and file.ome_metadata:
        return _ome_steps(file.ome_metadata, index)
    return _imagej_steps(file) if file.is_imagej else ({}, PIXEL)


def _ome_steps(xml: str, index: int) -> tuple[dict[str, float], str]:
    pixels = ElementTree.fromstring(xml).findall(".//{*}Pixels")
    if index >= len(pixels):
        return {}, PIXEL
    found = pixels[index].attrib
    unit = PIXEL
    steps = {}
    for axis in "XYZ":
        if f"PhysicalSize{axis}" in found:
            own = length_unit(found.get(f"PhysicalSize{axis}Unit", "µm"))
            unit = own if unit == PIXEL else unit
            steps[axis] = float(found[f"PhysicalSize{axis}"]) * length_factor(own, unit)
    if "TimeIncrement" in found:
        steps["T"] = float(found["TimeIncrement"]) * seconds(found.get("TimeIncrementUnit", "s"))
    return steps, unit


def _imagej_steps(file: Any) -> tuple[dict[str, float], str]:
    metadata = file.imagej_metadata or {}
    unit = length_unit(metadata.get("unit"))
    steps = {}
    for axis, tag in (("X", "XResolution"), ("Y", "YResolution")):
        if unit != PIXEL and tag in file.pages[0].tags:
            per_unit, one = file.pages[0].tags[tag].value
            steps[axis] = one / per_unit if per_unit else 1.0
    if "spacing" in metadata:
        steps["Z"] = abs(float(metadata["spacing"]))
    if metadata.get("finterval"):
        steps["T"] = float(metadata["finterval"])
    return steps, unit


@contextmanager
def _quiet_log() -> Iterator[list[str]]:
    """Collect what tifffile logs instead of showing it; tag 270 is the description."""
    logger = logging.getLogger("tifffile")
    complaints: list[str] = []

    def reject(record: logging.LogRecord) -> bool:
        complaints.append(record.getMessage())
        return False

    logger.addFilter(reject)
    try:
        yield complaints
    finally:
        logger.removeFilter(reject)
