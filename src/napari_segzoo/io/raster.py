"""PNG, JPEG and NumPy's own ``.npy``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .blocks import Progress, cast, consecutive_blocks
from .image import (
    Image,
    LazyArray,
    check_content,
    find_made_by,
    made_by_line,
    native,
    reading,
)

KEY = "Comment"
"""Of the text in a PNG file."""


def open_raster(path: Path, labels: bool = False) -> Image:
    """Read a PNG or JPEG file as a whole.

    A palette is applied, unless `labels` is set: then the index of each pixel is its value.
    Colours are a C axis that stands last. PNG with 16 bits per colour is read with 8 bits.

    Raises
    ------
    InputError
        If the file is damaged, or has more than 178 million pixels.
    """
    import PIL.Image

    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        try:
            with PIL.Image.open(path, formats=("PNG", "JPEG")) as file:
                pixels = np.asarray(_plain_mode(file, labels))
                made_by = find_made_by(str(file.info.get(KEY, "")))
        except PIL.Image.DecompressionBombError as error:
            raise InputError(
                f"{path} has more than 178 million pixels; convert it to TIFF or OME-Zarr, "
                "which are read by region."
            ) from error
    check_content(path, pixels.shape, pixels.dtype)
    axes = "YX" if pixels.ndim == 2 else "YXC"
    return Image(pixels, axes, source=str(path), made_by=made_by)


def _plain_mode(file: Any, labels: bool) -> Any:
    if file.mode == "P" and not labels:
        return file.convert("RGBA" if "transparency" in file.info else "RGB")
    gray = {"1", "L", "P", "I", "F", "I;16", "I;16B"}
    if file.mode in gray | {"RGB", "RGBA"}:
        return file
    return file.convert("L" if file.mode in ("LA", "La") else "RGB")


def check_png(name: str, axes: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Return whether an image is one of colours; raise `InputError` if PNG cannot hold it."""
    color = axes == "YXC" and shape[2] in (3, 4)
    if axes != "YX" and not color:
        raise InputError(
            f"{name}: PNG holds one plane (YX) or its colours (YXC), not {axes} with the shape "
            f"{shape}; save as .tif or .zarr."
        )
    if dtype.kind not in "bui":
        raise InputError(f"{name}: PNG holds integers, not {dtype}; save as .tif or .zarr.")
    return color


def save_png(path: Path, image: Image) -> None:
    """Write gray values or labels of 8 or 16 bits, or 8-bit colours that stand last.

    Raises
    ------
    InputError
        If shape, type or values are none that PNG holds.
    """
    import PIL.Image
    import PIL.PngImagePlugin

    dtype = np.dtype(image.data.dtype)
    color = check_png(image.source, image.axes, image.shape, dtype)
    pixels = np.asarray(image.data[...])
    highest = int(pixels.max())
    if pixels.min() < 0 or highest > (255 if color else 65535):
        raise InputError(
            f"{image.source}: PNG holds values from 0 to {255 if color else 65535}, and here is "
            f"{highest if pixels.min() >= 0 else int(pixels.min())}; save as .tif or .zarr."
        )
    narrow = np.dtype("u1") if dtype.itemsize == 1 or color else np.dtype("u2")
    info = PIL.PngImagePlugin.PngInfo()
    if image.made_by:
        info.add_text(KEY, made_by_line(image.made_by))
    PIL.Image.fromarray(cast(pixels, narrow, image.source)).save(path, format="PNG", pnginfo=info)


def open_npy(path: Path) -> Image:
    """Map a ``.npy`` file into memory; nothing in it is executed.

    Raises
    ------
    InputError
        If the file is damaged, or holds Python objects.
    """
    with reading(path):
        try:
            mapped: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        except ValueError as error:
            if "Python objects" not in str(error):
                raise
            raise InputError(f"{path} holds Python objects, which are not opened.") from error
    check_content(path, mapped.shape, mapped.dtype)
    axes = "YX" if mapped.ndim == 2 else ""
    if mapped.dtype.isnative:
        return Image(mapped, axes, source=str(path))
    data = LazyArray(mapped.shape, native(mapped.dtype), lambda region: mapped[region])
    return Image(data, axes, source=str(path))


def save_npy(path: Path, image: Image, progress: Progress | None) -> None:
    """Write a ``.npy`` file block by block; it holds neither axes nor scale."""
    dtype = np.dtype(image.data.dtype)
    dtype = np.dtype("u1") if dtype.kind == "b" else native(dtype)
    blocks = consecutive_blocks(image.shape, dtype.itemsize)
    header = {"descr": dtype.str, "fortran_order": False, "shape": image.shape}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for done, region in enumerate(blocks, 1):
            stream.write(np.ascontiguousarray(image.data[region], dtype).tobytes())
            if progress is not None:
                progress(done, len(blocks))
