"""Weighted sums of overlapping tiles in memory that does not grow with the image's length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from .tiling import Tile, Tiling, Window


@dataclass(frozen=True)
class Column:
    """A part of the image's cross-section, as long as the image along its first axis.

    Parameters
    ----------
    own : tuple of tuple of Window
        Per axis but the first, the windows whose voxels this column completes.
    before : tuple of tuple of Window
        Per axis, earlier windows that reach into them; computed again here, so that the
        result does not depend on how the cross-section is cut.
    """

    own: tuple[tuple[Window, ...], ...]
    before: tuple[tuple[Window, ...], ...]

    @property
    def span(self) -> tuple[tuple[int, int], ...]:
        """Start and stop along each axis but the first."""
        return tuple((w[0].lo, max(v.hi for v in w)) for w in self.own)

    def tiles(self, first: Window) -> Iterator[tuple[Tile, bool]]:
        """Yield the tiles at one window of the first axis, and whether each is the column's own."""
        choices = [
            [(w, False) for w in before] + [(w, True) for w in own]
            for before, own in zip(self.before, self.own, strict=True)
        ]
        for chosen in product(*choices):
            yield Tile((first, *(w for w, _ in chosen))), all(own for _, own in chosen)

    def __len__(self) -> int:
        """Return the number of tiles per window of the first axis."""
        n = 1
        for own, before in zip(self.own, self.before, strict=True):
            n *= len(own) + len(before)
        return n


def cut_columns(tiling: Tiling, max_voxels: int) -> list[Column]:
    """Cut the cross-section so that a column, one tile high, holds `max_voxels` or fewer.

    A column is at least one tile wide along each axis, whatever `max_voxels` says.
    """
    height, *_ = tiling.window_shape
    axes = tiling.windows()[1:]
    sides = list(tiling.shape[1:])
    least = list(tiling.window_shape[1:])
    while True:
        voxels = height
        for s in sides:
            voxels *= s
        wide = [n for n in range(len(sides)) if sides[n] > least[n]]
        if voxels <= max_voxels or not wide:
            break
        longest = max(wide, key=lambda n: sides[n])
        sides[longest] = max(least[longest], sides[longest] // 2)
    groups = [_group(windows, side) for windows, side in zip(axes, sides, strict=True)]
    columns = []
    for own in product(*groups):
        before = tuple(
            tuple(w for w in windows if w.lo < o[0].lo < w.hi)
            for windows, o in zip(axes, own, strict=True)
        )
        columns.append(Column(tuple(own), before))
    return columns


def _group(windows: Sequence[Window], side: int) -> list[tuple[Window, ...]]:
    groups: list[list[Window]] = [[]]
    for w in windows:
        if groups[-1] and w.hi - groups[-1][0].lo > side:
            groups.append([])
        groups[-1].append(w)
    return [tuple(g) for g in groups]


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

    def move_to(self, origin: int) -> None:
        """Let the window begin at `origin`, no further back than it is; forget what lies before."""
        shift = origin - self._origin
        keep = self._sum.shape[1] - shift
        if shift > 0 and keep > 0:
            for channel in self._sum:
                channel[:keep] = channel[shift:].clone()
        self._sum[:, max(keep, 0) :] = 0
        self._origin = origin

    def add(self, tile: Tile, scores: Tensor) -> None:
        """Add the scores (K, window shape) of one tile, weighted."""
        spans = [(w.lo, w.hi) for w in tile.windows]
        limits = [(self._origin, self._origin + self._sum.shape[1]), *self._span]
        spans = [(max(a, b), min(c, d)) for (a, c), (b, d) in zip(spans, limits, strict=True)]
        part = scores[_channels_and(spans, [w.start for w in tile.windows])]
        for axis, (w, (lo, hi)) in enumerate(zip(tile.windows, spans, strict=True)):
            if (w.weights == 1).all():
                continue
            weights = torch.from_numpy(w.weights[lo - w.lo : hi - w.lo]).to(scores.device)
            part = part * weights.view((-1,) + (1,) * (len(spans) - 1 - axis))
        self._sum[_channels_and(spans, [a for a, _ in limits])] += part

    def take(self, region: Sequence[slice]) -> Tensor:
        """Return the sum (K, ...) over a region in the coordinates of the image."""
        spans = [(s.start, s.stop) for s in region]
        return self._sum[_channels_and(spans, [self._origin, *(a for a, _ in self._span)])]


def _channels_and(spans: Sequence[tuple[int, int]], origin: Sequence[int]) -> tuple[slice, ...]:
    """Index all channels and `spans`, counted from `origin`."""
    return (slice(None), *(slice(a - o, b - o) for (a, b), o in zip(spans, origin, strict=True)))
