"""NIfTI files for napari's *File > Open*, with axes and voxel size.

Where a second reader takes a format that napari claims, napari asks which to use. That is worth it
for NIfTI, which napari claims but cannot read by itself, and not for TIFF.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LayerData = tuple[Any, dict[str, Any], str]
ENDINGS = (".nii", ".nii.gz")
LARGEST_IN_MEMORY = 1 << 30


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return the function that reads `path`, or None for several files or another format."""
    known = isinstance(path, str) and path.lower().endswith(ENDINGS)
    return read_layers if known else None


def read_layers(path: str) -> list[LayerData]:
    """Return an image file as a napari layer, or as one layer per channel.

    Up to `LARGEST_IN_MEMORY` bytes are read, more stay in the file.

    Raises
    ------
    InputError
        If nibabel is not installed, or the file is damaged.
    """
    from pathlib import Path

    import numpy as np

    from .io import image_stem, open_image
    from .io.image import SPATIAL
    from .io.units import PIXEL

    image = open_image(path)
    data = image.data if image.data.nbytes > LARGEST_IN_MEMORY else np.asarray(image.data[...])
    kept = [n for n, axis in enumerate(image.axes) if axis != "C"]
    metadata: dict[str, Any] = {
        "name": image_stem(Path(path)),
        "scale": tuple(image.scale[n] for n in kept),
        "units": tuple(image.unit if image.axes[n] in SPATIAL else PIXEL for n in kept),
        "axis_labels": tuple(image.axes[n].lower() for n in kept),
    }
    if "C" in image.axes:
        metadata["channel_axis"] = image.axes.index("C")
    return [(data, metadata, "image")]
