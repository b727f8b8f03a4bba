"""Distances from border voxels to the nearest border voxel of the same label.

With Numba: near ones by looking at neighbours in order of their distance, all labels at
once, the rest by a distance transform of only the planes that hold such voxels. Without: a
k-d tree, or SciPy's distance transform where a tree would be slow. All give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import gamma, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import acceleration
from .surface import Border, Shape3, stacked

REACH_VOXELS = 300
MAP_VOXELS = 1 << 25
TRANSFORM_VOXELS = 1 << 27
SAMPLE = 64
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Points:
    """Border voxels in order of their index, numbered by label and frame from 1 on."""

    index: Ints
    group: NDArray[Any]

    def take(self, chosen: NDArray[np.bool_]) -> _Points:
        return _Points(self.index[chosen], self.group[chosen])


def nearest(
    queries: Border, targets: Border, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> Floats:
    """Distance from each border voxel to the nearest one of the same label.

    Parameters
    ----------
    queries, targets : Border
        Border voxels of two label images of the same `shape`.
    shape : tuple of int
        Of 1 to 3 spatial axes, after any number of frame axes; distances are taken within
        a frame.
    spacing : tuple of float
        Voxel size along every axis.

    Returns
    -------
    float64 array, shape (voxels of queries,)
        In the units of `spacing`; inf where the label is missing in `targets`.
    """
    distance = np.full(len(queries.index), np.inf)
    if not len(queries.index) or not len(targets.index):
        return distance
    box = stacked(shape)
    scale = np.array((*(1.0,) * (3 - len(spacing)), *spacing[-3:]))
    wanted, offered = _points(queries, targets, shape)
    offers = np.zeros(int(max(wanted.group.max(), offered.group.max())) + 1, bool)
    offers[offered.group] = True
    rest = offers[wanted.group]
    if acceleration.surface_kernels() is not None:
        near = _by_neighbourhood(wanted.take(rest), offered, box, scale)
        distance[rest] = near
        rest[rest] = near < 0
    if rest.any():
        distance[rest] = _by_group(wanted.take(rest), offered, box, scale)
    return distance


def _points(queries: Border, targets: Border, shape: tuple[int, ...]) -> tuple[_Points, _Points]:
    labels = np.concatenate([queries.label, targets.label]).astype(np.int64)
    number = _numbered(labels)
    if len(shape) > 3:
        frame = int(np.prod(shape[-3:], dtype=np.int64))
        frames = np.concatenate([queries.index, targets.index]) // frame
        number = _numbered(frames * (int(number.max()) + 1) + number)
    group = (number + 1).astype(np.uint8 if number.max() < 255 else np.uint32)
    count = len(queries.index)
    return _Points(queries.index, group[:count]), _Points(targets.index, group[count:])


def _numbered(values: Ints) -> Ints:
    """Number the distinct values from 0 on, in their order."""
    top = int(values.max())
    if top > 4 * len(values):
        return np.unique(values, return_inverse=True)[1].astype(np.int64)
    present = np.zeros(top + 1, np.int64)
    present[values] = 1
    numbers: Ints = (np.cumsum(present) - 1)[values]
    return numbers


def _by_neighbourhood(queries: _Points, targets: _Points, shape: Shape3, scale: Floats) -> Floats:
    """Look at neighbours in order of their distance; -1 where the list of neighbours ends.

    The targets are drawn into a map of part of the image at a time, slices along Z, which
    is wider than the image by the reach of the list, so that no step leaves it.
    """
    kernels = acceleration.surface_kernels()
    assert kernels is not None
    offsets, lengths = _neighbours(shape, scale)
    reach = offsets.max(axis=0)
    plane = shape[1] * shape[2]
    image = np.array(shape)
    box = image + 2 * reach
    depth = max(1, MAP_VOXELS // int(box[1] * box[2]) - 2 * int(reach[0]))
    found = np.empty(len(queries.index))
    end = int(queries.index[-1] // plane) + 1 if len(found) else 0
    for z in range(int(queries.index[0] // plane) if len(found) else 0, end, depth):
        stop = min(z + depth, end)
        box[0] = stop - z + 2 * reach[0]
        corner = np.array([z, 0, 0]) - reach
        marks = np.zeros(int(np.prod(box)), targets.group.dtype)
        a, b = np.searchsorted(targets.index, [corner[0] * plane, (stop + reach[0]) * plane])
        kernels.mark(targets.index[a:b], targets.group[a:b], corner, image, box, marks)
        steps = (offsets[:, 0] * box[1] + offsets[:, 1]) * box[2] + offsets[:, 2]
        a, b = np.searchsorted(queries.index, [z * plane, stop * plane])
        part = queries.index[a:b], queries.group[a:b]
        kernels.search(*part, corner, image, box, marks, steps, lengths, found[a:b])
    return found


def _neighbours(shape: Shape3, spacing: Floats) -> tuple[Ints, Floats]:
    """All offsets within a radius, nearest first, and their lengths; about `REACH_VOXELS`."""
    axes = [a for a in range(3) if shape[a] > 1]
    ball = pi ** (len(axes) / 2) / gamma(len(axes) / 2 + 1)
    size = float(np.prod([spacing[a] for a in axes]))
    radius = (REACH_VOXELS * size / ball) ** (1 / max(1, len(axes)))
    half = [min(int(radius / spacing[a]), shape[a] - 1) for a in range(3)]
    grid = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1)
    offsets = grid.reshape(-1, 3)
    lengths = np.sqrt(((offsets * spacing) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius]
    return offsets[order], lengths[order]


def _by_group(queries: _Points, targets: _Points, shape: Shape3, scale: Floats) -> Floats:
    """Take the distances group by group."""
    compiled = acceleration.far_kernels()
    search: Callable[[Ints, Ints, Floats], Floats]
    search = _tree_or_transform if compiled is None else compiled.nearest
    found = np.empty(len(queries.index))
    offered = dict(_groups(targets))
    for group, part in _groups(queries):
        places, points = (
            np.stack(np.unravel_index(index, shape), axis=1)
            for index in (queries.index[part], targets.index[offered[group]])
        )
        found[part] = search(places, points, scale)
    return found


def _groups(points: _Points) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each group and the positions of its voxels, in order."""
    order = np.argsort(points.group, kind="stable")
    starts = np.flatnonzero(np.diff(points.group[order], prepend=points.group.dtype.type(0)))
    for part in np.split(order, starts[1:]):
        yield int(points.group[part[0]]), part


def _tree_or_transform(queries: Ints, targets: Ints, scale: Floats) -> Floats:
    """Search a k-d tree; far from the targets, where that is slow, transform a whole box.

    A tree looks at the more targets the farther they are: about 1 microsecond a query if they
    are near, growing with the square of the distance in voxels. The transform takes about
    0.15 microseconds for each voxel of the box around all points.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(targets * scale)
    sample = queries[:: max(1, len(queries) // SAMPLE)] * scale
    away = float(np.mean(tree.query(sample)[0])) / float(np.prod(scale)) ** (1 / 3)
    low = np.minimum(queries.min(axis=0), targets.min(axis=0))
    box = np.maximum(queries.max(axis=0), targets.max(axis=0)) - low + 1
    voxels = int(np.prod(box))
    if voxels <= TRANSFORM_VOXELS and len(queries) * (1 + away**2 / 50) > 0.15 * voxels:
        return _transform(queries - low, targets - low, tuple(box), scale)
    _, closest = tree.query(queries * scale, workers=-1)
    distance: Floats = np.sqrt((((targets[closest] - queries) * scale) ** 2).sum(axis=1))
    return distance


def _transform(queries: Ints, targets: Ints, box: tuple[int, ...], scale: Floats) -> Floats:
    from scipy.ndimage import distance_transform_edt

    away = np.ones(box, bool)
    away[tuple(targets.T)] = False
    distance: Floats = distance_transform_edt(away, sampling=scale)[tuple(queries.T)]
    return distance
