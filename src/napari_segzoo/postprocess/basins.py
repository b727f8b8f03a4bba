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
    corner = inside + steps[0]
    best = flat[corner]
    way = np.zeros(inside.size, np.uint8)
    for n, step in enumerate(steps):
        value = flat[step - steps[0] :].take(corner)
        np.copyto(way, n, where=value > best)
        np.maximum(best, value, out=best)
    place = np.zeros(flat.size, np.intp)
    place[inside] = np.arange(inside.size)
    towards = place[inside + np.array(steps)[way]]
    while not np.array_equal(further := towards[towards], towards):
        towards = further
    tops = np.flatnonzero(towards == np.arange(inside.size))
    number = np.zeros(inside.size, np.intp)
    number[tops] = np.arange(tops.size)
    return number[towards], flat[inside[tops]]


def _passes(
    flat: NDArray[Any], inside: NDArray[np.intp], basin: NDArray[np.intp], steps: list[int]
) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return pairs of touching basins (N, 2), and the height of the highest pass of each."""
    of_voxel = np.full(flat.size, -1, np.intp)
    of_voxel[inside] = basin
    count = int(basin.max(initial=0)) + 1
    keys, heights = [], []
    for step in steps[len(steps) // 2 + 1 :]:
        other = of_voxel[inside + step]
        touching = np.flatnonzero((other >= 0) & (other != basin))
        one, two = basin[touching], other[touching]
        keys.append(np.minimum(one, two) * count + np.maximum(one, two))
        here = inside[touching]
        heights.append(np.minimum(flat[here], flat[here + step]))
    key, height = np.concatenate(keys), np.concatenate(heights)
    order = np.argsort(key)
    pairs, first = np.unique(key[order], return_index=True)
    highest = np.maximum.reduceat(height[order], first) if first.size else height
    order = np.lexsort((pairs, -highest))
    return np.stack(np.divmod(pairs[order], count), axis=1), highest[order]


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
