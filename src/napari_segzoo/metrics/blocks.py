"""Label images of any kind, cut into blocks that fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

BLOCK_VOXELS = 1 << 22
Region = tuple[slice, ...]


def label_pair(reference: Any, prediction: Any) -> tuple[Any, Any]:
    """Check that two label images can be compared, and return them as array-likes.

    Raises
    ------
    InputError
        If the shapes differ, there is nothing in them, or the values are not whole numbers.
    """
    reference, prediction = as_labels(reference, "reference"), as_labels(prediction, "prediction")
    shape = _shape(reference)
    if shape != _shape(prediction):
        raise InputError(
            f"The reference has shape {shape} and the prediction {_shape(prediction)}; crop or "
            "resample one of them (option fit) so that both cover the same voxels."
        )
    if 0 in shape or not shape:
        raise InputError(f"There is nothing to compare in label images of shape {shape}.")
    return reference, prediction


def as_labels(image: Any, name: str) -> Any:
    """Return a label image as an array-like.

    Raises
    ------
    InputError
        If the values are not whole numbers; `name` is what the message calls the image.
    """
    image = image if hasattr(image, "shape") and hasattr(image, "dtype") else np.asarray(image)
    if np.dtype(image.dtype).kind not in "bui":
        raise InputError(
            f"The {name} holds {np.dtype(image.dtype)} values; labels must be whole numbers "
            "(0 is background), so threshold it or convert it to an integer type first."
        )
    return image


def check_task(task: str) -> None:
    if task not in ("semantic", "instances"):
        raise InputError(f"task must be 'semantic' or 'instances', not {task!r}.")


def check_ignore(ignore: Any) -> int | None:
    """Return the label to be ignored; raise `InputError` if it is no whole number."""
    try:
        return None if ignore is None else index(ignore)
    except TypeError:
        raise InputError(f"ignore must be a label, a whole number, not {ignore!r}.") from None


def axis_spacing(spacing: Sequence[float] | float | None, ndim: int) -> tuple[float, ...]:
    """Voxel size along every axis; None is 1, one number stands for all axes.

    Raises
    ------
    InputError
        If there are not as many numbers as axes, or one is not a positive, finite number.
    """
    try:
        values = np.ones(ndim) if spacing is None else np.asarray(spacing, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"spacing must be positive numbers, not {spacing!r}.") from None
    values = np.full(ndim, values) if values.ndim == 0 else values
    if values.shape != (ndim,):
        raise InputError(
            f"spacing holds {values.size} numbers but the label images have {ndim} axes; "
            "give one number per axis."
        )
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise InputError(f"spacing must be positive numbers, not {spacing}.")
    return tuple(float(v) for v in values)


def regions(*images: Any, voxels: int = BLOCK_VOXELS, single: int = 0) -> list[Region]:
    """Cut images of one shape into regions of about `voxels` voxels, aligned with their chunks.

    Parameters
    ----------
    *images : array-like
        Images of the same shape; Zarr and Dask chunks (and shards) are respected.
    voxels : int
        Wanted voxels of a region; a chunk that is larger is taken whole.
    single : int
        Number of leading axes along which a region has one index only (frames).
    """
    shape = _shape(images[0])
    side = [max(sizes) for sizes in zip(*(chunk_sides(image) for image in images), strict=True)]
    side[:single] = [1] * single
    for axis in range(len(shape) - 1, single - 1, -1):
        fit = voxels // int(np.prod(side, dtype=np.int64))
        side[axis] = min(shape[axis], side[axis] * max(1, fit))
    starts = [range(0, n, s) for n, s in zip(shape, side, strict=True)]
    return [
        tuple(slice(a, min(a + s, n)) for a, s, n in zip(corner, side, shape, strict=True))
        for corner in product(*starts)
    ]


def grow(region: Region, shape: Sequence[int], axes: Sequence[int]) -> tuple[Region, Region]:
    """Widen a region by one voxel along `axes`; return it and where the old one lies in it."""
    outer, inner = list(region), [slice(0, s.stop - s.start) for s in region]
    for axis in axes:
        old = region[axis]
        outer[axis] = slice(max(0, old.start - 1), min(shape[axis], old.stop + 1))
        first = old.start - outer[axis].start
        inner[axis] = slice(first, first + old.stop - old.start)
    return tuple(outer), tuple(inner)


def read(image: Any, region: Region, name: str) -> NDArray[Any]:
    """Read a region as unsigned labels: uint8 as they are, uint16 if they fit, else uint64.

    Parameters
    ----------
    image : array-like
        A label image.
    region : tuple of slice
        The part to read.
    name : str
        What error messages call the image.

    Raises
    ------
    InputError
        If there is a negative label.
    """
    block = np.asarray(image[region])
    if block.dtype.kind == "b":
        block = block.view(np.uint8)
    if not block.dtype.isnative:
        block = block.astype(block.dtype.newbyteorder("="))
    signed = block.dtype.kind == "i"
    if block.dtype.itemsize <= 2 and not signed:
        return _contiguous(block, block.dtype)
    if signed and int(block.min()) < 0:
        raise InputError(
            f"The {name} holds the negative label {int(block.min())}; labels must be 0 "
            "(background) or above. Give voxels to be left out a label of their own, such as 255, "
            "and pass it as ignore."
        )
    top = int(block.max())
    if top > np.iinfo(np.int64).max:
        raise InputError(f"The {name} holds the label {top}; labels must be below 2**63.")
    return _contiguous(block, np.uint16 if top <= np.iinfo(np.uint16).max else np.uint64)


def _contiguous(block: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return np.require(block, dtype, ["C", "A"])


def _shape(image: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in image.shape)


def chunk_sides(image: Any) -> tuple[int, ...]:
    """Side lengths of the smallest piece that is worth reading at once."""
    shape = _shape(image)
    chunks = getattr(image, "shards", None) or getattr(image, "chunks", None)
    if isinstance(image, np.ndarray) or not chunks or len(chunks) != len(shape):
        return (1,) * len(shape)
    sides = (max(c) if isinstance(c, tuple) else int(c) for c in chunks)
    return tuple(min(int(side), n) for side, n in zip(sides, shape, strict=True))
