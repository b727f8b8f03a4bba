"""Cutting arrays into blocks of bounded size, and writing under a temporary name."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError
from .image import Region

BUDGET = 16 * 2**20
"""Bytes of pixels that writing holds at a time."""
Progress = Callable[[int, int], object]


def consecutive_blocks(shape: Sequence[int], itemsize: int, budget: int = BUDGET) -> list[Region]:
    """Regions of at most `budget` bytes (one element at least) that tile `shape` in C order."""
    split = 0
    while split < len(shape) - 1 and prod(shape[split + 1 :]) * itemsize > budget:
        split += 1
    step = max(1, budget // (prod(shape[split + 1 :]) * itemsize))
    rest = tuple(slice(0, n) for n in shape[split + 1 :])
    return [
        (*(slice(i, i + 1) for i in index), slice(start, min(start + step, shape[split])), *rest)
        for index in product(*(range(n) for n in shape[:split]))
        for start in range(0, shape[split], step)
    ]


def grid_blocks(
    shape: Sequence[int], chunks: Sequence[int], itemsize: int, budget: int = BUDGET
) -> list[Region]:
    """Regions of whole chunks that tile `shape`, long along the last axes.

    Each has at most `budget` bytes, but one chunk at least.
    """
    sides = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        room = budget // (prod(sides) * itemsize)
        if room >= 2:
            sides[axis] = min(shape[axis], sides[axis] * room)
        if sides[axis] < shape[axis]:
            sides[axis] = max(1, sides[axis] // chunks[axis]) * chunks[axis]
            break
    starts = [range(0, n, s) for n, s in zip(shape, sides, strict=True)]
    return [
        tuple(slice(a, min(a + s, n)) for a, s, n in zip(corner, sides, shape, strict=True))
        for corner in product(*starts)
    ]


def stored_blocks(array: Any, whole: int | None = None) -> list[Region]:
    """Regions that tile an array, of whole chunks where it is stored in chunks.

    Each holds all of the axis `whole`, if that is given.
    """
    chunks = getattr(array, "chunks", None) or (1,) * len(array.shape)
    sides = [max(c) if isinstance(c, tuple) else int(c) for c in chunks]
    if whole is not None:
        sides[whole] = int(array.shape[whole])
    return grid_blocks(array.shape, sides, np.dtype(array.dtype).itemsize)


def storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which TIFF and NIfTI readers everywhere understand `dtype`."""
    narrower = {"b1": "u1", "i8": "i4", "u8": "u4", "f2": "f4"}
    code = f"{dtype.kind}{dtype.itemsize}"
    return np.dtype(narrower.get(code, code))


def cast(block: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Convert to `dtype`, in C order.

    Raises
    ------
    InputError
        If an integer does not fit.
    """
    if block.dtype.kind in "iu" and block.dtype != dtype and block.size:
        limits = np.iinfo(dtype)
        worst = block.max() if block.max() > limits.max else block.min()
        if not limits.min <= worst <= limits.max:
            raise InputError(
                f"{name} would hold {dtype} values, but {worst} does not fit; "
                "renumber the labels, or save as .npy or .zarr."
            )
    return np.ascontiguousarray(block, dtype)


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when all went well.

    Whatever is at the temporary path (a file or a folder) is removed if the block raises.

    Raises
    ------
    InputError
        If `path` exists and `overwrite` is not set, if it is a folder that is not a Zarr, or if
        its folder does not exist.
    RunError
        If the disk is full or may not be written.
    """
    check_free(path, overwrite=overwrite)
    try:
        _clear_leftovers(path)
        prefix = f".{path.name}.{_process(os.getpid())}."
        room = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=path.parent))
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror or error}.") from error
    try:
        temporary = room / path.name
        yield temporary
        put_in_place(temporary, path)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _clear_leftovers(path: Path) -> None:
    """Remove what processes of this computer that were killed have left beside `path`."""
    import psutil

    for room in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        process = room.name.removeprefix(f".{path.name}.").partition(".")[0]
        number = process.rpartition("-")[2]
        alive = not number.isdigit() or psutil.pid_exists(int(number))
        if not alive and process == _process(int(number)):
            shutil.rmtree(room, ignore_errors=True)


def _process(number: int) -> str:
    """Return a name for a process that tells this computer from others with the same folder."""
    return f"{zlib.crc32(platform.node().encode()):x}-{number}"


def put_in_place(whole: Path, path: Path) -> None:
    """Rename what is whole to `path`; a folder that is there goes to "replaced", beside `whole`."""
    if path.is_dir():
        path.rename(whole.with_name("replaced"))
    whole.replace(path)


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Raise `InputError` if `path` may not be written."""
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} exists already; choose another name, or replace it with --overwrite "
            "(overwrite=True)."
        )
    if path.is_dir() and not is_zarr(path):
        raise InputError(f"{path} is a folder that is not a Zarr; choose another name.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")


def check_writable(folder: Path) -> None:
    """Raise `InputError` if no file can be made in a folder that is there."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(
            f"Nothing can be written to {folder.resolve()} ({error.strerror or error}); choose "
            "another folder."
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder to write to; raise `InputError` if it is none or nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made a folder ({error.strerror or error}); choose another place."
        ) from error
    check_writable(folder)


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a Zarr array or group."""
    return any((path / name).is_file() for name in ("zarr.json", ".zarray", ".zgroup"))
