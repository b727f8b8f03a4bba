"""Writing OME-TIFF tile by tile, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
from numpy.typing import NDArray

from .blocks import BUDGET, Progress, cast, consecutive_blocks, storable
from .image import Image, made_by_line

TILE = 256
_OME_UNITS = {
    "picometer": "pm",
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "inch": "in",
}


def save_tiff(path: Path, image: Image, compress: bool, progress: Progress | None) -> None:
    """Write an OME-TIFF in tiles, reading `image.data` in blocks of bounded size.

    Three or four 8-bit or 16-bit channels that stand last are stored as colours; channels
    that stand last otherwise are moved to the front. BigTIFF is used beyond 4 GB.
    """
    import tifffile

    dtype = storable(np.dtype(image.data.dtype))
    axes = image.axes
    length = dict(zip(axes, image.shape, strict=True))
    color = axes[-1] == "C" and length["C"] in (3, 4) and dtype.kind == "u" and dtype.itemsize < 4
    order = "".join(a for a in axes if a not in "YX") + "YX"
    if color:
        order = order.replace("C", "") + "C"
    shape = tuple(length[a] for a in order)
    page = "YXS" if color else "YX"
    with tifffile.TiffWriter(
        path, bigtiff=prod(shape) * dtype.itemsize > 2**32 - 2**25, ome=True
    ) as writer:
        writer.write(
            _tiles(image, order, dtype, len(page), progress),
            shape=shape,
            dtype=dtype,
            tile=(TILE, TILE),
            compression="zlib" if compress else None,
            photometric="rgb" if color else "minisblack",
            extrasamples=("unassalpha",) if color and length["C"] == 4 else None,
            metadata=_ome_metadata(image, order[: len(order) - len(page)] + page),
        )


def _ome_metadata(image: Image, axes: str) -> dict[str, Any]:
    """Metadata of OME, with an identifier that makes equal images equal files."""
    step = dict(zip(image.axes, image.scale, strict=True))
    what = repr((axes, image.axes, image.shape, image.scale, image.unit))
    metadata: dict[str, Any] = {"axes": axes, "UUID": str(uuid5(NAMESPACE_URL, what))}
    if image.made_by:
        metadata["Description"] = made_by_line(image.made_by)
    for axis in image.spatial_axes:
        metadata[f"PhysicalSize{axis}"] = step[axis]
        metadata[f"PhysicalSize{axis}Unit"] = _OME_UNITS.get(image.unit, image.unit)
    if "T" in step and step["T"] != 1.0:
        metadata |= {"TimeIncrement": step["T"], "TimeIncrementUnit": "s"}
    return metadata


def _tiles(
    image: Image,
    order: str,
    dtype: np.dtype[Any],
    page_ndim: int,
    progress: Progress | None,
) -> Iterator[NDArray[Any]]:
    """Yield the tiles of all pages, in the order in which they stand in the file."""
    length = dict(zip(image.axes, image.shape, strict=True))
    shape = tuple(length[a] for a in order)
    y_axis = len(shape) - page_ndim
    band = TILE * prod(shape[y_axis + 1 :]) * dtype.itemsize
    blocks = consecutive_blocks(shape, dtype.itemsize, max(1, BUDGET // band) * band)
    for done, region in enumerate(blocks, 1):
        where = dict(zip(order, region, strict=True))
        block = np.asarray(image.data[tuple(where[a] for a in image.axes)])
        block = np.transpose(block, [image.axes.index(a) for a in order])
        if progress is not None:
            progress(done, len(blocks))
        for page in cast(block, dtype, image.source).reshape(-1, *block.shape[y_axis:]):
            for y in range(0, page.shape[0], TILE):
                for x in range(0, page.shape[1], TILE):
                    yield _padded(page[y : y + TILE, x : x + TILE])


def _padded(tile: NDArray[Any]) -> NDArray[Any]:
    missing = [(0, TILE - tile.shape[0]), (0, TILE - tile.shape[1])]
    return np.pad(tile, missing + [(0, 0)] * (tile.ndim - 2)) if np.any(missing) else tile
