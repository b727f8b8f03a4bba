"""NIfTI files for napari's *File > Open*, with axes and voxel size.

Where a second reader takes a format that napari claims, napari asks which to use. That is worth it
for NIfTI, which napari claims but cannot read by itself, and not for TIFF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .io import Image

LayerData = tuple[Any, dict[str, Any], str]
ENDINGS = (".nii", ".nii.gz")
LARGEST_IN_MEMORY = 1 << 30


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the function that reads `path`, or None for several files or another format."""
    known = isinstance(path, str) and path.lower().endswith(ENDINGS)
    return read_layers if known else None


def read_layers(path: str) -> list[LayerData]:
    """Return an image file as a napari layer, or as one layer per channel.

    Raises
    ------
    InputError
        If nibabel is not installed, or the file is damaged.
    """
    from pathlib import Path

    from .io import image_stem, open_image

    image = open_image(path)
    split = {"channel_axis": image.axes.index("C")} if "C" in image.axes else {}
    how = layer_axes(image, image.axes.replace("C", ""))
    return [(pixels(image), {"name": image_stem(Path(path)), **how, **split}, "image")]


def pixels(image: Image) -> Any:
    """Return up to `LARGEST_IN_MEMORY` bytes as an array; more stay in the file."""
    import math

    import numpy as np

    size = np.dtype(image.data.dtype).itemsize * math.prod(image.shape)
    return image.data if size > LARGEST_IN_MEMORY else np.asarray(image.data[...])


def layer_axes(image: Image, axes: str) -> dict[str, tuple[Any, ...]]:
    """Return scale, units and labels of a layer's axes, `axes` of those of `image`."""
    from .io.image import SPATIAL
    from .io.units import PIXEL

    return {
        "scale": tuple(image.scale[image.axes.index(a)] for a in axes),
        "units": tuple(image.unit if a in SPATIAL else PIXEL for a in axes),
        "axis_labels": tuple(axes.lower()),
    }
