"""Tile geometry: integers only, any number of dimensions.

Along one axis, windows of one size overlap; all starts are multiples of the network's
divisor, so that pooling falls on the same voxels in every window::

    window 0  |----------------|
    window 1             |----------------|
    window 2                        |----------------|
    written   [ 0 to cut ) [ cut to cut ) [ cut to end )     blend="exact"
    written   [ 0 ........ overlapping, weighted ... end )   blend="gaussian"

A window contributes to ``[lo, hi)`` with weights that sum to one over all windows, at each
voxel. As the weights are products over the axes, the same holds in any number of dimensions.
Walked in raster order, a tile completes the voxels from its own `lo` to the next window's
`lo` along every axis: no later tile reaches them. These boxes fill the image exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

BLENDS = ("gaussian", "exact")


@dataclass(frozen=True, eq=False)
class Window:
    """One window along one axis.

    Parameters
    ----------
    start, stop : int
        What the network reads.
    lo, hi : int
        What the window contributes to, within ``[start, stop)``.
    done : int
        Voxels ``[lo, done)`` are complete once this window has been added.
    weights : ndarray of float32, shape (hi - lo,)
        Share of this window in each voxel.
    """

    start: int
    stop: int
    lo: int
    hi: int
    done: int
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """One window per axis."""

    windows: tuple[Window, ...]

    @property
    def read(self) -> tuple[slice, ...]:
        """Region of the padded image that the network sees."""
        return tuple(slice(w.start, w.stop) for w in self.windows)

    @property
    def complete(self) -> tuple[slice, ...]:
        """Region that no later tile changes."""
        return tuple(slice(w.lo, w.done) for w in self.windows)


def round_up(n: float, multiple: int) -> int:
    """Round up to a multiple."""
    return ceil(n / multiple) * multiple


def make_windows(size: int, tile: int, overlap: int, divisor: int, blend: str) -> list[Window]:
    """Cover ``[0, size)`` with windows.

    Parameters
    ----------
    size : int
        Extent, at least 1.
    tile, overlap : int
        Size of a window and the least that neighbours share; multiples of `divisor`, and
        ``overlap < tile``. A tile larger than the extent is cut to it, rounded up.
    divisor : int
        All starts are multiples of it; the last window may end beyond `size`.
    blend : {"gaussian", "exact"}
        Weights: Gaussian with a standard deviation of an eighth of the tile, or each voxel
        from the one window it lies deepest in.
    """
    padded = round_up(size, divisor)
    tile = min(tile, padded)
    count = 1 if tile >= padded else ceil((padded - overlap) / (tile - overlap))
    last = padded - tile
    starts = [i * last // max(count - 1, 1) // divisor * divisor for i in range(count)]
    if blend == "exact":
        cuts = [0, *((a + tile + b) // 2 for a, b in pairwise(starts)), size]
        spans = [(cuts[i], min(cuts[i + 1], size)) for i in range(count)]
        weights = [np.ones(hi - lo, np.float32) for lo, hi in spans]
    else:
        spans = [(s, min(s + tile, size)) for s in starts]
        weights = _gaussian_shares(spans, tile, size)
    done = [lo for lo, _ in spans[1:]] + [size]
    return [
        Window(s, s + tile, lo, hi, d, w)
        for s, (lo, hi), d, w in zip(starts, spans, done, weights, strict=True)
    ]


def _gaussian_shares(
    spans: Sequence[tuple[int, int]], tile: int, size: int
) -> list[NDArray[np.float32]]:
    offsets = (np.arange(tile) - (tile - 1) / 2) / (tile / 8)
    profile = np.maximum(np.exp(-(offsets**2) / 2), 1e-3)
    total = np.zeros(size)
    for lo, hi in spans:
        total[lo:hi] += profile[: hi - lo]
    return [(profile[: hi - lo] / total[lo:hi]).astype(np.float32) for lo, hi in spans]


@dataclass(frozen=True)
class Tiling:
    """Windows along every axis, and the order in which tiles are walked.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image.
    tile, overlap : tuple of int
        Per axis, multiples of the divisor.
    divisor : tuple of int
        Per axis.
    blend : {"gaussian", "exact"}
        See `make_windows`.
    box : tuple of (start, stop), optional
        Part of the image, per axis, that is wanted: only windows that reach into it are walked.
        They are those of the whole image, and so is the result within the box.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    overlap: tuple[int, ...]
    divisor: tuple[int, ...]
    blend: str = "gaussian"
    box: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if self.blend not in BLENDS:
            raise InputError(f"blend must be gaussian or exact, not {self.blend!r}.")
        for t, o, d in zip(self.tile, self.overlap, self.divisor, strict=True):
            if t < 1 or t % d or o < 0 or o % d or o >= t:
                raise InputError(
                    f"Tile {self.tile} and overlap {self.overlap} must be multiples of "
                    f"{self.divisor}, and the overlap smaller than the tile."
                )

    @property
    def window_shape(self) -> tuple[int, ...]:
        """Shape that the network sees, the same for every tile."""
        return tuple(
            min(t, round_up(n, d))
            for t, n, d in zip(self.tile, self.shape, self.divisor, strict=True)
        )

    def windows(self) -> list[list[Window]]:
        """Windows along each axis."""
        axes = [
            make_windows(n, t, o, d, self.blend)
            for n, t, o, d in zip(self.shape, self.tile, self.overlap, self.divisor, strict=True)
        ]
        return [
            [w for w in windows if w.lo < stop and w.hi > start]
            for windows, (start, stop) in zip(axes, self.wanted, strict=True)
        ]

    @property
    def wanted(self) -> tuple[tuple[int, int], ...]:
        """Start and stop of what is wanted along each axis: `box`, or all."""
        return self.box or tuple((0, n) for n in self.shape)

    def clip(self, region: Sequence[slice]) -> tuple[slice, ...] | None:
        """Return the part of a region that is wanted, None if there is none."""
        ends = [
            (max(r.start, start), min(r.stop, stop))
            for r, (start, stop) in zip(region, self.wanted, strict=True)
        ]
        return tuple(slice(a, b) for a, b in ends) if all(a < b for a, b in ends) else None

    def layers(self) -> Iterator[list[Tile]]:
        """Yield the tiles of one window of the first axis at a time, in raster order."""
        first, *rest = self.windows()
        for window in first:
            yield [Tile((window, *others)) for others in product(*rest)]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return int(np.prod([len(w) for w in self.windows()]))
