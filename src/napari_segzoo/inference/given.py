"""The image that a run is given, of whatever kind."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from .crop import Crop

DROPPED_ALPHA = "The fourth channel of the image is taken for its transparency and left out."


def as_array(image: Any) -> Any:
    """Return the array of an image, read when it is sliced; a PyTorch tensor becomes NumPy's.

    Raises
    ------
    InputError
        If it is no array, is empty, or does not hold real numbers.
    """
    array = getattr(image, "data", image) if hasattr(image, "axes") else image
    if type(array).__module__.partition(".")[0] == "torch" and hasattr(array, "detach"):
        narrow = array.is_floating_point() and array.element_size() < 4
        array = (array.float() if narrow else array).detach().cpu().numpy()
    if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        raise InputError(
            f"The image must be an array, an Image or the name of a file, not {array!r:.60}."
        )
    if 0 in array.shape:
        raise InputError(f"The image is empty: its shape is {tuple(array.shape)}.")
    if np.dtype(array.dtype).kind not in "buif":
        raise InputError(
            f"The image holds values of type {array.dtype}; integers or real numbers are needed."
        )
    return array


def without_alpha(array: Any, axes: str | None, in_channels: int) -> Any:
    """Leave out the transparency of 8-bit colours where a model takes three channels."""
    colors = (axes or "").upper().endswith("C") and array.shape[-1] == 4
    if in_channels != 3 or not colors or array.dtype != np.uint8:
        return array
    return Crop(array, (*((0, int(n)) for n in array.shape[:-1]), (0, 3)))
