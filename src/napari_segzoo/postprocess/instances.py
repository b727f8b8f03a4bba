"""From a class map that fits into memory to single objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .basins import find_basins

LEAST_RISE = 0.75
"""Voxels of depth by which an object has to rise above the pass to its neighbour."""
SMALL = 0.1
"""Objects of the task "instances" below this share of the median size are dropped at the end."""
SPECK = 3
"""Voxels a side below which an object does not count for the median, if there are larger ones."""


def find_objects(classes: NDArray[Any], task: str) -> NDArray[np.int32]:
    """Number the objects of a class map.

    What is further than a few voxels from a connected piece of foreground has no influence on
    how that piece is cut.

    Parameters
    ----------
    classes : ndarray of int, 2D or 3D
        For the task "semantic", any class above 0 is foreground; for "instances", 1 is the
        interior and 2 the border of objects.
    task : {"semantic", "instances"}
        "semantic": touching objects of one class are cut at their necks, where the distance to
        the background has a pass. "instances": the distance is weighted by how much interior
        there is around a voxel, so that borders cut objects as well.

    Returns
    -------
    ndarray of int32
        0 is the background, objects are 1, 2, ... without gaps.
    """
    if task == "instances":
        return _cut_at_borders(classes)
    result = np.zeros(classes.shape, np.int32)
    for value in np.unique(classes[classes > 0]):
        objects = _cut_at_necks(classes == value)
        result[objects > 0] = objects[objects > 0] + result.max()
    return result


def _cut_at_necks(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    return find_basins(_depth(mask), least=LEAST_RISE, share=0.05)


def _cut_at_borders(classes: NDArray[Any]) -> NDArray[np.int32]:
    from scipy import ndimage as ndi

    inside = ndi.gaussian_filter((classes == 1).astype(np.float32), 1.5)
    return find_basins(_depth(classes > 0) * inside, least=LEAST_RISE)


def _depth(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the background, smoothed over a voxel."""
    from scipy import ndimage as ndi

    if mask.all():
        return mask.astype(np.float32)
    distance = ndi.distance_transform_edt(mask).astype(np.float32)
    depth: NDArray[np.float32] = ndi.gaussian_filter(distance, 1.0) * mask
    return depth
