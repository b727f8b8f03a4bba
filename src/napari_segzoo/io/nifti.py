"""NIfTI: presented as (T)ZYX, which is the file's order X, Y, Z(, T) read backwards."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .blocks import Progress, cast, consecutive_blocks, storable
from .image import (
    Image,
    LazyArray,
    Region,
    check_content,
    check_size,
    find_made_by,
    made_by_line,
    native,
    reading,
)
from .units import PIXEL, length_factor

AXES = "CTZYX"
DEFLATE_LIMIT = 1032
"""No gzip file unpacks to more than this many times its size."""
_NIFTI_1_LIMIT = 32767


def open_nifti(path: Path) -> Image:
    """Open a ``.nii`` or ``.nii.gz`` file.

    ``.nii`` is mapped into memory. ``.nii.gz`` cannot be read by region, so the first access
    unpacks it as a whole. Scaled values (slope and intercept) are float32, or float64 if stored so.

    Raises
    ------
    InputError
        If nibabel is not installed, or the file is damaged.
    """
    nibabel = _nibabel()
    packed = path.suffix.lower() == ".gz"
    with reading(path):
        file = nibabel.load(path)
        header, proxy = file.header, file.dataobj
        shape = tuple(int(n) for n in proxy.shape)
        stored, offset = proxy.dtype, int(proxy.offset)
        slope, intercept = float(proxy.slope), float(proxy.inter)
        check_content(path, shape, stored)
        size = path.stat().st_size * (DEFLATE_LIMIT if packed else 1)
        check_size(path, offset + prod(shape) * stored.itemsize, size)
        if len(shape) > len(AXES):
            raise InputError(f"{path} has {len(shape)} dimensions; at most 5 can be read.")
        scale, unit = _voxel_size(header)
        affine = _affine(header)
        made_by = find_made_by(bytes(header["descrip"]).decode("latin1"))
    backwards = shape[::-1]
    load = _loader(path, stored, offset, backwards, packed)
    data = _scaled(path, load, backwards, stored, slope, intercept)
    axes = AXES[-len(shape) :]
    if len(shape) == 5 and shape[3] == 1:
        return Image(_without_time(data), "CZYX", (1.0, *scale[-3:]), unit, str(path), (), affine)
    scale = ((1.0,) * 5 + scale)[-len(shape) :]
    return Image(data, axes, scale, unit, str(path), (), affine, made_by=made_by)


def _loader(
    path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...], packed: bool
) -> Callable[[], NDArray[Any]]:
    @cache
    def load() -> NDArray[Any]:
        if not packed:
            return np.memmap(path, dtype, "r", offset, shape)
        wanted = prod(shape) * dtype.itemsize
        with gzip.open(path) as stream:
            stream.read(offset)
            content = stream.read(wanted)
        if len(content) < wanted:
            raise InputError(f"{path} is truncated: it ends before its last voxel.")
        return np.frombuffer(content, dtype).reshape(shape)

    return load


def _scaled(
    path: Path,
    load: Callable[[], NDArray[Any]],
    shape: tuple[int, ...],
    stored: np.dtype[Any],
    slope: float,
    intercept: float,
) -> LazyArray:
    plain = slope == 1.0 and intercept == 0.0
    result = native(stored) if plain else np.dtype("f8" if stored == np.dtype("f8") else "f4")

    def read(region: Region) -> NDArray[Any]:
        with reading(path):
            block = load()[region]
            return block if plain else (block.astype("f8") * slope + intercept).astype(result)

    return LazyArray(shape, result, read)


def _without_time(data: LazyArray) -> LazyArray:
    def read(region: Region) -> NDArray[Any]:
        block: NDArray[Any] = data.read((region[0], slice(0, 1), *region[1:]))
        return block[:, 0]

    return LazyArray((data.shape[0], *data.shape[2:]), data.dtype, read)


def _voxel_size(header: Any) -> tuple[tuple[float, ...], str]:
    """Return steps along (T,) Z, Y, X and their unit.

    Lengths are millimetres, also where the header names no unit, as is the custom; only a file
    without unit, orientation and sizes other than 1 counts as not calibrated.
    """
    zooms = [abs(float(z)) for z in header.get_zooms()[:4]]
    length, time = header.get_xyzt_units()
    if length == "unknown" and set(zooms[:3]) == {1.0} and not _oriented(header):
        return tuple(zooms[::-1]), PIXEL
    factor = _millimeters(header)
    per_second = {"msec": 1e-3, "usec": 1e-6}.get(time, 1.0)
    steps = [z * factor for z in zooms[:3]] + [z * per_second for z in zooms[3:]]
    return tuple(float(f"{s:.7g}") for s in steps[::-1]), "millimeter"


def _affine(header: Any) -> tuple[tuple[float, ...], ...]:
    """Return the orientation with lengths in millimetres."""
    matrix = np.array(header.get_best_affine(), float)
    matrix[:3] *= _millimeters(header)
    return tuple(tuple(row) for row in matrix.tolist())


def _millimeters(header: Any) -> float:
    names = {"micron": "micrometer", "meter": "meter"}
    return length_factor(names.get(header.get_xyzt_units()[0], "millimeter"), "millimeter")


def _oriented(header: Any) -> bool:
    return int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0


def save_nifti(path: Path, image: Image, progress: Progress | None) -> None:
    """Write ``.nii`` or ``.nii.gz`` slab by slab; lengths in millimetres where they are known.

    Axes beyond the file's order X, Y, Z, T, C are put into it. The affine is the image's own if it
    has one, else the voxel size on the diagonal, and where the first voxel lies.
    """
    dtype = storable(np.dtype(image.data.dtype))
    axes = next(full for full in ("YX", "ZYX", "TZYX", "CTZYX") if set(image.axes) <= set(full))
    length = dict.fromkeys(axes, 1) | dict(zip(image.axes, image.shape, strict=True))
    shape = tuple(length[a] for a in axes)
    order = "".join(a for a in axes if a in image.axes)
    header = _header(image, axes, shape, dtype)
    inner = tuple(length[a] for a in order)
    blocks = consecutive_blocks(inner, dtype.itemsize)
    opener: Any = gzip.open if path.suffix == ".gz" else open
    options = {"compresslevel": 4} if path.suffix == ".gz" else {}
    with opener(path, "wb", **options) as stream:
        stream.write(header.binaryblock + b"\0\0\0\0")
        for done, region in enumerate(blocks, 1):
            where = dict(zip(order, region, strict=True))
            block = np.asarray(image.data[tuple(where[a] for a in image.axes)])
            block = np.transpose(block, [image.axes.index(a) for a in order])
            stream.write(cast(block, dtype, image.source).tobytes())
            if progress is not None:
                progress(done, len(blocks))


def _header(image: Image, axes: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    nibabel = _nibabel()
    modern = max(shape) > _NIFTI_1_LIMIT
    header = (nibabel.Nifti2Header if modern else nibabel.Nifti1Header)()
    header.set_data_shape(shape[::-1])
    header.set_data_dtype(dtype)
    step = dict(zip(image.axes, image.scale, strict=True))
    factor = length_factor(image.unit, "millimeter")
    zooms = [step.get(a, 1.0) * (factor if a in "ZYX" else 1.0) for a in axes[::-1]]
    header.set_zooms(zooms)
    place = dict(zip(image.axes, image.translate, strict=True))
    if image.unit != PIXEL or image.affine is not None or any(map(place.get, "ZYX")):
        header.set_xyzt_units("mm", "sec")
        affine = np.diag([*zooms[:3], 1.0, 1.0][:4])
        affine[:3, 3] = [factor * place.get(a, 0.0) for a in "XYZ"]
        if image.affine is not None:
            affine = np.asarray(image.affine)
        header.set_sform(affine, 2)
        header.set_qform(affine, 2)
    header["descrip"] = made_by_line(image.made_by)
    header["magic"] = b"n+2\0\r\n\x1a\n" if modern else b"n+1\0"
    header.set_data_offset(len(header.binaryblock) + 4)
    return header


def check_nifti() -> None:
    """Raise `InputError` if the package behind NIfTI is missing."""
    _nibabel()


def _nibabel() -> ModuleType:
    try:
        import nibabel
    except ImportError as error:
        raise InputError(
            'NIfTI files need one more package: pip install "napari-segzoo[nifti]".'
        ) from error
    module: ModuleType = nibabel
    return module
