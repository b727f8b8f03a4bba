"""Objects of class maps of any size, found block by block and joined across blocks."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise, product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from .instances import SMALL, SPECK, find_objects

BLOCK = {2: 1024, 3: 128}
MARGIN = {2: 128, 3: 32}
"""Voxels around a block that are taken into account, in 2D and 3D."""
THREADS = 2
"""Blocks separated at the same time."""
Index = tuple[int, ...]
Box = tuple[slice, ...]


class Found(Protocol):
    """What will be found in a block."""

    def result(self) -> NDArray[np.int32]:
        """Wait for it."""
        ...


Begin = Callable[[tuple[int | slice, ...], Box, str], Found]


def find_in_block(
    classes: Any, around: tuple[int | slice, ...], kept: Box, task: str
) -> NDArray[np.int32]:
    """Separate a part of a class map, and return the part `kept` of what is found there."""
    return find_objects(np.asarray(classes[around]), task)[kept]


def separate_objects(
    classes: NDArray[Any], task: str, block: int | None = None
) -> NDArray[np.uint32]:
    """Number the objects of a class map, 2D or 3D; see `Objects` and `find_objects`."""
    result = np.zeros(classes.shape, np.uint32)
    objects = Objects(classes, result, classes.ndim, task, block)
    for _ in objects.separate():
        pass
    return objects.final_numbers()[result]


class Objects:
    """The objects of a class map, numbered in `result`.

    The map is cut into blocks on a grid that depends on nothing but its shape. Each block is
    separated together with a margin. Pieces in neighbouring blocks are one object if either
    block's view of the voxels along their common face agrees: more than half of the voxels that
    either takes for its piece are common to both. As a connected piece of foreground smaller than
    the margin looks the same in all blocks, its objects do not depend on the blocks.

    Memory is that of a few blocks and 8 bytes per object.

    Parameters
    ----------
    classes : array-like of int
        The class map: leading axes, each index of which is an image of its own, and the
        spatial ones.
    result : array-like of uint32, same shape
        Filled with provisional numbers, see `final_numbers`; may not be `classes` itself.
    ndim : {2, 3}
        Number of spatial axes.
    task : {"semantic", "instances"}
        See `find_objects`.
    block : int, optional
        Side of the blocks; `BLOCK` by default.
    """

    def __init__(
        self, classes: Any, result: Any, ndim: int, task: str, block: int | None = None
    ) -> None:
        self._classes, self.result, self._task = classes, result, task
        self._leading, self._shape = classes.shape[:-ndim], classes.shape[-ndim:]
        side = block or BLOCK[ndim]
        self._margin = MARGIN[ndim]
        self._starts = [[*list(range(0, n, side)), n] for n in self._shape]
        self._parent, self._size = array("I", [0]), array("I", [0])
        self.done = 0

    def __len__(self) -> int:
        """Return the number of blocks."""
        return int(np.prod([*self._leading, *(len(s) - 1 for s in self._starts)]))

    def separate(self) -> Iterator[Box]:
        """Separate block after block, from `done` on, and yield where."""
        pool = ThreadPoolExecutor(THREADS)

        def begin(around: tuple[int | slice, ...], kept: Box, task: str) -> Found:
            return pool.submit(find_in_block, self._classes, around, kept, task)

        try:
            yield from self.collect(begin, THREADS)
        finally:
            pool.shutdown(cancel_futures=True)

    def collect(self, begin: Begin, workers: int) -> Iterator[Box]:
        """Number what others find, block after block, from `done` on, and yield where.

        Parameters
        ----------
        begin : callable
            Begins `find_in_block`, given all its arguments but the class map, and returns an
            object whose method ``result()`` waits for what is found.
        workers : int
            Blocks that can be separated at the same time.
        """
        blocks = list(product(*(pairwise(s) for s in self._starts)))
        everywhere = product(np.ndindex(*self._leading), blocks)
        following: deque[tuple[Index, Box, Found]] = deque()
        for leading, spans in islice(everywhere, self.done, None):
            box = tuple(slice(*span) for span in spans)
            around = self._grown(box, self._margin)
            kept = _within(self._grown(box, 1), around)
            following.append((leading, box, begin((*leading, *around), kept, self._task)))
            if len(following) > workers:
                yield self._take(*following.popleft())
        while following:
            yield self._take(*following.popleft())

    def final_numbers(self) -> NDArray[np.uint32]:
        """Return the final number of each provisional one: 1, 2, ... without gaps; 0 for none.

        For the task "instances", objects smaller than `SMALL` of the median object are dropped.
        Specks, less than `SPECK` voxels a side, do not count for the median unless all are.
        """
        root = np.array(self._parent, np.uint32)
        while not np.array_equal(further := root[root], root):
            root = further
        size = np.bincount(root, weights=self._size)
        kept = size > 0
        if self._task == "instances" and kept.any():
            larger = kept & (size >= SPECK ** len(self._shape))
            kept &= size >= SMALL * np.median(size[larger if larger.any() else kept])
        return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[root]

    def save(self, path: Path) -> None:
        """Write down what is known after `done` blocks, so that another run can go on."""
        temporary = path.with_suffix(".new.npz")
        np.savez(temporary, parent=self._parent, size=self._size, done=self.done)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        """Go on where `save` was called; `result` must hold what it held then."""
        with np.load(path) as saved:
            self._parent = array("I", saved["parent"].astype(np.uint32).tobytes())
            self._size = array("I", saved["size"].astype(np.uint32).tobytes())
            self.done = int(saved["done"])

    def _take(self, leading: Index, box: Box, found: Found) -> Box:
        """Number what was found in a block, and return where it is."""
        self._number(leading, box, found.result())
        self.done += 1
        return (*(slice(n, n + 1) for n in leading), *box)

    def _number(self, leading: Index, box: Box, found: NDArray[np.int32]) -> None:
        around = self._grown(box, 1)
        present, voxels = np.unique(found[_within(box, around)], return_counts=True)
        voxels = voxels[present > 0]
        present = present[present > 0]
        first = len(self._parent)
        if first + present.size > np.iinfo(np.uint32).max:
            raise RunError("There are more than 4,294,967,295 objects; segment a smaller part.")
        self._parent.extend(range(first, first + present.size))
        self._size.extend(voxels.tolist())
        number = np.zeros(found.max(initial=0) + 1, np.uint32)
        number[present] = np.arange(first, first + present.size)
        numbered = number[found]
        self.result[(*leading, *box)] = numbered[_within(box, around)]
        if present.size:
            self._join_neighbours(leading, box, around, numbered)

    def _join_neighbours(
        self, leading: Index, box: Box, around: Box, numbered: NDArray[np.uint32]
    ) -> None:
        """Join the objects of a block with those of the blocks before it, by their overlap."""
        for offset in product((-1, 0, 1), repeat=len(box)):
            if not any(offset):
                return  # the blocks that follow are not separated yet
            beside = [
                {-1: slice(s.start - 1, s.start), 0: s, 1: slice(s.stop, s.stop + 1)}[o]
                for s, o in zip(box, offset, strict=True)
            ]
            if any(s.start < 0 or s.stop > n for s, n in zip(beside, self._shape, strict=True)):
                continue
            theirs = np.asarray(self.result[(*leading, *beside)])
            for a, b in _same(numbered[_within(beside, around)], theirs):
                self._join(a, b)

    def _join(self, a: int, b: int) -> None:
        first, second = sorted((self._root(a), self._root(b)))
        self._parent[second] = first

    def _root(self, n: int) -> int:
        while self._parent[n] != n:
            self._parent[n] = self._parent[self._parent[n]]
            n = self._parent[n]
        return n

    def _grown(self, box: Box, margin: int) -> Box:
        return tuple(
            slice(max(0, s.start - margin), min(n, s.stop + margin))
            for s, n in zip(box, self._shape, strict=True)
        )


def _within(box: Sequence[slice], around: Sequence[slice]) -> Box:
    return tuple(
        slice(b.start - a.start, b.stop - a.start) for b, a in zip(box, around, strict=True)
    )


def _same(ours: NDArray[np.uint32], theirs: NDArray[np.uint32]) -> list[tuple[int, int]]:
    """Pairs of numbers in two views of the same voxels of which each covers most of the other."""
    voxels = dict(zip(*_counts(ours), strict=True))
    others = dict(zip(*_counts(theirs), strict=True))
    both = (ours > 0) & (theirs > 0)
    pairs, common = np.unique(
        np.stack([ours[both], theirs[both]], axis=1), axis=0, return_counts=True
    )
    return [
        (a, b)
        for (a, b), n in zip(pairs.tolist(), common.tolist(), strict=True)
        if 2 * n > voxels[a] + others[b] - n
    ]


def _counts(numbers: NDArray[np.uint32]) -> tuple[list[int], list[int]]:
    values, counts = np.unique(numbers, return_counts=True)
    return values.tolist(), counts.tolist()
