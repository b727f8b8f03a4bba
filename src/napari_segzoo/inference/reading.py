"""Tiles read from an image: normalised, padded, and left out where there is nothing to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import Layout
from ..errors import InputError
from ..preprocess import Intensity
from .tiling import Tile


@dataclass
class TileReader:
    """Reads tiles.

    Parameters
    ----------
    image : array-like
        Read region by region.
    layout : Layout
        The model's view of it.
    intensity : Intensity
        How it is normalised.
    skip_below : float or None
        Tiles in which no intensity reaches this are empty.
    mask : array-like or None
        See `check_mask`; tiles in which it is 0 everywhere are empty.
    unusual : bool
        Whether NaN or infinite values have been met.
    """

    image: Any
    layout: Layout
    intensity: Intensity
    skip_below: float | None = None
    mask: Any = None
    unusual: bool = False

    def read(self, leading: tuple[int, ...], tile: Tile) -> NDArray[np.float32] | None:
        """Return a tile as (C, [Z,] Y, X); None if it is empty."""
        if self.intensity.is_blank:
            return None
        inside = [
            slice(s.start, min(s.stop, n))
            for s, n in zip(tile.read, self.layout.spatial_shape, strict=True)
        ]
        if self.mask is not None and not within(self.mask, leading, inside).any():
            return None
        raw = self.layout.read(self.image, leading, inside)
        if raw.dtype.kind == "f" and not np.isfinite(raw).all():
            self.unusual = True
        if self.skip_below is not None and not (raw >= self.skip_below).any():
            return None
        block = self.intensity.apply(raw)
        missing = [s.stop - i.stop for s, i in zip(tile.read, inside, strict=True)]
        if any(missing):
            block = np.pad(block, [(0, 0), *((0, m) for m in missing)], mode="reflect")
        return block


def check_mask(mask: Any, layout: Layout) -> None:
    """Raise `InputError` if a mask does not fit an image.

    Parameters
    ----------
    mask : array-like or None
        One value per voxel of the label image, 0 outside; or one plane or volume, of the shape
        that the model sees, that holds for all others.
    layout : Layout
        The model's view of the image.
    """
    fitting = (layout.label_shape, layout.spatial_shape)
    if mask is not None and tuple(mask.shape) not in fitting:
        raise InputError(
            f"The mask has the shape {tuple(mask.shape)}, but the image has {layout.label_shape} "
            f"along {layout.label_axes}."
        )


def within(mask: Any, leading: Sequence[int], box: Sequence[slice]) -> NDArray[np.bool_]:
    """Tell for each voxel of a box whether it lies inside the mask."""
    index = (*leading, *box) if len(mask.shape) > len(box) else tuple(box)
    inside: NDArray[np.bool_] = np.asarray(mask[index]) != 0
    return inside


def stack(blocks: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """Stack the blocks that are not empty to (N, C, [Z,] Y, X); None if all are."""
    full = [b for b in blocks if b is not None]
    if not full:
        return None
    return full[0][None] if len(full) == 1 else np.stack(full)
