"""Writing OME-Zarr with a pyramid, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .blocks import BUDGET, Progress, grid_blocks
from .image import Image, Region, made_by_line, native
from .units import PIXEL

if TYPE_CHECKING:
    import zarr as zarr_library

BASE = "0"
"""Name of the finest level."""
CHUNK = {2: 512, 3: 96}
"""Longest side of a chunk along each spatial axis, in 2D and in 3D."""
SMALLEST_LEVEL = 256
ZARR_FORMATS = {"0.4": 2, "0.5": 3}
"""Versions of OME-Zarr that can be written, and the Zarr format of each."""


@dataclass(frozen=True)
class _Level:
    """One resolution: `step` is by how much it is coarser than the one before."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    step: tuple[int, ...]

    @staticmethod
    def of(base: Any, before: tuple[int, ...], factor: tuple[int, ...]) -> _Level:
        shape = tuple(-(-n // f) for n, f in zip(base.shape, factor, strict=True))
        chunks = tuple(min(c, n) for c, n in zip(base.chunks, shape, strict=True))
        return _Level(shape, chunks, tuple(f // b for f, b in zip(factor, before, strict=True)))

    def blocks(self, itemsize: int, labels: bool) -> list[Region]:
        # More is read than written, and held as float64 to be averaged.
        coarser = prod(self.step)
        held = coarser * (1 if labels or coarser == 1 else 8)
        return grid_blocks(self.shape, self.chunks, itemsize, BUDGET // held)


def save_zarr(
    path: Path, image: Image, labels: bool, version: str, compress: bool, progress: Progress | None
) -> None:
    """Write OME-Zarr with a pyramid, block by block.

    Each level halves the axes along which voxels are finest, so that coarse voxels become
    isotropic; `labels` are subsampled, other values averaged.
    """
    chunks = _chunks(image.axes, image.shape)
    create_base(path, image.axes, image.shape, image.data.dtype, chunks, version, compress)
    _write(path, image, labels, progress, first=0)


def create_base(
    path: Path,
    axes: str,
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    version: str = "0.4",
    compress: bool = True,
) -> Any:
    """Create the finest level of an OME-Zarr, to be filled before the others are added.

    Parameters
    ----------
    path : Path
        Where the OME-Zarr is to be; what is there is replaced.
    axes, shape, dtype, chunks
        Of the array; bool is stored as uint8.
    version, compress
        As in `save_image`.

    Returns
    -------
    zarr.Array
        Full of zeros, ``path / BASE``.
    """
    import zarr

    dtype = np.dtype(dtype)
    dtype = np.dtype("u1") if dtype.kind == "b" else native(dtype)
    zarr_format: Any = ZARR_FORMATS[version]
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    compressor: Any = None
    if compress and zarr_format == 3:
        from zarr.codecs import BloscCodec

        compressor = BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle")
    elif compress:
        compressor = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0}
    return _create(root, BASE, shape, chunks, dtype, axes, compressor)


def add_pyramid(path: Path, image: Image, labels: bool, progress: Progress | None = None) -> None:
    """Make an OME-Zarr of what `create_base` began: add coarser levels and metadata.

    Parameters
    ----------
    path : Path
        Where it is.
    image : Image
        Its finest level, with axes, scale and unit.
    labels : bool
        Subsample instead of averaging.
    progress : callable, optional
        Called with the number of blocks done and their total.
    """
    _write(path, image, labels, progress, first=1)


def _write(
    path: Path, image: Image, labels: bool, progress: Progress | None, *, first: int
) -> None:
    """Write the levels from `first` on, and the metadata."""
    import zarr

    root = zarr.open_group(path, mode="r+")
    base: Any = root[BASE]
    factors = _pyramid(image)
    levels = [
        _Level.of(base, before, factor) for before, factor in pairwise([factors[0], *factors])
    ]
    grids = [level.blocks(base.dtype.itemsize, labels) for level in levels]
    total, done = sum(len(g) for g in grids[first:]), 0
    source: Any = image.data
    for n, (level, grid) in list(enumerate(zip(levels, grids, strict=True)))[first:]:
        target = base
        if n > 0:
            how = base.dtype, image.axes, base.compressors
            target = _create(root, str(n), level.shape, level.chunks, *how)
        for region in grid:
            target[region] = _reduced(source, region, level.step, labels, base.dtype)
            done += 1
            if progress is not None:
                progress(done, total)
        source = target
    version = next(v for v, f in ZARR_FORMATS.items() if f == root.metadata.zarr_format)
    multiscale = _metadata(image, factors, labels, version)
    if version == "0.4":
        root.attrs["multiscales"] = [multiscale]
    else:
        root.attrs["ome"] = {"version": version, "multiscales": [multiscale]}


def _create(
    root: zarr_library.Group,
    name: str,
    shape: Sequence[int],
    chunks: Sequence[int],
    dtype: np.dtype[Any],
    axes: str,
    compressors: Any,
) -> Any:
    modern = root.metadata.zarr_format == 3
    return root.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        compressors=compressors,
        chunk_key_encoding={"name": "default" if modern else "v2", "separator": "/"},
        dimension_names=list(axes.lower()) if modern else None,
        overwrite=True,
    )


def _chunks(axes: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    side = CHUNK[3 if "Z" in axes else 2]
    return tuple(min(n, side) if a in "ZYX" else 1 for a, n in zip(axes, shape, strict=True))


def _pyramid(image: Image) -> list[tuple[int, ...]]:
    """Return by how much each level is coarser than the image along each axis, finest first."""
    spatial = [n for n, a in enumerate(image.axes) if a in "ZYX"]
    factors = [(1,) * len(image.axes)]
    while True:
        last = factors[-1]
        if max(image.shape[n] / last[n] for n in spatial) <= SMALLEST_LEVEL:
            return factors
        long = [n for n in spatial if image.shape[n] > last[n]]
        finest = min(image.scale[n] * last[n] for n in long)
        halved = {n for n in long if image.scale[n] * last[n] < 2 * finest}
        factors.append(tuple(f * 2 if n in halved else f for n, f in enumerate(last)))


def _reduced(
    source: Any, region: Region, step: tuple[int, ...], labels: bool, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Read what becomes `region` of the next level and shrink it by `step`."""
    wide = tuple(
        slice(r.start * s, min(r.stop * s, n))
        for r, s, n in zip(region, step, source.shape, strict=True)
    )
    block = np.asarray(source[wide])
    if labels:
        return block[tuple(slice(None, None, s) for s in step)].astype(dtype, copy=False)
    for axis, s in enumerate(step):
        if s > 1:
            missing = [(0, -block.shape[axis] % s if a == axis else 0) for a in range(block.ndim)]
            block = np.pad(block, missing, mode="edge") if any(m[1] for m in missing) else block
            split = (*block.shape[:axis], -1, s, *block.shape[axis + 1 :])
            block = block.reshape(split).mean(axis + 1, dtype=np.float64)
    return (block.round() if dtype.kind in "iu" else block).astype(dtype, copy=False)


def _metadata(
    image: Image, factors: Sequence[tuple[int, ...]], labels: bool, version: str
) -> dict[str, Any]:
    kinds = {"T": "time", "C": "channel"}
    axes = []
    for letter in image.axes:
        axis = {"name": letter.lower(), "type": kinds.get(letter, "space")}
        if letter in "ZYX" and image.unit != PIXEL:
            axis["unit"] = image.unit
        if letter == "T" and image.scale[image.axes.index("T")] != 1.0:
            axis["unit"] = "second"
        axes.append(axis)
    datasets = []
    for level, factor in enumerate(factors):
        scale = [s * f for s, f in zip(image.scale, factor, strict=True)]
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
        first = list(image.translate)
        if level and not labels:
            middle = [s * (f - 1) / 2 for s, f in zip(image.scale, factor, strict=True)]
            first = [t + m for t, m in zip(first, middle, strict=True)]
        if any(first):
            transforms.append({"type": "translation", "translation": first})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    record: dict[str, Any] = {"name": Path(image.source).stem, "axes": axes, "datasets": datasets}
    if image.made_by:
        record["metadata"] = {"made_by": made_by_line(image.made_by)}
    return {**record, "version": version} if version == "0.4" else record
