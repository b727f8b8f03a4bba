"""What the canvas shows of a layer, and how to show a place in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer

from .layers import full_array

if TYPE_CHECKING:
    import napari


def position_in(viewer: napari.viewer.Viewer, layer: Image) -> list[int]:
    """Return the voxel of `layer` at the viewer's sliders."""
    point = layer.world_to_data(viewer.dims.point[-layer.ndim :])
    sizes = full_array(layer).shape
    return [min(max(round(float(p)), 0), n - 1) for p, n in zip(point, sizes, strict=False)]


def ranges_seen(viewer: napari.viewer.Viewer, layer: Image | Labels) -> list[tuple[int, int]]:
    """Return start and stop of what the canvas shows, per dimension, at full resolution.

    In 3D that is all along the dimensions shown. Start and stop are equal where nothing is seen.
    """
    sizes = full_array(layer).shape[: layer.ndim]
    hidden = viewer.dims.ndim - layer.ndim
    corners = np.array([layer.world_to_data(c) for c in _corners(viewer)])
    low, high = np.floor(corners.min(axis=0) + 0.5), np.floor(corners.max(axis=0) + 0.5) + 1
    ranges = []
    for n, size in enumerate(sizes):
        if viewer.dims.ndisplay == 3 and n + hidden in viewer.dims.displayed:
            ranges.append((0, size))
        else:
            start, stop = (int(np.clip(x[n], 0, size)) for x in (low, high))
            ranges.append((start, stop))
    return ranges


def go_to(
    viewer: napari.viewer.Viewer, layer: Layer, voxel: Sequence[int], centre: bool = True
) -> None:
    """Move the sliders to a voxel of `layer`, and with `centre` the camera as well."""
    world = layer.data_to_world(voxel)
    dims = viewer.dims
    first = dims.ndim - layer.ndim
    dims.set_point(range(first, dims.ndim), world)
    if centre:
        shown = [world[d - first] if d >= first else 0.0 for d in dims.displayed]
        viewer.scene.camera.center = (0.0,) * (3 - len(shown)) + tuple(shown)


def _corners(viewer: napari.viewer.Viewer) -> list[np.ndarray]:
    """Return the corners of the canvas in the world."""
    camera = viewer.scene.camera
    shown = list(viewer.dims.displayed[-2:])
    reach = np.asarray(viewer.canvas.size) / camera.zoom / 2
    corners = []
    for signs in product((-1, 1), repeat=2):
        point = np.array(viewer.dims.point, float)
        point[shown] = np.asarray(camera.center)[-2:] + reach * signs
        corners.append(point)
    return corners
