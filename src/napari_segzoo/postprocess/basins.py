"""Basins of a landscape: which top each voxel climbs to, and which tops belong together."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray


def find_basins(height: NDArray[Any], least: float, share: float = 0.0) -> NDArray[np.int32]:
    """Give every voxel above 0 the number of the top that it belongs to.

    Each voxel climbs to its highest neighbour, diagonal ones included, until there is none
    (among equal ones, to the first in the order of memory). Of two basins that touch, the one
    with the lower top is joined to the other if its top rises less than `least`, or less than
    `share` of its height, above the highest pass between them, the highest passes first. This is
    the watershed of the tops with that much dynamics (Grimaud 1992, Proc SPIE 1769:292). It depends
    on nothing but the connected voxels above 0.

    Parameters
    ----------
    height : ndarray of float, any shape
        0 or less where there is nothing.
    least : float
        Least rise of a top, in the unit of `height`.
    share : float
        Least rise as a share of the top's height, in [0, 1).

    Returns
    -------
    ndarray of int32, the shape of `height`
        0 where there is nothing, and 1, 2, ... in the order of the tops in memory.
    """
    padded = np.pad(height, 1)
    flat = padded.ravel()
    inside = np.flatnonzero(flat > 0)
    steps = _steps(padded.shape)
    basin, tops = _climb(flat, inside, steps)
    number = _join(*_passes(flat, inside, basin, steps), tops, least, share)
    result = np.zeros(flat.size, np.int32)
    result[inside] = number[basin] + 1
    return result.reshape(padded.shape)[(slice(1, -1),) * height.ndim]


def _steps(shape: tuple[int, ...]) -> list[int]:
    """Distances in memory to all neighbours, in ascending order."""
    strides = [prod(shape[n + 1 :]) for n in range(len(shape))]
    offsets = product((-1, 0, 1), repeat=len(shape))
    return [sum(o * s for o, s in zip(offset, strides, strict=True)) for offset in offsets]


def _climb(
    flat: NDArray[Any], inside: NDArray[np.intp], steps: list[int]
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the basin of each voxel `inside`, and the heights of the basins' tops."""
    best = flat[inside]
    target = inside.copy()
    for step in steps:
        neighbour = inside + step
        value = flat[neighbour]
        better = (value > best) | ((value == best) & (neighbour < target))
        best[better] = value[better]
        target[better] = neighbour[better]
    place = np.zeros(flat.size, np.intp)
    place[inside] = np.arange(inside.size)
    towards = place[target]
    while not np.array_equal(further := towards[towards], towards):
        towards = further
    tops, basin = np.unique(towards, return_inverse=True)
    return basin, flat[inside[tops]]


def _passes(
    flat: NDArray[Any], inside: NDArray[np.intp], basin: NDArray[np.intp], steps: list[int]
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return pairs of touching basins (N, 2), and the height of the highest pass of each."""
    of_voxel = np.full(flat.size, -1, np.intp)
    of_voxel[inside] = basin
    pairs, heights = [np.empty((0, 2), np.intp)], [np.empty(0, flat.dtype)]
    for step in steps[len(steps) // 2 + 1 :]:
        other = of_voxel[inside + step]
        touching = (other >= 0) & (other != basin)
        pairs.append(np.stack([basin[touching], other[touching]], axis=1))
        here = inside[touching]
        heights.append(np.minimum(flat[here], flat[here + step]))
    pair, height = np.sort(np.concatenate(pairs), axis=1), np.concatenate(heights)
    order = np.lexsort((pair[:, 1], pair[:, 0], -height))
    _, first = np.unique(pair[order], axis=0, return_index=True)
    highest = order[np.sort(first)]
    return pair[highest], height[highest]


def _join(
    pairs: NDArray[np.intp],
    heights: NDArray[Any],
    tops: NDArray[Any],
    least: float,
    share: float,
) -> NDArray[np.intp]:
    """Return the number of the object that each basin belongs to; `heights` must fall."""
    parent = list(range(tops.size))
    height = tops.tolist()

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for (a, b), saddle in zip(pairs.tolist(), heights.tolist(), strict=True):
        high, low = root(a), root(b)
        if height[high] < height[low]:
            high, low = low, high
        if high != low and height[low] - saddle < max(least, share * height[low]):
            parent[low] = high
    roots = [root(n) for n in range(tops.size)]
    return np.unique(roots, return_inverse=True)[1].astype(np.intp)
