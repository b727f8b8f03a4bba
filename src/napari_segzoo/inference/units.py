"""A run cut into parts that can be computed anywhere, in any order, with the same result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod

import numpy as np

from .plan import Plan

MOST_TILES = 256
"""Tiles of one unit: what a lost worker costs at most."""


@dataclass(frozen=True)
class Unit:
    """A part of a run, whole chunks of the store that it is written to.

    Parameters
    ----------
    leading : tuple of int
        Index along each axis that the model does not see.
    box : tuple of (start, stop)
        Spatial extent, in the coordinates of the image.
    """

    leading: tuple[int, ...]
    box: tuple[tuple[int, int], ...]

    def plan(self, whole: Plan) -> Plan:
        """Return the plan that computes this unit, of an image with one leading index."""
        layout = whole.layout
        shape = tuple(
            1 if a in layout.leading_axes else n
            for a, n in zip(layout.axes, layout.shape, strict=True)
        )
        return replace(
            whole,
            layout=replace(layout, shape=shape),
            tiling=replace(whole.tiling, box=self.box),
        )


def cut_units(plan: Plan, chunk: int, workers: int) -> Iterator[Unit]:
    """Cut a run into units, at least four per worker where it is large enough.

    Each unit computes the tiles around it that reach into it as well, so they are large: an
    axis is cut only while its parts are two tiles long.

    Parameters
    ----------
    plan : Plan
        Of the whole run.
    chunk : int
        Side of the store's chunks; boxes begin and end at their borders.
    workers : int
        That will share the work.
    """
    wanted = plan.tiling.wanted
    sizes = [stop - start for start, stop in wanted]
    least = [ceil(max(2 * t, chunk) / chunk) * chunk for t in plan.tiling.window_shape]
    sides = [ceil(n / chunk) * chunk for n in sizes]
    images = prod(plan.layout.leading_shape)

    def enough() -> bool:
        parts = prod(ceil(n / s) for n, s in zip(sizes, sides, strict=True))
        return parts * images >= 4 * workers and len(plan.tiling) <= MOST_TILES * parts

    while not enough() and any(s > least_side for s, least_side in zip(sides, least, strict=True)):
        axis = max(range(len(sides)), key=lambda a: sides[a] / least[a])
        sides[axis] = max(least[axis], ceil(sides[axis] / 2 / chunk) * chunk)
    starts: list[Sequence[int]] = [range(0, n, s) for n, s in zip(sizes, sides, strict=True)]
    for leading in np.ndindex(*plan.layout.leading_shape):
        for corner in product(*starts):
            yield Unit(
                leading,
                tuple(
                    (first + a, min(first + a + s, stop))
                    for a, s, (first, stop) in zip(corner, sides, wanted, strict=True)
                ),
            )
