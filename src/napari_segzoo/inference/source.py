"""The file from which the workers of a cluster read an image."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SegzooError
from ..preprocess import sample_regions
from .crop import Crop

if TYPE_CHECKING:
    from .files import FileRun

SAMPLES = 4
"""Parts of an image that are compared with its file."""


def file_of(image: Any) -> str:
    """Return the file that holds an image as it is, "" if there is none."""
    from ..io import LazyArray

    opened = isinstance(getattr(image, "data", None), LazyArray | np.memmap)
    source = getattr(image, "source", "")
    return str(Path(source).absolute()) if opened and source else ""


def find_file(run: FileRun, shape: tuple[int, ...]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a file that workers can open, written to the store if there is none."""
    from ..io import open_image, save_image

    image = run.prediction.image
    whole, ranges = image, tuple((0, n) for n in shape)
    if isinstance(image, Crop):
        whole, ranges = image.array, image.ranges
    axes = run.prediction.plan.layout.axes
    if run.source:
        try:
            if is_alike(open_image(run.source, axes=axes).data, whole):
                return str(run.source), ranges
        except SegzooError:
            pass
    copy = run.store / "image.zarr"
    shutil.rmtree(copy, ignore_errors=True)
    save_image(copy, whole, axes)
    return str(copy.absolute()), ranges


def is_alike(opened: Any, image: Any) -> bool:
    """Whether two arrays are the same, as far as shape, type and a few samples tell."""
    if (tuple(opened.shape), opened.dtype) != (tuple(image.shape), image.dtype):
        return False
    regions = sample_regions(image.shape, None)
    return all(
        np.array_equal(opened[r], image[r], equal_nan=image.dtype.kind == "f")
        for r in regions[:: -(-len(regions) // SAMPLES)]
    )
