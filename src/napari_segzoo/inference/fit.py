"""Tiles that fit an image: as few voxels computed twice as memory allows. Integers only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, prod

from ..errors import InputError
from .tiling import round_up

SHARE = 0.25
"""Part of a tile that neighbours have in common, where nothing else is asked for..."""
MOST_OVERLAP = {2: 128, 3: 32}
"""...and the most voxels of it in a tile of the program's own choice."""


@dataclass(frozen=True)
class Fit:
    """What tiles of an image must keep to.

    Parameters
    ----------
    shape : tuple of int
        Spatial shape of the image.
    divisor : tuple of int
        Per axis, what sides and overlaps are multiples of.
    halo : tuple of int or None
        Per axis, the margin of an exact blend; None for a weighted one.
    share : float or None
        Overlap asked for, as part of the tile.
    """

    shape: tuple[int, ...]
    divisor: tuple[int, ...]
    halo: tuple[int, ...] | None
    share: float | None

    @property
    def padded(self) -> tuple[int, ...]:
        """Shape of the image, rounded up to what the network takes."""
        return tuple(round_up(n, d) for n, d in zip(self.shape, self.divisor, strict=True))

    @property
    def least(self) -> tuple[int, ...]:
        """Smallest sides of a tile that does not span the image."""
        if self.halo is not None:
            return tuple(2 * h + d for h, d in zip(self.halo, self.divisor, strict=True))
        return tuple(max(2 * d, round_up(16, d)) for d in self.divisor)

    def overlap(self, tile: Sequence[int], *, limited: bool = False) -> tuple[int, ...]:
        """Overlap of neighbours of this size; `limited` to `MOST_OVERLAP` if none was asked for."""
        return tuple(self._overlap(a, side, limited) for a, side in enumerate(tile))

    def _overlap(self, axis: int, side: int, limited: bool) -> int:
        divisor = self.divisor[axis]
        if side >= self.padded[axis]:
            return 0
        if self.halo is not None:
            return 2 * self.halo[axis]
        overlap = round_up(side * (SHARE if self.share is None else self.share), divisor)
        if limited and self.share is None:
            overlap = min(overlap, round_up(MOST_OVERLAP[len(self.shape)], divisor))
        return min(overlap, side - divisor)

    def tile(self, voxels: int) -> tuple[int, ...]:
        """Return the tile of at most `voxels` voxels, as near a cube as the image allows.

        The image is cut along the longest side of the tile, once more each time, and tiles are
        as large as that many need to be. Where no tile is small enough, the smallest comes.
        """
        counts = [1] * len(self.shape)
        sides = list(self.padded)
        open_axes = set(range(len(sides)))
        while prod(sides) > voxels and open_axes:
            axis = max(open_axes, key=lambda a: sides[a])
            counts[axis] += 1
            side = self._side(axis, counts[axis])
            if side < self.least[axis]:
                open_axes.remove(axis)
            else:
                sides[axis] = min(side, sides[axis])
        return tuple(sides)

    def tile_near(self, asked: int | Sequence[int]) -> tuple[int, ...]:
        """Return a tile of the size asked for, rounded up to what the network takes.

        Raises
        ------
        InputError
            If the numbers are too few, too many, or too small.
        """
        ndim = len(self.shape)
        numbers = [int(n) for n in (asked if isinstance(asked, Iterable) else [asked] * ndim)]
        if len(numbers) != ndim or min(numbers) < 1:
            raise InputError(
                f"tile must be one number or {ndim} numbers of at least 1, not {asked!r}."
            )
        sides = zip(numbers, self.divisor, self.padded, strict=True)
        tile = tuple(min(round_up(n, d), p) for n, d, p in sides)
        for side, least, padded in zip(tile, self.least, self.padded, strict=True):
            if self.halo is not None and side < min(padded, least):
                raise InputError(
                    f"The exact blend of this model needs tiles of at least {least} voxels a "
                    f"side, not {side}; choose a larger tile or the gaussian blend."
                )
        return tile

    def half(self, tile: Sequence[int]) -> tuple[int, ...] | None:
        """Halve the longest side of a tile that can be halved; None if none can."""
        halves = [round_up(t / 2, d) for t, d in zip(tile, self.divisor, strict=True)]
        least = self.divisor if self.halo is None else self.least
        possible = [a for a in range(len(tile)) if least[a] <= halves[a] < tile[a]]
        if not possible:
            return None
        longest = max(possible, key=lambda a: tile[a])
        return tuple(halves[a] if a == longest else t for a, t in enumerate(tile))

    def _side(self, axis: int, count: int) -> int:
        """Smallest side of which `count` windows cover the image along one axis."""
        divisor, padded = self.divisor[axis], self.padded[axis]
        side = max(divisor, floor(padded / count / divisor) * divisor)
        while self._windows(axis, side) > count:
            side += divisor
        return side

    def _windows(self, axis: int, side: int) -> int:
        overlap = self._overlap(axis, side, limited=True)
        if side <= overlap:
            return self.padded[axis]
        return max(1, ceil((self.padded[axis] - overlap) / (side - overlap)))
