"""From class maps to single objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SPECK = 0.1


def separate_objects(classes: NDArray[Any], task: str) -> NDArray[np.uint32]:
    """Number the objects of a class map.

    Parameters
    ----------
    classes : ndarray of int, any shape
        For the task "semantic", any class above 0 is foreground; for "instances", 1 is the
        interior and 2 the border of objects.
    task : {"semantic", "instances"}
        "semantic": touching objects of one class are cut at their necks, by a watershed on
        the distance to the background (Vincent & Soille 1991). "instances": the distance is
        weighted by how much interior there is around a voxel, so that borders cut objects as
        well; objects below a tenth of the median size are dropped.

    Returns
    -------
    ndarray of uint32
        0 is the background, objects are 1, 2, ... without gaps.
    """
    if task == "instances":
        return _cut_at_borders(classes)
    result = np.zeros(classes.shape, np.uint32)
    for value in np.unique(classes[classes > 0]):
        objects = _cut_at_necks(classes == value)
        result[objects > 0] = objects[objects > 0] + result.max()
    return result


def _cut_at_necks(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    from scipy import ndimage as ndi

    depth = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1.0) * mask
    objects = _flood(depth, max(0.75, 0.05 * float(depth.max())), mask)
    rest, _ = ndi.label(mask & (objects == 0))
    return np.where(rest > 0, rest + objects.max(), objects).astype(np.uint32)


def _cut_at_borders(classes: NDArray[Any]) -> NDArray[np.uint32]:
    from scipy import ndimage as ndi

    mask = classes > 0
    inside = ndi.gaussian_filter((classes == 1).astype(np.float32), 1.5)
    depth = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1.0) * inside * mask
    return _without_specks(_flood(depth, 0.5, mask))


def _flood(depth: NDArray[Any], least: float, mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Grow one object around each top of `depth` that stands out by `least`."""
    from scipy import ndimage as ndi
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    tops = h_maxima(depth, least).astype(bool) & mask
    markers, _ = ndi.label(tops, structure=np.ones((3,) * mask.ndim))
    objects: NDArray[np.uint32] = watershed(-depth, markers, mask=mask).astype(np.uint32)
    return objects


def _without_specks(objects: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Drop objects smaller than `SPECK` of the median object, and number the others anew."""
    sizes = np.bincount(objects.ravel())
    if sizes.size < 2:
        return objects
    kept = sizes >= SPECK * np.median(sizes[1:])
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.uint32)
    return numbers[objects]
