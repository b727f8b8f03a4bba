"""In which order tiles are computed: pure geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

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
    again : bool
        Whether the same tile is needed once more later on, in another place of the order.
    """

    number: int
    leading: tuple[int, ...]
    column: Column
    tile: Tile
    final: bool
    again: bool = False


@dataclass(frozen=True)
class Sweep:
    """All tiles of a run, column by column, in an order in which they complete voxels.

    Parameters
    ----------
    leading : tuple of range
        Indices along each axis that the model does not see.
    columns : tuple of Column
        The cross-section, cut.
    rows : tuple of Window
        Windows along the first axis that it sees.
    """

    leading: tuple[range, ...]
    columns: tuple[Column, ...]
    rows: tuple[Window, ...]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return prod(map(len, self.leading)) * sum(map(len, self.columns)) * len(self.rows)

    def steps(self, start: int = 0) -> Iterator[Step]:
        """Yield the tiles, of which the first `start` are written already.

        Of those, only tiles that reach into later ones come again.

        Parameters
        ----------
        start : int
            A value of `TileDone.done` of an earlier run of the same plan.
        """
        done = 0
        for leading in product(*self.leading):
            for column in self.columns:
                per_row = len(column)
                written = max(0, start - done)
                if written >= per_row * len(self.rows):
                    done += per_row * len(self.rows)
                    continue
                resumed = self.rows[written // per_row].lo
                for row, window in enumerate(self.rows):
                    if (row + 1) * per_row <= written and window.hi <= resumed:
                        done += per_row
                        continue
                    for tile, own in column.tiles(window):
                        done += 1
                        yield Step(done, leading, column, tile, own and done > start)


def sweep(tiling: Tiling, leading: Sequence[range], max_voxels: int) -> Sweep:
    """Return the order of a run in which probabilities of `max_voxels` or fewer are held at once.

    Parameters
    ----------
    tiling : Tiling
        The tiles of one index along the leading axes.
    leading : sequence of range
        Indices along each axis that the model does not see.
    max_voxels : int
        See `cut_columns`.
    """
    rows, *_ = tiling.windows()
    return Sweep(tuple(leading), tuple(cut_columns(tiling, max_voxels)), tuple(rows))


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
