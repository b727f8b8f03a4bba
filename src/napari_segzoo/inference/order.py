"""The order of a run: plain, or with a part of the image ahead of the rest; pure geometry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from .crop import Ranges
from .plan import Plan
from .walk import Step, Sweep, sweep


@dataclass(frozen=True)
class Part:
    """What is computed first.

    Parameters
    ----------
    leading : tuple of range
        Indices along each axis that the model does not see.
    box : tuple of (start, stop)
        Spatial extent, made of whole `Tile.complete` boxes.
    """

    leading: tuple[range, ...]
    box: tuple[tuple[int, int], ...]

    def completed_by(self, step: Step) -> bool:
        """Whether the voxels that a step completes belong to the part; if not, none does."""
        return self._holds(step, [w.done for w in step.tile.windows])

    def takes_all_of(self, step: Step) -> bool:
        """Whether all voxels that a step contributes to belong to the part."""
        return self._holds(step, [w.hi for w in step.tile.windows])

    def _holds(self, step: Step, stops: list[int]) -> bool:
        return all(n in r for n, r in zip(step.leading, self.leading, strict=True)) and all(
            start <= w.lo and end <= stop
            for w, end, (start, stop) in zip(step.tile.windows, stops, self.box, strict=True)
        )


def order_tiles(plan: Plan, first: Ranges, start: int) -> tuple[int, Iterator[Step]]:
    """Return the number of tiles of a run, and the tiles.

    Every voxel gets the same tiles in the same order, whatever comes first. The tiles at the
    border of the part that does come again for what lies around it, and their probabilities are
    kept until then. If these do not fit into `plan.column_voxels`, the order is the plain one.

    Parameters
    ----------
    plan : Plan
        Of the run.
    first : dict
        Start and stop of the part that comes first, per axis letter; {} for the plain order.
    start : int
        Tiles that are written already, counted in the plain order, in which they go on.
    """
    whole = _plain(plan)
    part = None if start else find_part(plan, first)
    if part is None:
        return len(whole), whole.steps(start)
    early = _early(plan, part)
    alike = replace(whole, leading=part.leading).steps()
    done = sum(map(part.takes_all_of, alike))
    return len(early) + len(whole) - done, _one_then_other(early, part, whole)


def kept_voxels(plan: Plan, first: Ranges) -> int:
    """Return the number of voxels whose probabilities are kept because a part comes first."""
    part = find_part(plan, first)
    return 0 if part is None else _kept(plan, part)


def _plain(plan: Plan) -> Sweep:
    leading = tuple(map(range, plan.layout.leading_shape))
    return sweep(plan.tiling, leading, plan.column_voxels)


def _early(plan: Plan, part: Part) -> Sweep:
    return sweep(replace(plan.tiling, box=part.box), part.leading, plan.column_voxels)


def _kept(plan: Plan, part: Part) -> int:
    again = sum(not part.takes_all_of(step) for step in _early(plan, part).steps())
    return again * prod(plan.tiling.window_shape)


def find_part(plan: Plan, first: Ranges) -> Part | None:
    """Return what the tiles that reach `first` complete; None for the plain order."""
    if not first:
        return None
    layout = plan.layout
    shape = dict(zip(layout.label_axes, layout.label_shape, strict=True))
    spans = {a: first.get(a, (0, n)) for a, n in shape.items()}
    leading = tuple(range(shape[a])[slice(*spans[a])] for a in layout.leading_axes)
    box = []
    for a, windows in zip(layout.model_axes, plan.tiling.windows(), strict=True):
        start, stop = spans[a]
        hit = [w for w in windows if w.lo < stop and w.done > start]
        if not hit:
            return None
        box.append((hit[0].lo, hit[-1].done))
    part = Part(leading, tuple(box))
    return part if _kept(plan, part) <= plan.column_voxels else None


def _one_then_other(early: Sweep, part: Part, whole: Sweep) -> Iterator[Step]:
    for step in early.steps():
        final, again = step.final and part.completed_by(step), not part.takes_all_of(step)
        yield replace(step, final=final, again=again)
    number = len(early)
    for step in whole.steps():
        if not part.takes_all_of(step):
            number += 1
            final = step.final and not part.completed_by(step)
            yield replace(step, number=number, final=final)
