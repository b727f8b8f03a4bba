"""NIfTI files for napari's *File > Open*, with axes and voxel size.

Where a second reader takes a format that napari claims, napari asks which to use. That is worth it
for NIfTI, which napari claims but cannot read by itself, and not for TIFF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .io import Image

LayerData = tuple[Any, dict[str, Any], str]
ENDINGS = (".nii", ".nii.gz")
LARGEST_IN_MEMORY = 1 << 30
SHOWN = (0.1, 99.8)
"""Percentiles of the intensities that are shown as black and white; outliers darken a scan."""


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
    data = pixels(image)
    shown = contrast(data) if data is not image.data and not split else {}
    return [(data, {"name": image_stem(Path(path)), **how, **split, **shown}, "image")]


def contrast(data: NDArray[Any]) -> dict[str, tuple[float, float]]:
    """Return the intensities between which an image is shown; napari's choice if they are equal."""
    import numpy as np

    step = max(1, round((data.size / 10**6) ** (1 / data.ndim)))
    some = data[(slice(None, None, step),) * data.ndim]
    if data.dtype.kind not in "iuf" or not np.isfinite(some).any():
        return {}
    low, high = np.percentile(some[np.isfinite(some)], SHOWN)
    return {"contrast_limits": (float(low), float(high))} if low < high else {}


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
