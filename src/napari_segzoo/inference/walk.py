"""In which order tiles are computed: pure geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from .tiling import Tile, Tiling, Window


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True)
class Step:
    """One tile to compute.

    Parameters
    ----------
    number : int
        Counts all tiles of the run from 1.
    leading : tuple of int
        One index per axis that the model does not see.
    column : Column
        In which the tile lies.
    tile : Tile
        Where it lies.
    final : bool
        Whether it completes voxels that are not written yet.
    """

    number: int
    leading: tuple[int, ...]
    column: Column
    tile: Tile
    final: bool


def count_steps(leading_shape: Sequence[int], columns: Sequence[Column], rows: int) -> int:
    """Return the number of tiles of a whole run."""
    return int(np.prod(leading_shape, dtype=int)) * sum(map(len, columns)) * rows


def walk(
    leading_shape: Sequence[int], columns: Sequence[Column], first: Sequence[Window], start: int
) -> Iterator[Step]:
    """Yield the tiles of a run, of which the first `start` are written already.

    Of those, only tiles that reach into later ones come again.

    Parameters
    ----------
    leading_shape : sequence of int
        Sizes of the axes that the model does not see.
    columns : sequence of Column
        The cross-section, cut.
    first : sequence of Window
        Windows along the first axis.
    start : int
        A value of `TileDone.done` of an earlier run of the same plan.
    """
    done = 0
    for leading in np.ndindex(*leading_shape):
        for column in columns:
            per_row = len(column)
            written = max(0, start - done)
            if written >= per_row * len(first):
                done += per_row * len(first)
                continue
            resumed = first[written // per_row].lo
            for row, window in enumerate(first):
                if (row + 1) * per_row <= written and window.hi <= resumed:
                    done += per_row
                    continue
                for tile, own in column.tiles(window):
                    done += 1
                    yield Step(done, leading, column, tile, own and done > start)


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
