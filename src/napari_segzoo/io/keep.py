"""A file for an image that comes from none."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import numpy as np

from ..errors import InputError
from .blocks import consecutive_blocks
from .files import open_image, save_image
from .image import Image


def keep_image(image: Image, folder: Path) -> str:
    """Save an image that comes from no file under its name, and return the path.

    A file that holds it already is taken; a file that holds something else is left alone.

    Parameters
    ----------
    image : Image
        With its axes; `source` is its name.
    folder : Path
        Where to.
    """
    name = re.sub(r"[^\w.-]+", "_", image.source)[:100] or "image"
    ending = ".tif" if _keeps_its_axes_in_tiff(image) else ".npy"
    for n in count(1):
        path = folder / f"{name}{f'-{n}' if n > 1 else ''}{ending}"
        if not path.exists():
            save_image(path, image.data, image.axes, scale=image.scale, unit=image.unit)
            break
        if _holds(path, image):
            break
    return str(path)


def _keeps_its_axes_in_tiff(image: Image) -> bool:
    """Whether a TIFF file has the same axes in the same order."""
    dtype = np.dtype(image.data.dtype)
    colors = image.axes[-1] == "C" and image.shape[-1] in (3, 4)
    axes = image.axes[:-1] if colors and dtype.kind == "u" and dtype.itemsize < 4 else image.axes
    return axes.endswith("YX")


def _holds(path: Path, image: Image) -> bool:
    try:
        saved = open_image(path, axes=image.axes)
        return saved.shape == image.shape and all(
            np.array_equal(saved.data[r], np.asarray(image.data[r]), equal_nan=True)
            for r in consecutive_blocks(image.shape, np.dtype(image.data.dtype).itemsize)
        )
    except InputError:
        return False
