"""Image: pixels that are read when they are asked for, with axes and voxel size."""

from __future__ import annotations

import errno
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError, SegzooError
from .units import PIXEL

LETTERS = "TCZYX"
SPATIAL = "ZYX"
Region = tuple[slice, ...]
LARGEST_CHUNK = 2**33
MADE_BY = "napari-segzoo:"
OF_THE_FILE = (None, errno.ENOENT, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EOVERFLOW)
"""Numbers of system errors that speak of a bad file, and not of a disk or a network."""


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels with what is known of their axes.

    Parameters
    ----------
    data : array-like
        Anything with `shape`, `dtype`, `ndim` and slicing; a slice of it is a NumPy array, and
        only the region asked for is read.
    axes : str
        One letter of TCZYX per dimension; colours are a C axis. "" if the file does not say and
        its shape allows more than one reading.
    scale : tuple of float
        Size of one step along each dimension: in `unit` along Z, Y, X, in seconds along T where
        the file says so, 1 along C. Left out: 1 everywhere.
    unit : str
        Unit of length, "micrometer" for example; "pixel" if unknown.
    source : str
        File or folder it was read from.
    levels : tuple of array-like
        Resolutions of a pyramid, `data` first; () if there is only `data`.
    affine : tuple of 4 tuples of 4 floats, or None
        NIfTI only: from voxel indices in the order X, Y, Z to millimetres in the scanner.
    translate : tuple of float
        Where the first voxel lies along each dimension, in the units of `scale`. Left out: 0.
    made_by : str
        Digest of the model and options that made it, if `predict` did and the format keeps it.
    """

    data: Any
    axes: str = ""
    scale: tuple[float, ...] = ()
    unit: str = PIXEL
    source: str = ""
    levels: tuple[Any, ...] = ()
    affine: tuple[tuple[float, ...], ...] | None = None
    translate: tuple[float, ...] = ()
    made_by: str = ""

    def __post_init__(self) -> None:
        if self.axes:
            check_axes(self.axes, self.data.shape, self.source or "The image")
        scale = tuple(float(s) for s in self.scale) or (1.0,) * len(self.data.shape)
        placed = tuple(float(t) for t in self.translate) or (0.0,) * len(self.data.shape)
        for given, what in ((scale, "scale factors"), (placed, "translations")):
            if len(given) != len(self.data.shape):
                raise InputError(
                    f"{self.source or 'The image'} has {len(self.data.shape)} dimensions, "
                    f"but {len(given)} {what} were given; give one per dimension."
                )
        sound = tuple(s if isfinite(s) and s > 0 else 1.0 for s in scale)
        object.__setattr__(self, "scale", sound)
        placed = tuple(t if isfinite(t) else 0.0 for t in placed)
        object.__setattr__(self, "translate", placed)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def spatial_axes(self) -> str:
        """Those of Z, Y, X that the image has, in this order."""
        return "".join(a for a in SPATIAL if a in self.axes)

    @property
    def voxel_size(self) -> tuple[float, ...]:
        """Size of a voxel along `spatial_axes`, in `unit`."""
        return tuple(self.scale[self.axes.index(a)] for a in self.spatial_axes)

    def with_axes(self, axes: str) -> Image:
        """Return the same image with its dimensions named `axes`.

        Raises
        ------
        InputError
            If `axes` does not fit the shape.
        """
        axes = check_axes(axes, self.data.shape, self.source or "The image")
        scale = tuple(1.0 if a == "C" else s for a, s in zip(axes, self.scale, strict=True))
        return replace(self, axes=axes, scale=scale)


@dataclass(frozen=True, eq=False)
class LazyArray:
    """An array behind a function that reads one region of it.

    Parameters
    ----------
    shape : tuple of int
        Length of each dimension.
    dtype : numpy.dtype
        Type of the values, in the byte order of this computer.
    read : callable
        Takes one slice with step 1 per dimension and returns that region.
    chunks : tuple of int or None
        Shape of the pieces in which the file is stored, if it is stored in pieces.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Region], NDArray[Any]]
    chunks: tuple[int, ...] | None = None

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Read a region given by integers, slices and one Ellipsis."""
        keys = _expand(key, self.ndim)
        region: list[slice] = []
        inside: list[slice | int] = []
        for k, n in zip(keys, self.shape, strict=True):
            if isinstance(k, slice):
                steps = range(n)[k]
                low, high = (min(steps), max(steps) + 1) if steps else (0, 0)
                region.append(slice(low, high))
                inside.append(slice(None, None, steps.step))
            else:
                index = range(n)[operator.index(k)]
                region.append(slice(index, index + 1))
                inside.append(0)
        if any(r.start == r.stop for r in region):
            block = np.empty([r.stop - r.start for r in region], self.dtype)
        else:
            block = np.asarray(self.read(tuple(region)), self.dtype)
        return block[tuple(inside)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def __repr__(self) -> str:
        return f"LazyArray(shape={self.shape}, dtype={self.dtype})"


def check_axes(axes: str, shape: tuple[int, ...], name: str = "The image") -> str:
    """Return `axes` in upper case.

    Raises
    ------
    InputError
        If `axes` does not name each dimension of `shape` by its own letter of TCZYX, or lacks
        Y or X.
    """
    axes = axes.upper()
    shape = tuple(int(n) for n in shape)
    found = f"{name} has the shape {shape}"
    if len(axes) != len(shape):
        raise InputError(
            f"{found}, so axes needs {len(shape)} letters of TCZYX, one per dimension, "
            f"not {axes!r}."
        )
    if len(set(axes)) != len(axes) or set(axes) - set(LETTERS):
        raise InputError(
            f"axes must name each dimension by its own letter of TCZYX, not {axes!r}; {found}."
        )
    if not {"Y", "X"} <= set(axes):
        raise InputError(f"axes must hold Y and X, which {axes!r} does not; {found}.")
    return axes


def made_by_line(digest: str) -> str:
    """Return the line of text that says in a file which model and options made it."""
    return f"{MADE_BY}{digest}" if digest else ""


def find_made_by(text: str) -> str:
    """Return the digest in a text that holds a line of `made_by_line`, "" in another."""
    found = re.search(f"{MADE_BY}([0-9a-f]+)", text)
    return found.group(1) if found else ""


def check_content(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `InputError` if an array that a file announces can be no image."""
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise InputError(
            f"{path} holds values of type {dtype}; an image holds integers or real numbers."
        )
    if len(shape) < 2:
        raise InputError(f"{path} has the shape {tuple(shape)}; an image has at least two axes.")
    if prod(shape) == 0:
        raise InputError(f"{path} is empty: its shape is {tuple(shape)}.")
    if any(n < 0 for n in shape) or prod(shape) * dtype.itemsize >= 2**62:
        raise InputError(f"{path} is damaged: its header announces the shape {tuple(shape)}.")


def check_chunk(path: Path, chunk: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `InputError` if memory cannot hold a chunk, tile or strip of an array."""
    if prod(chunk) * dtype.itemsize > LARGEST_CHUNK:
        raise InputError(
            f"{path} is damaged, or too coarse to be read by region: its chunks {tuple(chunk)} "
            f"have more than {LARGEST_CHUNK // 2**30} GB."
        )


def check_size(path: Path, announced: int, limit: int) -> None:
    """Raise `InputError` if a header announces more bytes than the file can hold."""
    if announced > limit:
        raise InputError(
            f"{path} is damaged or truncated: its header announces {announced:,} bytes of pixels, "
            f"but the file can hold {limit:,} at most."
        )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a bad file into one `InputError` that names it.

    An error of the disk or the network becomes a `RunError`.
    """
    try:
        yield
    except (SegzooError, MemoryError):
        raise
    except PermissionError as error:
        raise InputError(f"{path} may not be read; check its permissions.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in OF_THE_FILE:
            raise RunError(f"{path} could not be read: {error.strerror}.") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is damaged or truncated: {reason[:200]}.") from error


def native(dtype: Any) -> np.dtype[Any]:
    """Return a dtype in the byte order of this computer."""
    result: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return result


def _expand(key: Any, ndim: int) -> tuple[Any, ...]:
    keys = key if isinstance(key, tuple) else (key,)
    dots = [n for n, k in enumerate(keys) if k is Ellipsis]
    if len(keys) - len(dots) > ndim or len(dots) > 1:
        raise IndexError(f"too many indices for an array of {ndim} dimensions: {key}")
    at = dots[0] if dots else len(keys)
    rest = keys[at + 1 :]
    return (*keys[:at], *(slice(None),) * (ndim - at - len(rest)), *rest)
