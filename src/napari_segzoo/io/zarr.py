"""OME-Zarr 0.4 and 0.5 (older ones are read as well) and plain Zarr arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    find_made_by,
    native,
    reading,
)
from .units import PIXEL, length_factor, length_unit, seconds

if TYPE_CHECKING:
    import zarr as zarr_library


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
    scale, translate = np.ones(ndim), np.zeros(ndim)
    for holder in (datasets[0], record):
        for transform in holder.get("coordinateTransformations", ()):
            if transform["type"] == "scale":
                factors = np.asarray(transform["scale"], float)
                scale, translate = scale * factors, translate * factors
            elif transform["type"] == "translation" and "translation" in transform:
                translate = translate + np.asarray(transform["translation"], float)
    spatial = [n for n, a in enumerate(axes) if a in "ZYX"]
    own = [length_unit(named[n].get("unit")) for n in spatial]
    unit = next((u for u in reversed(own) if u != PIXEL), PIXEL)
    units = np.ones(ndim)
    units[spatial] = [length_factor(u, unit) for u in own]
    if "T" in axes:
        units[axes.index("T")] = seconds(named[axes.index("T")].get("unit"))
    return Image(
        levels[0],
        axes,
        tuple((scale * units).tolist()),
        unit,
        str(path),
        levels if len(levels) > 1 else (),
        translate=tuple((translate * units).tolist()),
        made_by=find_made_by(str(record.get("metadata", ""))),
    )


def _lazy(path: Path, array: Any) -> LazyArray:
    if not hasattr(array, "chunks"):
        raise InputError(f"{path} is damaged: a level of its pyramid is no array.")
    shape = tuple(int(n) for n in array.shape)
    check_content(path, shape, np.dtype(array.dtype))
    check_chunk(path, array.shards or array.chunks, array.dtype)
    array = _checked(path, array)

    def read(region: Region) -> NDArray[Any]:
        with reading(path):
            return np.asarray(array[region])

    return LazyArray(shape, native(array.dtype), read, tuple(array.chunks))


def _letters(names: Sequence[str]) -> str:
    axes = "".join(n.upper() if len(n) == 1 else "?" for n in names)
    known = set(axes) <= set(LETTERS) and len(set(axes)) == len(axes) and {"Y", "X"} <= set(axes)
    return axes if known else ""


def _checked(path: Path, array: Any) -> Any:
    """Reopen an array of Blosc chunks so that a chunk cut short is an error.

    Blosc itself reads beyond the end of such a chunk and returns what it finds there.
    """
    import zarr

    codecs = [str(getattr(c, "codec_id", type(c).__name__)).lower() for c in array.compressors]
    if array.shards or not any("blosc" in c for c in codecs):
        return array
    return zarr.open_array(_blosc_store()(path / array.path, read_only=True), mode="r")


@cache
def _blosc_store() -> type:
    from zarr.storage import LocalStore

    class BloscStore(LocalStore):
        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            value = await super().get(key, prototype, byte_range)
            name = key.rpartition("/")[2]
            if value is None or name == "zarr.json" or name.startswith(".z"):
                return value
            # A Blosc chunk holds its own length in bytes 12 to 15.
            announced = int.from_bytes(value[12:16].to_bytes(), "little")
            if len(value) < 16 or len(value) != announced:
                raise ValueError(f"the chunk {key} is {len(value)} bytes long, not {announced}")
            return value

    return BloscStore
