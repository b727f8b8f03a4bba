"""From class maps to single objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def separate_objects(classes: NDArray[Any], task: str) -> NDArray[np.uint32]:
    """Number the objects of a class map.

    Parameters
    ----------
    classes : ndarray of int, any shape
        For the task "semantic", any class above 0 is foreground; for "instances", 1 is the
        interior and 2 the border of objects.
    task : {"semantic", "instances"}
        "semantic": touching objects of one class are cut at their necks, by a watershed on
        the distance to the background (Vincent & Soille 1991). "instances": each connected
        interior is one object and grows into the border around it; a border without any
        interior is an object of its own.

    Returns
    -------
    ndarray of uint32
        0 is the background, objects are 1, 2, ... without gaps.
    """
    if task == "instances":
        return _grow_interiors(classes)
    result = np.zeros(classes.shape, np.uint32)
    for value in np.unique(classes[classes > 0]):
        objects = _cut_at_necks(classes == value)
        result[objects > 0] = objects[objects > 0] + result.max()
    return result


def _cut_at_necks(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    from scipy import ndimage as ndi
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    depth = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1.0) * mask
    tops = h_maxima(depth, max(0.75, 0.05 * float(depth.max())))
    markers, _ = ndi.label(tops & mask, structure=np.ones((3,) * mask.ndim))
    objects = watershed(-depth, markers, mask=mask)
    return _with_unmarked(objects, mask)


def _grow_interiors(classes: NDArray[Any]) -> NDArray[np.uint32]:
    from scipy import ndimage as ndi
    from skimage.segmentation import watershed

    interior = classes == 1
    markers, _ = ndi.label(interior)
    away = ndi.distance_transform_edt(~interior)
    return _with_unmarked(watershed(away, markers, mask=classes > 0), classes > 0)


def _with_unmarked(objects: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Add connected parts of the mask that no marker reached, as objects of their own."""
    from scipy import ndimage as ndi

    rest, _ = ndi.label(mask & (objects == 0))
    return np.where(rest > 0, rest + objects.max(), objects).astype(np.uint32)
