"""Weighted sums of overlapping tiles in memory that does not grow with the image's length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .tiling import Tile


class RollingSum:
    """Sum of weighted tiles over one column, one window high, moved along the first axis.

    Parameters
    ----------
    channels : int
        Channels of the tiles.
    height : int
        Height of a window.
    span : sequence of (start, stop)
        Extent along the other axes.
    device : torch.device
        Where the sum lives.
    """

    def __init__(
        self, channels: int, height: int, span: Sequence[tuple[int, int]], device: torch.device
    ) -> None:
        shape = (channels, height, *(b - a for a, b in span))
        self._sum = torch.zeros(shape, device=device)
        self._span = list(span)
        self._origin = 0
        self._full: list[list[tuple[int, int]]] = []

    def move_to(self, origin: int) -> None:
        """Let the window begin at `origin`, no further back than it is; forget what lies before."""
        shift = origin - self._origin
        keep = self._sum.shape[1] - shift
        if shift > 0 and keep > 0:
            for channel in self._sum:
                channel[:keep] = channel[shift:].clone()
        self._sum[:, max(keep, 0) :] = 0
        self._origin = origin
        self._full = [spans for spans in self._full if spans[0][1] > origin]

    def add(self, tile: Tile, scores: Tensor) -> None:
        """Add the scores (K, window shape) of one tile, weighted."""
        spans, weights = self._weights(tile)
        part = scores[_channels_and(spans, [w.start for w in tile.windows])]
        self._part(spans).addcmul_(part, weights)
        self._full.append(spans)

    def add_background(self, tile: Tile) -> None:
        """Add a tile in which class 0 is certain."""
        spans, weights = self._weights(tile)
        self._part(spans)[0] += weights

    def is_background(self, region: Sequence[slice]) -> bool:
        """Whether only tiles of certain background have been added to a region of the image."""
        return not any(
            all(a < s.stop and s.start < b for (a, b), s in zip(spans, region, strict=True))
            for spans in self._full
        )

    def _weights(self, tile: Tile) -> tuple[list[tuple[int, int]], Tensor]:
        """Return the part of the window that the tile contributes to, and its weights there."""
        limits = [(self._origin, self._origin + self._sum.shape[1]), *self._span]
        weights = torch.ones((), device=self._sum.device)
        spans = []
        for window, (first, last) in zip(tile.windows, limits, strict=True):
            lo, hi = max(window.lo, first), min(window.hi, last)
            along = torch.from_numpy(window.weights[lo - window.lo : hi - window.lo])
            weights = weights[..., None] * along.to(self._sum.device)
            spans.append((lo, hi))
        return spans, weights

    def take(self, region: Sequence[slice]) -> Tensor:
        """Return the sum (K, ...) over a region in the coordinates of the image."""
        return self._part([(s.start, s.stop) for s in region])

    def _part(self, spans: Sequence[tuple[int, int]]) -> Tensor:
        return self._sum[_channels_and(spans, [self._origin, *(a for a, _ in self._span)])]


def _channels_and(spans: Sequence[tuple[int, int]], origin: Sequence[int]) -> tuple[slice, ...]:
    """Index all channels and `spans`, counted from `origin`."""
    return (slice(None), *(slice(a - o, b - o) for (a, b), o in zip(spans, origin, strict=True)))
