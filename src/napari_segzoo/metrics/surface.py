"""Border voxels of labels and the distances between them, in physical units."""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import acceleration

REACH_VOXELS = 700
MAP_VOXELS = 1 << 25
Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class Border:
    """Voxels of labels above 0 that have a face neighbour with another label.

    The outside of the image counts as another label, except along axes with one index only.

    Parameters
    ----------
    index : int64 array, shape (voxels,)
        Index into the flattened (C order) label image.
    label : integer array, shape (voxels,)
        Label of each voxel.
    """

    index: NDArray[np.int64]
    label: NDArray[Any]

    def take(self, chosen: NDArray[Any]) -> Border:
        return Border(self.index[chosen], self.label[chosen])


def join(parts: list[Border]) -> Border:
    """Put the border voxels of separate blocks together, in order of their index."""
    index = np.concatenate([p.index for p in parts])
    label = np.concatenate([p.label for p in parts])
    if (index[1:] < index[:-1]).any():
        order = np.argsort(index)
        index, label = index[order], label[order]
    return Border(index, label)


def stacked(shape: tuple[int, ...]) -> Shape3:
    """Return the (Z, Y, X) shape in which an image of any number of axes is looked at.

    Leading axes of more than three are frames, laid after one another along Z.
    """
    full = (1,) * max(0, 3 - len(shape)) + shape
    return int(np.prod(full[:-2], dtype=np.int64)), full[-2], full[-1]


def border_voxels(
    block: NDArray[Any], inner: tuple[slice, slice, slice], origin: Shape3, shape: Shape3
) -> Border:
    """Find the border voxels in the inner part of a block.

    Parameters
    ----------
    block : uint16 or uint64 array, shape (Z, Y, X)
        Labels, with one more voxel around `inner` wherever the image goes on.
    inner : tuple of slice
        The part of the block to look at.
    origin : tuple of int
        Place in the image (frames along Z) of the block's first voxel.
    shape : tuple of int
        Shape of the image; its Z is that of one frame only as far as `block` is concerned.
    """
    kernels = acceleration.surface_kernels()
    if kernels is not None:
        return Border(*kernels.border_voxels(block, inner, origin, shape))
    edge = np.zeros(block.shape, bool)
    for axis in range(3):
        if shape[axis] == 1:
            continue
        labels, borders = np.moveaxis(block, axis, 0), np.moveaxis(edge, axis, 0)
        differ = labels[1:] != labels[:-1]
        borders[1:] |= differ
        borders[:-1] |= differ
        borders[[0, -1]] = True
    edge &= block != 0
    where = np.nonzero(edge[inner])
    z, y, x = (w + s.start + o for w, s, o in zip(where, inner, origin, strict=True))
    return Border((z * shape[1] + y) * shape[2] + x, block[inner][where])


def nearest(
    queries: Border, targets: Border, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> NDArray[np.float64]:
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
    box = stacked(shape)
    distance = np.full(len(queries.index), np.inf)
    if not len(queries.index) or not len(targets.index):
        return distance
    frame = int(np.prod(shape[-3:], dtype=np.int64))
    wanted, offered = _groups(queries, targets, frame)
    steps = (*(1.0,) * max(0, 3 - len(spacing)), *spacing[-3:])
    open_ = np.isin(wanted, np.unique(offered))
    if acceleration.surface_kernels() is not None:
        near = _nearest_by_neighbourhood(
            queries.index[open_], wanted[open_], targets.index, offered, box, steps
        )
        distance[open_] = near
        open_[open_] = near < 0
    if open_.any():
        distance[open_] = _nearest_by_tree(
            queries.index[open_], wanted[open_], targets.index, offered, box, steps
        )
    return distance


def _groups(
    queries: Border, targets: Border, frame: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Number the combinations of frame and label from 1 on."""
    labels = np.concatenate([queries.label, targets.label]).astype(np.int64)
    _, number = np.unique(labels, return_inverse=True)
    frames = np.concatenate([queries.index, targets.index]) // frame
    if frames.max() > frames.min():
        _, number = np.unique(frames * (number.max() + 1) + number, return_inverse=True)
    groups = (number + 1).astype(np.uint32)
    return groups[: len(queries.index)], groups[len(queries.index) :]


def _nearest_by_neighbourhood(
    queries: NDArray[np.int64],
    wanted: NDArray[np.uint32],
    targets: NDArray[np.int64],
    offered: NDArray[np.uint32],
    shape: Shape3,
    spacing: tuple[float, ...],
) -> NDArray[np.float64]:
    """Look at neighbours in order of their distance; -1 where the list of neighbours ends."""
    kernels = acceleration.surface_kernels()
    assert kernels is not None
    offsets, lengths = _neighbours(shape, spacing)
    reach = offsets.max(axis=0)
    plane = shape[1] * shape[2]
    box = np.array([0, shape[1], shape[2]]) + 2 * reach
    depth = max(1, MAP_VOXELS // int(box[1] * box[2]) - 2 * int(reach[0]))
    found = np.empty(len(queries))
    first, last = int(queries[0] // plane), int(queries[-1] // plane) + 1
    for z in range(first, last, depth):
        stop = min(z + depth, last)
        box[0] = stop - z + 2 * reach[0]
        marks = np.zeros(int(np.prod(box)), np.uint32)
        corner = np.array([z, 0, 0]) - reach
        near = slice(*np.searchsorted(targets, [(z - reach[0]) * plane, (stop + reach[0]) * plane]))
        kernels.mark(targets[near], offered[near], corner, np.array(shape), box, marks)
        steps = (offsets[:, 0] * box[1] + offsets[:, 1]) * box[2] + offsets[:, 2]
        a, b = np.searchsorted(queries, [z * plane, stop * plane])
        kernels.search(
            queries[a:b], wanted[a:b], corner, np.array(shape), box, marks, steps, lengths,
            found[a:b],
        )  # fmt: skip
    return found


def _neighbours(
    shape: Shape3, spacing: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All offsets within a radius, nearest first, and their lengths; about `REACH_VOXELS`."""
    axes = [a for a in range(3) if shape[a] > 1]
    ball = pi ** (len(axes) / 2) / gamma(len(axes) / 2 + 1)
    size = float(np.prod([spacing[a] for a in axes]))
    radius = (REACH_VOXELS * size / ball) ** (1 / max(1, len(axes)))
    half = [min(int(radius / spacing[a]), shape[a] - 1) for a in range(3)]
    grid = np.stack(np.meshgrid(*(np.arange(-h, h + 1) for h in half), indexing="ij"), axis=-1)
    offsets = grid.reshape(-1, 3)
    lengths = np.sqrt(((offsets * np.array(spacing)) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius]
    return offsets[order], lengths[order]


def _nearest_by_tree(
    queries: NDArray[np.int64],
    wanted: NDArray[np.uint32],
    targets: NDArray[np.int64],
    offered: NDArray[np.uint32],
    shape: Shape3,
    spacing: tuple[float, ...],
) -> NDArray[np.float64]:
    """Search a k-d tree per group; for surfaces far apart, and without Numba."""
    from scipy.spatial import cKDTree

    found = np.empty(len(queries))
    scale = np.array(spacing)
    by_group = np.argsort(offered, kind="stable")
    starts = np.searchsorted(offered[by_group], np.arange(1, int(wanted.max()) + 2))
    order = np.argsort(wanted, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(wanted[order])) + 1):
        group = int(wanted[part[0]]) - 1
        chosen = targets[by_group[starts[group] : starts[group + 1]]]
        points, places = (
            np.stack(np.unravel_index(v, shape), axis=1) * scale for v in (chosen, queries[part])
        )
        found[part] = cKDTree(points).query(places, workers=-1)[0]
    return found
