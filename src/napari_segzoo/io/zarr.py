"""OME-Zarr 0.4 and 0.5 (older ones are read as well) and plain Zarr arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .blocks import Progress, grid_blocks
from .image import LETTERS, Image, LazyArray, Region, check_content, native, reading
from .units import PIXEL, length_factor, length_unit, seconds

if TYPE_CHECKING:
    import zarr as zarr_library

CHUNK = {2: 512, 3: 96}
"""Longest side of a chunk along each spatial axis, in 2D and in 3D."""
SMALLEST_LEVEL = 256
LARGEST_CHUNK = 2**33
OME_ZARR_VERSIONS = {"0.4": 2, "0.5": 3}
"""Zarr format of each version of OME-Zarr that can be written."""


def open_zarr(path: Path) -> Image:
    """Open an OME-Zarr image (finest level first) or a plain Zarr array.

    Raises
    ------
    InputError
        If the folder is damaged, a plate, or holds several arrays of which none is marked.
    """
    import zarr

    with reading(path):
        node = zarr.open(path, mode="r")
        if isinstance(node, zarr.Array):
            return _plain(path, node)
        attributes: dict[str, Any] = dict(node.attrs)
        ome = attributes.get("ome", attributes)
        if "multiscales" in ome:
            return _multiscale(path, node, ome["multiscales"][0])
        if "bioformats2raw.layout" in ome:
            return open_zarr(path / "0")
        if "plate" in ome or "well" in ome:
            raise InputError(f"{path} is a plate or well; choose one of its images, as in A/1/0.")
        arrays = dict(node.arrays())
        if len(arrays) != 1:
            names = ", ".join(sorted(arrays)) or "none"
            raise InputError(
                f"{path} is a Zarr group without OME-Zarr metadata; choose one of its arrays "
                f"({names})."
            )
        return _plain(path, *arrays.values())


def _plain(path: Path, array: zarr_library.Array[Any]) -> Image:
    names = getattr(array.metadata, "dimension_names", None)
    attributes: dict[str, Any] = dict(array.attrs)
    names = names or attributes.get("_ARRAY_DIMENSIONS") or ()
    axes = _letters([str(n) for n in names])
    return Image(_lazy(path, array), axes, source=str(path))


def _multiscale(path: Path, group: zarr_library.Group, record: Mapping[str, Any]) -> Image:
    datasets = record["datasets"]
    arrays = [group[d["path"]] for d in datasets]
    levels = tuple(_lazy(path, a) for a in arrays)
    ndim = levels[0].ndim
    named = record.get("axes") or list(LETTERS.lower()[-ndim:])
    named = [a if isinstance(a, Mapping) else {"name": a} for a in named]
    axes = _letters([str(a["name"]) for a in named])
    if len(named) != ndim:
        raise InputError(
            f"{path} is damaged: it names {len(named)} axes, but its data have {ndim} dimensions."
        )
    scale = np.ones(ndim)
    for holder in (datasets[0], record):
        for transform in holder.get("coordinateTransformations", ()):
            if transform["type"] == "scale":
                scale *= np.asarray(transform["scale"], float)
    spatial = [n for n, a in enumerate(axes) if a in "ZYX"]
    own = [length_unit(named[n].get("unit")) for n in spatial]
    unit = next((u for u in reversed(own) if u != PIXEL), PIXEL)
    for n, u in zip(spatial, own, strict=True):
        scale[n] *= length_factor(u, unit)
    if "T" in axes:
        scale[axes.index("T")] *= seconds(named[axes.index("T")].get("unit"))
    pyramid = levels if len(levels) > 1 else ()
    return Image(levels[0], axes, tuple(scale.tolist()), unit, str(path), pyramid)


def _lazy(path: Path, array: Any) -> LazyArray:
    if not hasattr(array, "chunks"):
        raise InputError(f"{path} is damaged: a level of its pyramid is no array.")
    shape = tuple(int(n) for n in array.shape)
    check_content(path, shape, np.dtype(array.dtype))
    stored = array.shards or array.chunks
    if prod(stored) * array.dtype.itemsize > LARGEST_CHUNK:
        raise InputError(
            f"{path} is damaged, or too coarse to be read by region: its chunks {tuple(stored)} "
            f"have more than {LARGEST_CHUNK // 2**30} GB."
        )

    def read(region: Region) -> NDArray[Any]:
        with reading(path):
            return np.asarray(array[region])

    return LazyArray(shape, native(array.dtype), read, tuple(array.chunks))


def _letters(names: Sequence[str]) -> str:
    axes = "".join(n.upper() if len(n) == 1 else "?" for n in names)
    known = set(axes) <= set(LETTERS) and len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes)
    return axes if known else ""


def save_zarr(
    path: Path, image: Image, labels: bool, version: str, compress: bool, progress: Progress | None
) -> None:
    """Write OME-Zarr with a pyramid, block by block.

    Each level halves the axes along which voxels are finest, so that coarse voxels become
    isotropic; `labels` are subsampled, other values averaged.
    """
    import zarr

    zarr_format: Any = OME_ZARR_VERSIONS[version]
    dtype = np.dtype(image.data.dtype)
    dtype = np.dtype("u1") if dtype.kind == "b" else native(dtype)
    factors = _pyramid(image)
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    total = sum(len(grid_blocks(s, _chunks(image.axes, s), dtype.itemsize)) for s, _ in factors)
    done = 0
    source: Any = image.data
    before = (1,) * len(image.axes)
    for level, (shape, factor) in enumerate(factors):
        chunks = _chunks(image.axes, shape)
        target = _create(root, str(level), shape, chunks, dtype, image.axes, compress)
        step = tuple(f // b for f, b in zip(factor, before, strict=True))
        for region in grid_blocks(shape, chunks, dtype.itemsize):
            target[region] = _reduced(source, region, step, labels, dtype)
            done += 1
            if progress is not None:
                progress(done, total)
        source, before = target, factor
    multiscale = _metadata(image, [factor for _, factor in factors], labels, version)
    if version == "0.4":
        root.attrs["multiscales"] = [multiscale]
    else:
        root.attrs["ome"] = {"version": version, "multiscales": [multiscale]}


def _create(
    root: zarr_library.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
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
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=compressor,
        chunk_key_encoding={"name": "default" if modern else "v2", "separator": "/"},
        dimension_names=list(axes.lower()) if modern else None,
    )


def _chunks(axes: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    side = CHUNK[3 if "Z" in axes else 2]
    return tuple(min(n, side) if a in "ZYX" else 1 for a, n in zip(axes, shape, strict=True))


def _pyramid(image: Image) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return shape and factor of each level, the finest first."""
    factor = [1] * len(image.axes)
    levels = [(image.shape, tuple(factor))]
    spatial = [n for n, a in enumerate(image.axes) if a in "ZYX"]
    while max(levels[-1][0][n] for n in spatial) > SMALLEST_LEVEL:
        long = [n for n in spatial if levels[-1][0][n] > 1]
        finest = min(image.scale[n] * factor[n] for n in long)
        for n in long:
            if image.scale[n] * factor[n] < 2 * finest:
                factor[n] *= 2
        shape = tuple(-(-n // f) for n, f in zip(image.shape, factor, strict=True))
        levels.append((shape, tuple(factor)))
    return levels


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
