"""Opening and saving by the ending of the file name."""

from __future__ import annotations

import os
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import hdf5
from .blocks import Progress, check_free, is_zarr, written_whole
from .image import Image, LazyArray, Region, check_axes
from .units import PIXEL, length_unit

TIFF = (".tif", ".tiff", ".btf", ".tf8")
RASTER = (".png", ".jpg", ".jpeg")
NIFTI = (".nii", ".nii.gz")
READABLE = (*TIFF, *RASTER, *NIFTI, *hdf5.ENDINGS, ".npy", ".zarr")
STROKES = ".strokes.tif"
"""Ending of drawings that are kept beside images; see `save_strokes`."""
WRITABLE = (*TIFF, ".png", *NIFTI, ".npy", ".zarr")


def open_image(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    series: int = 0,
    labels: bool = False,
) -> Image:
    """Open an image file or Zarr folder; pixels are read when they are asked for.

    Parameters
    ----------
    path : path-like
        TIFF (plain, ImageJ, OME, BigTIFF), PNG, JPEG, NIfTI, HDF5 (``file.h5``, or
        ``file.h5/path/of/dataset``), ``.npy``, or a folder that holds OME-Zarr or a Zarr array.
    axes : str, optional
        One letter of TCZYX per dimension, instead of what the file says.
    series : int
        Which of the images in a TIFF file.
    labels : bool
        The file holds labels: the indices of a palette PNG are its values, not its colours, and
        real numbers, as NIfTI often stores labels, are turned into int32.

    Returns
    -------
    Image
        With `axes` from the metadata. Without them two dimensions are YX and colours YXC; any
        other shape could be more than one thing and leaves `axes` empty.

    Raises
    ------
    InputError
        If the file is missing, of no known kind, damaged, or if `axes` does not fit its shape.
    """
    path = Path(path)
    dataset = hdf5.split_hdf5(path)
    if dataset is None and not path.exists():
        raise InputError(f"There is no file or folder {path}.")
    image = hdf5.open_hdf5(*dataset) if dataset else _open(path, axes, series, labels)
    if labels and np.dtype(image.data.dtype).kind == "f":
        image = replace(image, data=_whole_numbers(path, image.data), levels=())
    if axes:
        return image.with_axes(axes)
    return image.with_axes("YX") if not image.axes and image.data.ndim == 2 else image


def _whole_numbers(path: Path, data: Any) -> LazyArray:
    """Turn labels stored as real numbers into int32 when they are read."""

    def read(region: Region) -> NDArray[Any]:
        block = np.asarray(data[region])
        whole = block.astype(np.int32) if np.isfinite(block).all() else None
        if whole is None or (whole != block).any():
            raise InputError(f"{path} holds labels that are not whole numbers.")
        return whole

    shape = tuple(int(n) for n in data.shape)
    return LazyArray(shape, np.dtype(np.int32), read, getattr(data, "chunks", None))


def _open(path: Path, axes: str | None, series: int, labels: bool) -> Image:
    if path.is_dir():
        if not is_zarr(path):
            raise InputError(f"{path} is a folder, but no Zarr; open the images in it one by one.")
        from .zarr import open_zarr

        return open_zarr(path)
    ending = _ending(path, READABLE)
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: it has 0 bytes.")
    if ending in TIFF:
        from .tiff import open_tiff

        return open_tiff(path, series, axes)
    if ending in NIFTI:
        from .nifti import open_nifti

        return open_nifti(path)
    if ending == ".npy":
        from .raster import open_npy

        return open_npy(path)
    if ending in RASTER:
        from .raster import open_raster

        return open_raster(path, labels)
    raise InputError(f"{path} is a file, but a .zarr is a folder; unpack it first.")


def save_image(
    path: str | os.PathLike[str],
    data: Any,
    axes: str,
    *,
    scale: tuple[float, ...] | None = None,
    unit: str = PIXEL,
    affine: tuple[tuple[float, ...], ...] | None = None,
    translate: tuple[float, ...] | None = None,
    made_by: str = "",
    labels: bool | None = None,
    overwrite: bool = False,
    compress: bool = True,
    ome_zarr: str = "0.4",
    progress: Progress | None = None,
) -> Path:
    """Write an image in the format that the ending of `path` names.

    It is written in blocks under a temporary name and renamed when it is whole.

    Parameters
    ----------
    path : path-like
        ``.tif``, ``.tiff``, ``.btf`` (OME-TIFF), ``.zarr`` (OME-Zarr), ``.nii``, ``.nii.gz``,
        ``.png`` or ``.npy``.
    data : array-like
        Anything with `shape`, `dtype` and slicing; bool is stored as uint8. TIFF and NIfTI store
        int64 and uint64 as 32 bits and float16 as float32.
    axes : str
        One letter of TCZYX per dimension.
    scale : tuple of float, optional
        Size of one step along each dimension, see `Image`; 1 if left out.
    unit : str
        Unit of length, such as "micrometer".
    affine : 4 x 4 floats, optional
        NIfTI only: orientation in the scanner, from `Image.affine`.
    translate : tuple of float, optional
        OME-Zarr and NIfTI: where the first voxel lies, see `Image`; NIfTI only without `affine`.
    made_by : str
        See `Image`; kept by TIFF, OME-Zarr, NIfTI and PNG.
    labels : bool, optional
        Whether values are ids or classes, which a pyramid must not average. If left out:
        True for integers.
    overwrite : bool
        Replace what exists.
    compress : bool
        Compress TIFF (zlib) and Zarr (zstd); NIfTI goes by its ending.
    ome_zarr : {"0.4", "0.5"}
        Version of OME-Zarr: 0.4 (Zarr format 2) is read by most programs.
    progress : callable, optional
        Called with the number of blocks done and their total.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    InputError
        If the ending, the axes, the type or a value is none that can be written, if `path`
        exists, or if its folder does not.
    RunError
        If the disk is full or may not be written.
    """
    path = Path(path)
    ending = _ending(path, WRITABLE)
    if not hasattr(data, "dtype"):
        data = np.asarray(data)
    axes = check_axes(axes, data.shape, "The image to save")
    more = affine, tuple(translate or ()), made_by
    image = Image(data, axes, scale or (), length_unit(unit), str(path), (), *more)
    if np.dtype(data.dtype).kind not in "buif" or prod(image.shape) == 0:
        raise InputError(
            f"{path} cannot be written: an image of the shape {image.shape} and the type "
            f"{data.dtype} is none that can be saved."
        )
    if ome_zarr not in ("0.4", "0.5"):
        raise InputError(f"ome_zarr must be 0.4 or 0.5, not {ome_zarr!r}.")
    if labels is None:
        labels = np.dtype(data.dtype).kind in "bui"
    with written_whole(path, overwrite=overwrite) as temporary:
        _save(temporary, ending, image, labels, compress, ome_zarr, progress)
    return path


def _save(
    path: Path,
    ending: str,
    image: Image,
    labels: bool,
    compress: bool,
    ome_zarr: str,
    progress: Progress | None,
) -> None:
    if ending in TIFF:
        from .tiff_writer import save_tiff

        save_tiff(path, image, compress, progress)
    elif ending == ".zarr":
        from .zarr_writer import save_zarr

        save_zarr(path, image, labels, ome_zarr, compress, progress)
    elif ending in NIFTI:
        from .nifti import save_nifti

        save_nifti(path, image, progress)
    elif ending == ".png":
        from .raster import save_png

        save_png(path, image)
    else:
        from .raster import save_npy

        save_npy(path, image, progress)


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return `path` if an image can be saved there, before work is put into it.

    Raises
    ------
    InputError
        If its ending is none that can be written or needs a package that is missing, if it exists
        and `overwrite` is not set, or if its folder does not exist.
    """
    path = Path(path)
    if _ending(path, WRITABLE) in NIFTI:
        from .nifti import check_nifti

        check_nifti()
    check_free(path, overwrite=overwrite)
    return path


def check_holds(path: Path, axes: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise `InputError` if the format that the ending of `path` names cannot hold an image."""
    if _ending(path, WRITABLE) == ".png":
        from .raster import check_png

        check_png(str(path), axes, shape, dtype)


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the images in a folder, sorted by name; a Zarr folder counts as one.

    Saved strokes are no images.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}.")
    return sorted(
        p
        for p in folder.iterdir()
        if not p.name.startswith(".")
        and not p.name.endswith(STROKES)
        and (is_zarr(p) if p.is_dir() else p.name.lower().endswith(READABLE[:-1]))
    )


def _ending(path: Path, known: tuple[str, ...]) -> str:
    name = path.name.lower()
    found = [e for e in known if name.endswith(e)]
    if not found:
        raise InputError(
            f"{path} has an ending that is not supported; supported are {', '.join(known)}."
        )
    return max(found, key=len)
