"""Compiled search for surfaces far apart; imported only if Numba is there.

The separable distance transform (Felzenszwalb and Huttenlocher, Theory of Computing 2012),
but taken only in the X planes that hold a query and never stored for a whole volume.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def nearest(
    queries: NDArray[np.int64], targets: NDArray[np.int64], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from each query to the nearest target.

    Parameters
    ----------
    queries, targets : int64 array, shape (points, 3)
        Voxels (z, y, x); `targets` in C order and not empty.
    spacing : float64 array, shape (3,)
        Voxel size.
    """
    order = np.argsort(queries[:, 2], kind="stable")
    new_row = np.ones(len(targets), bool)
    new_row[1:] = (targets[1:, :2] != targets[:-1, :2]).any(axis=1)
    rows = np.flatnonzero(new_row)
    row_z, row_y = targets[rows, 0], targets[rows, 1]
    slices = np.flatnonzero(np.diff(row_z, prepend=row_z[0] - 1))
    found = np.empty(len(queries))
    found[order] = _nearest(
        np.ascontiguousarray(queries[order]),
        np.ascontiguousarray(targets[:, 2]),
        np.append(rows, len(targets)),
        row_y,
        np.append(slices, len(rows)),
        row_z[slices],
        spacing,
    )
    return found


@njit(nogil=True, cache=True)
def _nearest(queries, target_x, rows, row_y, slices, slice_z, spacing):  # type: ignore[no-untyped-def]
    """Work through the queries, which are in order of x, one X plane at a time."""
    found = np.empty(len(queries))
    at = rows[:-1].copy()
    first = 0
    while first < len(queries):
        x = queries[first, 2]
        last = first
        while last < len(queries) and queries[last, 2] == x:
            last += 1
        low, high = queries[first:last, 1].min(), queries[first:last, 1].max()
        plane = np.empty((len(slice_z), high - low + 1))
        for s in range(len(slice_z)):
            _slice(x, target_x, rows, at, row_y, slices[s], slices[s + 1], spacing, low, plane[s])
        for q in range(first, last):
            found[q] = _across(queries[q, 0], plane[:, queries[q, 1] - low], slice_z, spacing[0])
        first = last
    return found


@njit(nogil=True, cache=True)
def _slice(x, target_x, rows, at, row_y, first, last, spacing, low, out):  # type: ignore[no-untyped-def]
    """Write squared distances within one Z slice, at column `x`, from row `low` on.

    ``at[row]`` remembers the target nearest to `x` in each row; it only moves on with x.
    """
    height = np.empty(last - first)
    centre = np.empty(last - first)
    begin = np.empty(last - first)
    top = -1
    for row in range(first, last):
        k = at[row]
        while k + 1 < rows[row + 1] and abs(target_x[k + 1] - x) <= abs(target_x[k] - x):
            k += 1
        at[row] = k
        h = (spacing[2] * (target_x[k] - x)) ** 2
        y = spacing[1] * row_y[row]
        start = -np.inf
        while top >= 0:
            start = ((h + y * y) - (height[top] + centre[top] ** 2)) / (2 * (y - centre[top]))
            if start > begin[top]:
                break
            top -= 1
        top += 1
        height[top], centre[top] = h, y
        begin[top] = start if top > 0 else -np.inf
    k = 0
    for n in range(len(out)):
        y = spacing[1] * (low + n)
        while k < top and begin[k + 1] <= y:
            k += 1
        out[n] = height[k] + (y - centre[k]) ** 2


@njit(nogil=True, cache=True)
def _across(z, within, slice_z, depth):  # type: ignore[no-untyped-def]
    """Smallest distance over the slices, from `z` outwards until they are too far away."""
    best = np.inf
    up = np.searchsorted(slice_z, z)
    down = up - 1
    while up < len(slice_z):
        off = (depth * (slice_z[up] - z)) ** 2
        if off >= best:
            break
        best = min(best, off + within[up])
        up += 1
    while down >= 0:
        off = (depth * (slice_z[down] - z)) ** 2
        if off >= best:
            break
        best = min(best, off + within[down])
        down -= 1
    return np.sqrt(best)
