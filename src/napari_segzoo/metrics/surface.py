"""Border voxels of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import acceleration

Shape3 = tuple[int, int, int]


@dataclass(frozen=True)
class Border:
    """Voxels of labels above 0 that have a face neighbour with another label.

    The outside of the image counts as another label, except along axes with one index only
    (so a slice has a border line, not only border voxels).

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
    block : uint8, uint16 or uint64 array, shape (Z, Y, X)
        Labels, with one more voxel around `inner` wherever the image goes on.
    inner : tuple of slice
        The part of the block to look at.
    origin : tuple of int
        Place in the image (frames along Z) of the block's first voxel.
    shape : tuple of int
        Shape of the image; its Z is that of one frame only as far as `block` is concerned.
    """
    ends = [n > 1 or max(shape) == 1 for n in shape]
    kernels = acceleration.surface_kernels()
    if kernels is not None:
        return Border(*kernels.border_voxels(block, inner, origin, shape, ends))
    edge = np.zeros(block.shape, bool)
    for axis in range(3):
        if not ends[axis]:
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
