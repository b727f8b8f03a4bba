"""One pass over two label images: counts of label pairs and, if wanted, border voxels."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from time import monotonic
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .blocks import Region, grow, read, regions
from .contingency import Contingency, count_pairs, merge
from .surface import Border, border_voxels, join

PREVIEW_EVERY = 0.5
"""Seconds."""
Progress = Callable[[int, int], object]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Scan:
    """What one pass over two label images found.

    Parameters
    ----------
    contingency : Contingency
        Pairs of labels, voxels to be ignored left out.
    hidden : Contingency
        The same of the voxels that were left out.
    slices : dict of int to Contingency
        The same for each index of the axis asked for; empty if none was.
    reference, prediction : Border or None
        Border voxels, if asked for.
    """

    contingency: Contingency
    hidden: Contingency
    slices: dict[int, Contingency]
    reference: Border | None
    prediction: Border | None


@dataclass(frozen=True)
class _Part:
    counts: list[tuple[int, Contingency]]
    borders: tuple[Border, Border] | None


def scan(
    reference: Any,
    prediction: Any,
    *,
    ignore: int | None = None,
    borders: bool = False,
    axis: int | None = None,
    progress: Progress | None = None,
    preview: Callable[[Contingency], object] | None = None,
) -> Scan:
    """Read two label images once, block by block.

    Parameters
    ----------
    reference, prediction : array-like
        Checked by `blocks.label_pair`.
    ignore : int or None
        Voxels with this reference label are not counted, and lie outside of every object.
    borders : bool
        Collect border voxels; blocks of chunked images are then read with one voxel around.
    axis : int or None
        Count each index along this axis separately, too.
    progress : callable or None
        Called with (blocks done, blocks in all); what it raises ends the pass.
    preview : callable or None
        Called with the counts of the blocks done so far, at most twice a second.
    """
    shape = tuple(int(n) for n in reference.shape)
    frames = max(0, len(shape) - 3) if borders else 0
    blocks = regions(reference, prediction, single=frames)

    def look(region: Region) -> _Part:
        wide, inner = grow(region, shape, range(frames, len(shape)) if borders else ())
        ours, theirs = read(reference, wide, "reference"), read(prediction, wide, "prediction")
        counts = _counts(ours[inner], theirs[inner], region, axis)
        if not borders:
            return _Part(counts, None)
        hidden = ours == ignore if ignore is not None else None
        found = [_borders(b, hidden, wide, inner, shape) for b in (ours, theirs)]
        return _Part(counts, (found[0], found[1]))

    parts = []
    shown = monotonic()
    for done, part in enumerate(threaded(look, blocks), 1):
        parts.append(part)
        if preview is not None and done < len(blocks) and monotonic() - shown >= PREVIEW_EVERY:
            preview(merge([count for p in parts for _, count in p.counts]).without(ignore))
            shown = monotonic()
        if progress is not None:
            progress(done, len(blocks))
    by_slice: dict[int, list[Contingency]] = {}
    for part in parts:
        for index, count in part.counts:
            by_slice.setdefault(index, []).append(count)
    slices = {index: merge(counts) for index, counts in sorted(by_slice.items())}
    pairs = [p.borders for p in parts if p.borders is not None]
    whole = merge(list(slices.values()))
    return Scan(
        whole.without(ignore),
        whole.only(ignore),
        {} if axis is None else {n: counts.without(ignore) for n, counts in slices.items()},
        join([p[0] for p in pairs]) if borders else None,
        join([p[1] for p in pairs]) if borders else None,
    )


def threaded(task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Run a task on items in a few threads; results come in order, few wait in memory."""
    workers = min(4, cpu_count() or 1)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(task, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _counts(
    reference: NDArray[Any],
    prediction: NDArray[Any],
    region: Region,
    axis: int | None,
) -> list[tuple[int, Contingency]]:
    """Count a block; index 0 stands for all of it if no axis is asked for."""
    if axis is None:
        return [(0, _count(reference, prediction))]
    return [
        (region[axis].start + k, _count(reference.take(k, axis), prediction.take(k, axis)))
        for k in range(reference.shape[axis])
    ]


def _count(reference: NDArray[Any], prediction: NDArray[Any]) -> Contingency:
    return count_pairs(np.ascontiguousarray(reference), np.ascontiguousarray(prediction))


def _borders(
    block: NDArray[Any],
    hidden: NDArray[np.bool_] | None,
    wide: Region,
    inner: Region,
    shape: tuple[int, ...],
) -> Border:
    """Find border voxels of a block of any number of axes."""
    if hidden is not None:
        block = np.where(hidden, block.dtype.type(0), block)
    fill = (1,) * max(0, 3 - len(shape))
    frame = (*fill, *shape)[-3:]
    first = (
        np.ravel_multi_index([s.start for s in wide[: len(shape) - 3]], shape[:-3])
        if (len(shape) > 3)
        else 0
    )
    origin = [*(0 for _ in fill), *(s.start for s in wide)][-3:]
    origin[0] += int(first) * frame[0]
    within = (*(slice(0, 1) for _ in fill), *inner)[-3:]
    return border_voxels(
        block.reshape((*fill, *block.shape)[-3:]),
        (within[0], within[1], within[2]),
        (origin[0], origin[1], origin[2]),
        (frame[0], frame[1], frame[2]),
    )
