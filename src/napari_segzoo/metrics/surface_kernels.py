"""Compiled inner loops of the surface distances; imported only if Numba is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

U = np.uint64
GROUP = 64


def border_voxels(
    block: NDArray[Any],
    inner: tuple[slice, slice, slice],
    origin: tuple[int, int, int],
    shape: tuple[int, int, int],
    ends: list[bool],
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Find the border voxels in the inner part of a block; see `surface.border_voxels`.

    `ends` says for each axis whether the end of the image is the end of what is in it.
    """
    bounds = np.array([(s.start, s.stop) for s in inner], np.int64)
    capacity = block.size // 16 + 64
    while True:
        index, label = np.empty(capacity, np.int64), np.empty(capacity, block.dtype)
        image = np.array(origin), np.array(shape), np.array(ends)
        found = _borders(block, bounds, *image, index, label)
        if found <= capacity:
            return index[:found].copy(), label[:found].copy()
        capacity = found


@njit(nogil=True, cache=True)
def _borders(block, bounds, origin, shape, ends, index, label):  # type: ignore[no-untyped-def]
    """Write linear index and label of border voxels; return how many there are."""
    nz, ny, nx = block.shape
    found = 0
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            row = block[z, y]
            outside = (ends[0] and (z == 0 or z == nz - 1)) or (ends[1] and (y == 0 or y == ny - 1))
            above, below = block[max(z - 1, 0), y], block[min(z + 1, nz - 1), y]
            back, front = block[z, max(y - 1, 0)], block[z, min(y + 1, ny - 1)]
            start = ((z + origin[0]) * shape[1] + y + origin[1]) * shape[2] + origin[2]
            for first in range(bounds[2, 0], bounds[2, 1], GROUP):
                last = min(first + GROUP, bounds[2, 1])
                here = row[first:last]
                some = U(0)
                for k in range(here.size):
                    some |= U(here[k])
                if some == 0:
                    continue
                if not outside and first > 0 and last < nx:
                    up, down = above[first:last], below[first:last]
                    behind, ahead = back[first:last], front[first:last]
                    left, right = row[first - 1 : last - 1], row[first + 1 : last + 1]
                    changed = U(0)
                    for k in range(here.size):
                        value = here[k]
                        changed |= U(
                            (value ^ up[k])
                            | (value ^ down[k])
                            | (value ^ behind[k])
                            | (value ^ ahead[k])
                            | (value ^ left[k])
                            | (value ^ right[k])
                        )
                    if changed == 0:
                        continue
                for x in range(first, last):
                    value = row[x]
                    if value == 0:
                        continue
                    if (
                        outside
                        or (ends[2] and (x == 0 or x == nx - 1))
                        or above[x] != value
                        or below[x] != value
                        or back[x] != value
                        or front[x] != value
                        or row[max(x - 1, 0)] != value
                        or row[min(x + 1, nx - 1)] != value
                    ):
                        if found < index.size:
                            index[found] = start + x
                            label[found] = value
                        found += 1
    return found


@njit(nogil=True, cache=True)
def mark(index, group, corner, shape, inner, marks):  # type: ignore[no-untyped-def]
    """Write groups into the flat map `marks` of a box; `inner` is the box's shape."""
    for k in range(index.size):
        marks[_place(index[k], corner, shape, inner)] = group[k]


@njit(nogil=True, cache=True)
def search(index, group, corner, shape, inner, marks, steps, lengths, found):  # type: ignore[no-untyped-def]
    """Write the distance to the nearest mark of the same group; -1 if it is out of reach."""
    for k in range(index.size):
        place = _place(index[k], corner, shape, inner)
        wanted = group[k]
        found[k] = -1.0
        for n in range(steps.size):
            if marks[place + steps[n]] == wanted:
                found[k] = lengths[n]
                break


@njit(nogil=True, cache=True, inline="always")
def _place(index, corner, shape, inner):  # type: ignore[no-untyped-def]
    """Turn a linear index of the image into one of the box that begins at `corner`."""
    row = index // shape[2]
    x = index - row * shape[2] - corner[2]
    z = row // shape[1]
    y = row - z * shape[1] - corner[1]
    return ((z - corner[0]) * inner[1] + y) * inner[2] + x
