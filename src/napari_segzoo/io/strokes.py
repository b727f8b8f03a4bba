"""What was drawn on an image, kept in a file beside it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_data_dir

from ..errors import InputError, RunError
from .blocks import consecutive_blocks
from .files import STROKES, save_image
from .image import Image, reading
from .tiff import open_tiff

SAMPLE = 64
"""Longest side, in voxels, of the block that tells one image without a file from another."""
HELD = 0.5
"""A saved drawing gives way to one that holds at least this share of it."""


def save_strokes(labels: Any, image: Image, file: str | None = None) -> Path | None:
    """Save what is drawn on an image as a compressed OME-TIFF with its axes and voxel size.

    The strokes on ``cells.tif`` are saved as ``cells.tif.strokes.tif``. A drawing replaces the
    saved one that it grew from; where the file holds another drawing, the new one becomes
    ``cells.tif.2.strokes.tif``, and so on.

    Parameters
    ----------
    labels : array-like of int
        The axes of the image without C; 0 is not drawn.
    image : Image
        With its axes; `source` is its name.
    file : str, optional
        The file that the image comes from. Without it, or if its folder may not be written,
        strokes are kept in `strokes_folder`, under a name made of the image's name and content.

    Returns
    -------
    Path or None
        The file; None if nothing is drawn, and then nothing is written.

    Raises
    ------
    InputError
        If the labels do not fit the image, or cannot be stored.
    RunError
        If the disk is full or may not be written.
    """
    kept = [n for n, a in enumerate(image.axes) if a != "C"]
    shape = tuple(image.shape[n] for n in kept)
    axes = "".join(image.axes[n] for n in kept)
    if tuple(labels.shape) != shape:
        raise InputError(
            f"The labels have shape {tuple(labels.shape)}, but the image needs {shape}."
        )
    if not _any_drawn(labels):
        return None
    stem = _stem(image, file)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{stem.parent} could not be made: {error.strerror or error}.") from error
    path = next(p for p in _names(stem) if not p.exists())
    for saved in _saved(stem):
        same, held = _compare(saved, labels, axes)
        if same:
            with suppress(OSError):
                saved.touch()  # the newest is the one offered
            return saved
        if held:
            path = saved
            break
    return save_image(
        path,
        labels,
        axes,
        scale=tuple(image.scale[n] for n in kept),
        unit=image.unit,
        labels=True,
        overwrite=True,
    )


def find_strokes(image: Image, file: str | None = None) -> Path | None:
    """Return the newest file that `save_strokes` wrote for an image, if it fits its shape."""
    shape = [n for n, a in zip(image.shape, image.axes, strict=True) if a != "C"]
    return next((p for p in _saved(_stem(image, file)) if _fits(p, shape)), None)


def read_strokes(path: str | os.PathLike[str], axes: str) -> Image:
    """Read saved strokes as a whole and close the file.

    Parameters
    ----------
    path : path-like
        What `save_strokes` returned.
    axes : str
        Axes of the labels, those of length 1 too.

    Raises
    ------
    InputError
        If the file is damaged or its axes are others.
    """
    image = open_tiff(Path(path), axes=axes, whole=True).with_axes(axes)
    return replace(image, data=np.asarray(image.data[...]))


def strokes_folder() -> Path:
    """Return the folder of this user for strokes on images that have no folder of their own."""
    return Path(user_data_dir("napari-segzoo", appauthor=False)) / "strokes"


def _stem(image: Image, file: str | None) -> Path:
    """Return the path of saved strokes up to their number and ending."""
    path = Path(file).absolute() if file else None
    if path is not None and path.parent.is_dir() and os.access(path.parent, os.W_OK):
        return path
    name = re.sub(r"[^\w.-]+", "_", path.name if path is not None else image.source)[:100]
    return strokes_folder() / f"{name}-{_fingerprint(image)}"


def _fingerprint(image: Image) -> str:
    """Tell images of one name apart: a hash of shape, type and a block from the middle."""
    sides = [1] * (len(image.shape) - 3) + [SAMPLE] * 3
    middle = tuple(
        slice((n - min(n, side)) // 2, (n + min(n, side)) // 2)
        for n, side in zip(image.shape, sides[-len(image.shape) :], strict=True)
    )
    block = np.ascontiguousarray(image.data[middle])
    what = repr((image.shape, block.dtype.str)).encode() + block.tobytes()
    return hashlib.sha256(what).hexdigest()[:12]


def _names(stem: Path) -> Iterator[Path]:
    """Yield the file names for the first, second, ... drawing on one image."""
    yield stem.with_name(f"{stem.name}{STROKES}")
    yield from (stem.with_name(f"{stem.name}.{n}{STROKES}") for n in count(2))


def _saved(stem: Path) -> list[Path]:
    """List the drawings that are there, the newest first."""
    pattern = re.compile(re.escape(stem.name) + r"(\.\d+)?" + re.escape(STROKES))
    try:
        found = [p for p in stem.parent.iterdir() if pattern.fullmatch(p.name)]
        return sorted(found, key=lambda p: p.stat().st_mtime_ns, reverse=True)
    except OSError:
        return []


def _fits(path: Path, shape: Sequence[int]) -> bool:
    """Whether a file holds labels of a shape, but for axes of length 1."""
    import tifffile

    try:
        with reading(path), tifffile.TiffFile(path) as file:
            found = file.series[0].shape
    except InputError:
        return False
    return [n for n in found if n > 1] == [n for n in shape if n > 1]


def _any_drawn(labels: Any) -> bool:
    blocks = consecutive_blocks(labels.shape, np.dtype(labels.dtype).itemsize)
    return any(np.any(np.asarray(labels[region])) for region in blocks)


def _compare(path: Path, labels: Any, axes: str) -> tuple[bool, bool]:
    """Tell whether a saved drawing equals the new one, and whether the new one holds it.

    A file that cannot be read, or has another shape, is neither.
    """
    if not _fits(path, labels.shape):
        return False, False
    try:
        saved = read_strokes(path, axes).data
    except InputError:
        return False, False
    same, drawn, held = True, 0, 0
    for region in consecutive_blocks(saved.shape, saved.dtype.itemsize):
        old, new = saved[region], np.asarray(labels[region])
        agree = old == new
        same = same and bool(agree.all())
        drawn += int(np.count_nonzero(old))
        held += int(np.count_nonzero(agree & (old != 0)))
    return same, held >= HELD * drawn
