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
from .image import Image, Region, native
from .units import PIXEL

if TYPE_CHECKING:
    import zarr as zarr_library

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
    def of(image: Image, before: tuple[int, ...], factor: tuple[int, ...]) -> _Level:
        shape = tuple(-(-n // f) for n, f in zip(image.shape, factor, strict=True))
        step = tuple(f // b for f, b in zip(factor, before, strict=True))
        return _Level(shape, _chunks(image.axes, shape), step)

    def blocks(self, itemsize: int) -> list[Region]:
        # Averaging reads more than it writes, and holds it as float64.
        coarser = prod(self.step)
        budget = BUDGET // (coarser * 8) if coarser > 1 else BUDGET
        return grid_blocks(self.shape, self.chunks, itemsize, budget)


def save_zarr(
    path: Path, image: Image, labels: bool, version: str, compress: bool, progress: Progress | None
) -> None:
    """Write OME-Zarr with a pyramid, block by block.

    Each level halves the axes along which voxels are finest, so that coarse voxels become
    isotropic; `labels` are subsampled, other values averaged.
    """
    import zarr

    zarr_format: Any = ZARR_FORMATS[version]
    dtype = np.dtype(image.data.dtype)
    dtype = np.dtype("u1") if dtype.kind == "b" else native(dtype)
    factors = _pyramid(image)
    levels = [
        _Level.of(image, before, factor) for before, factor in pairwise([factors[0], *factors])
    ]
    grids = [level.blocks(dtype.itemsize) for level in levels]
    total, done = sum(len(g) for g in grids), 0
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    source: Any = image.data
    for n, (level, grid) in enumerate(zip(levels, grids, strict=True)):
        target = _create(root, str(n), level, dtype, image.axes, compress)
        for region in grid:
            target[region] = _reduced(source, region, level.step, labels, dtype)
            done += 1
            if progress is not None:
                progress(done, total)
        source = target
    multiscale = _metadata(image, factors, labels, version)
    if version == "0.4":
        root.attrs["multiscales"] = [multiscale]
    else:
        root.attrs["ome"] = {"version": version, "multiscales": [multiscale]}


def _create(
    root: zarr_library.Group,
    name: str,
    level: _Level,
    dtype: np.dtype[Any],
    axes: str,
    compress: bool,
) -> Any:
    modern = root.metadata.zarr_format == 3
    compressor: Any = None
    if compress and modern:
        from zarr.codecs import BloscCodec

        compressor = BloscCodec(cname="zstd", clevel=5, shuffle="shuffle")
    elif compress:
        compressor = {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1, "blocksize": 0}
    return root.create_array(
        name,
        shape=level.shape,
        chunks=level.chunks,
        dtype=dtype,
        compressors=compressor,
        chunk_key_encoding={"name": "default" if modern else "v2", "separator": "/"},
        dimension_names=list(axes.lower()) if modern else None,
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
        if level and not labels:
            middle = [s * (f - 1) / 2 for s, f in zip(image.scale, factor, strict=True)]
            transforms.append({"type": "translation", "translation": middle})
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    record = {"name": Path(image.source).stem, "axes": axes, "datasets": datasets}
    return {**record, "version": version} if version == "0.4" else record
