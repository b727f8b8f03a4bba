"""A volume whose Z is sampled more finely, so that slices along Y and X show cubic voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 10
"""Beyond this, slices lie too far apart to say what is between them."""


def find_stretch(axes: str, scale: Sequence[float]) -> int:
    """Return how many times as finely Z is to be sampled for about cubic voxels; at least 1.

    Parameters
    ----------
    axes : str
        Axes of an image.
    scale : sequence of float
        Size of its voxels along each of them; () if unknown.
    """
    size = dict(zip(axes, scale, strict=False))
    if not {"Z", "Y", "X"} <= set(size):
        return 1
    return max(1, min(LARGEST, round(size["Z"] / sqrt(size["Y"] * size["X"]))))


@dataclass(frozen=True)
class Stretched:
    """A view of an array with ``times - 1`` slices put in between two neighbours along an axis.

    Parameters
    ----------
    array : array-like
        What is read.
    axis : int
        Along which there are more; slice ``n`` of the array is slice ``times * n`` of the view.
    times : int
        At least 1.
    nearest : bool
        Whether slices in between are copies of the nearest one (of two as near the latter), as
        in a mask, and not interpolated linearly, to float32.
    """

    array: Any
    axis: int
    times: int
    nearest: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the view."""
        shape = [int(n) for n in self.array.shape]
        shape[self.axis] = self.times * (shape[self.axis] - 1) + 1
        return tuple(shape)

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype if self.nearest else np.dtype(np.float32)

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a region given by a slice along `axis`, and an integer or slice along the others."""
        at = np.arange(self.shape[self.axis])[key[self.axis]]
        lower, upper = at // self.times, -(-at // self.times)
        start = int(lower[0])
        read = self.array[
            (*key[: self.axis], slice(start, int(upper[-1]) + 1), *key[self.axis + 1 :])
        ]
        place = sum(isinstance(k, slice) for k in key[: self.axis])
        block = np.moveaxis(np.asarray(read), place, -1)
        lower, upper, rest = lower - start, upper - start, at % self.times
        if self.nearest:
            found = block[..., np.where(2 * rest < self.times, lower, upper)]
        else:
            found = block[..., lower].astype(np.float32)
            between = rest > 0
            share = (rest[between] / self.times).astype(np.float32)
            with np.errstate(invalid="ignore"):
                found[..., between] *= 1 - share
                found[..., between] += block[..., upper[between]] * share
        return np.moveaxis(found, -1, place)
