"""Compiled inner loops of the surface distances; imported only if Numba is there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

U = np.uint64


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
    nz, ny = block.shape[:2]
    x0, x1 = bounds[2]
    edge = np.zeros((x1 - x0 + 7) // 8 * 8, block.dtype)
    words = edge.view(U)
    per_word = edge.size // words.size
    found = 0
    for z in range(bounds[0, 0], bounds[0, 1]):
        for y in range(bounds[1, 0], bounds[1, 1]):
            row = block[z, y]
            if _empty(row[x0:x1]):
                continue
            if (ends[0] and (z == 0 or z == nz - 1)) or (ends[1] and (y == 0 or y == ny - 1)):
                edge[: x1 - x0] = row[x0:x1]
            else:
                above, below = block[max(z - 1, 0), y], block[min(z + 1, nz - 1), y]
                back, front = block[z, max(y - 1, 0)], block[z, min(y + 1, ny - 1)]
                _mark_changes(row, above, below, back, front, x0, x1, ends[2], edge)
            start = ((z + origin[0]) * shape[1] + y + origin[1]) * shape[2] + origin[2] + x0
            for w in range(words.size):
                if words[w] == 0:
                    continue
                for k in range(w * per_word, (w + 1) * per_word):
                    if edge[k] != 0:
                        if found < index.size:
                            index[found] = start + k
                            label[found] = row[x0 + k]
                        found += 1
    return found


@njit(nogil=True, cache=True, inline="always")
def _empty(row):  # type: ignore[no-untyped-def]
    bits = row[0]
    for k in range(row.size):
        bits |= row[k]
    return bits == 0


@njit(nogil=True, cache=True, inline="always")
def _mark_changes(row, above, below, back, front, x0, x1, end, edge):  # type: ignore[no-untyped-def]
    """Make `edge` non-zero where a row, from x0 to x1, has a label and a neighbour another."""
    first, last = max(x0, 1), max(1, min(x1, row.size - 1))
    here, out = row[first:last], edge[first - x0 : last - x0]
    up, down, behind, ahead = (
        above[first:last],
        below[first:last],
        back[first:last],
        front[first:last],
    )
    left, right = row[first - 1 : last - 1], row[first + 1 : last + 1]
    for k in range(out.size):
        value = here[k]
        change = (value ^ up[k]) | (value ^ down[k]) | (value ^ behind[k])
        change |= (value ^ ahead[k]) | (value ^ left[k]) | (value ^ right[k])
        out[k] = change if value != 0 else 0
    for x in (x0, x1 - 1):
        if x == 0 or x == row.size - 1:
            value = row[x]
            change = (value ^ above[x]) | (value ^ below[x])
            change |= (value ^ back[x]) | (value ^ front[x])
            change |= (value ^ row[max(x - 1, 0)]) | (value ^ row[min(x + 1, row.size - 1)])
            edge[x - x0] = value if end or change != 0 else 0


@njit(nogil=True, cache=True)
def mark(index, group, corner, shape, inner, marks):  # type: ignore[no-untyped-def]
    """Write groups into the flat map `marks` of a box; `inner` is the box's shape.

    `index` is in order, so that the place of its row is worked out once a row.
    """
    end = shift = 0
    for k in range(index.size):
        if index[k] >= end:
            end, shift = _row(index[k], corner, shape, inner)
        marks[index[k] + shift] = group[k]


@njit(nogil=True, cache=True)
def search(index, group, corner, shape, inner, marks, steps, lengths, found):  # type: ignore[no-untyped-def]
    """Write the distance to the nearest mark of the same group; -1 if it is out of reach."""
    end = shift = 0
    for k in range(index.size):
        if index[k] >= end:
            end, shift = _row(index[k], corner, shape, inner)
        place = index[k] + shift
        wanted = group[k]
        found[k] = -1.0
        for n in range(steps.size):
            if marks[place + steps[n]] == wanted:
                found[k] = lengths[n]
                break


@njit(nogil=True, cache=True, inline="always")
def _row(index, corner, shape, inner):  # type: ignore[no-untyped-def]
    """Return where the row of a linear index ends, and how far indices in it lie from the box's.

    The box begins at `corner` of the image of `shape` and has the shape `inner`.
    """
    row = index // shape[2]
    z = row // shape[1]
    y = row - z * shape[1]
    start = row * shape[2]
    place = ((z - corner[0]) * inner[1] + y - corner[1]) * inner[2] - corner[2]
    return start + shape[2], place - start
