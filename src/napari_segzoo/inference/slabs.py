"""Planes of a volume on their way between the disk and a 2D model, many at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..io.image import SPATIAL

CHUNK = 32
"""Side of the chunks in which probabilities are kept, and most planes buffered at once."""
BUFFER_BYTES = 128 << 20
"""Of planes on their way from the image, and as much of planes on their way to the disk."""


@dataclass
class Turned:
    """A view of an array with its dimensions in another order, read when it is sliced.

    Neighbouring planes are read together, as files are seldom laid out for all three directions.

    Parameters
    ----------
    array : array-like
        What is read.
    order : tuple of int
        Dimension of `array` that each dimension of the view shows.
    along : int
        Dimension of the view that is run through plane by plane.
    """

    array: Any
    order: tuple[int, ...]
    along: int
    _kept: tuple[tuple[int, ...], NDArray[Any]] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the view."""
        return tuple(int(self.array.shape[d]) for d in self.order)

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.array.dtype

    def __getitem__(self, key: tuple[int | slice, ...]) -> NDArray[Any]:
        """Read a region given by one integer or slice with step 1 per dimension."""
        plane, depth = key[self.along], self._depth(key)
        if isinstance(plane, slice) or not depth:
            return self._read(key)
        start = plane // depth * depth
        wide = [slice(None) if isinstance(k, slice) else k for k in key]
        wide[self.along] = slice(start, min(start + depth, self.shape[self.along]))
        at = (start, *(k for k in wide if not isinstance(k, slice)))
        kept = self._kept  # read once, as another thread may replace it
        if kept is None or kept[0] != at:
            kept = self._kept = (at, self._read(wide))
        inside = list(key)
        inside[self.along] = plane - start
        return kept[1][tuple(k for k, w in zip(inside, wide, strict=True) if isinstance(w, slice))]

    def _depth(self, key: Sequence[int | slice]) -> int:
        if type(self.array) is np.ndarray:
            return 0
        seen = (n for n, k in zip(self.shape, key, strict=True) if isinstance(k, slice))
        return fitting_depth(prod(seen) * np.dtype(self.dtype).itemsize)

    def _read(self, key: Sequence[int | slice]) -> NDArray[Any]:
        where = dict(zip(self.order, key, strict=True))
        block = np.asarray(self.array[tuple(where[d] for d in sorted(where))])
        kept = [d for d in self.order if isinstance(where[d], slice)]
        return block.transpose([sorted(kept).index(d) for d in kept])


@dataclass
class Slabs:
    """Takes the probabilities of a pass plane by plane, and keeps them in the image's order.

    Parameters
    ----------
    kept : array-like
        (T, K, Z, Y, X) on disk, without T where the image has none.
    turn : str
        One of `TURNS`.
    stretch : int
        How many times as finely as the image the planes have Z; what lies between is left out.
    planes_kept : int
        Planes, counted over all time points, that are on disk and not held in memory.
    """

    kept: Any
    turn: str
    stretch: int = 1
    planes_kept: int = 0
    _at: tuple[int, ...] | None = None
    _buffer: NDArray[np.float16] = field(default_factory=lambda: np.empty(0, np.float16))

    def __post_init__(self) -> None:
        sizes = dict(zip(SPATIAL, self.kept.shape[-3:], strict=True))
        self._planes, *plane = (sizes[a] for a in self.turn)
        classes = int(self.kept.shape[-4])
        self._depth = fitting_depth(2 * classes * prod(plane))
        self._buffer = np.empty((self._depth, classes, *plane), np.float16)

    def __setitem__(self, region: tuple[slice, ...], block: NDArray[Any]) -> None:
        """Take a part of one plane; its region and shape are (T, plane, K, side, side)."""
        *leading, plane, _, upper, lower = region
        part = block.reshape(1, *block.shape[-3:]).astype(np.float16)
        if self.turn[1] == "Z":
            part, upper = self._of_the_image(part, upper)
        time = tuple(s.start for s in leading)
        depth = self._depth or 1
        start = plane.start // depth * depth
        if (*time, start) != self._at:
            self.flush()
            self._at = (*time, start)
            self.planes_kept = sum(time) * self._planes + start
        if self._depth:
            self._buffer[plane.start - start, :, upper, lower] = part[0]
        else:
            self._keep(time, (plane, upper, lower), part)

    def _of_the_image(
        self, part: NDArray[np.float16], z: slice
    ) -> tuple[NDArray[np.float16], slice]:
        """Leave out the slices between those of the image."""
        first = -(-z.start // self.stretch)
        part = part[:, :, first * self.stretch - z.start :: self.stretch]
        return part, slice(first, first + part.shape[2])

    def flush(self) -> None:
        """Write what is still held in memory."""
        if self._at is None or not self._depth:
            return
        *time, start = self._at
        stop = min(start + self._depth, self._planes)
        box = (slice(start, stop), slice(None), slice(None))
        self._keep(tuple(time), box, self._buffer[: stop - start])
        self._at = None

    def _keep(
        self, time: tuple[int, ...], box: tuple[slice, ...], planes: NDArray[np.float16]
    ) -> None:
        where = dict(zip(self.turn, box, strict=True))
        axes = dict(zip(self.turn, (0, 2, 3), strict=True))
        turned = planes.transpose(1, *(axes[a] for a in SPATIAL))
        if turned.size == 0:
            return
        with telling_of_the_disk():
            self.kept[(*time, slice(None), *(where[a] for a in SPATIAL))] = turned


def fitting_depth(plane_bytes: int) -> int:
    """Return how many planes are buffered at once; 0 if a single one is too large."""
    depths = (CHUNK >> n for n in range(CHUNK.bit_length()))
    return next((d for d in depths if d * plane_bytes <= BUFFER_BYTES), 0)


@contextmanager
def telling_of_the_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            "The probabilities of the three planes could not be kept on disk: "
            f"{error.strerror or error}; make room beside the output and resume, or in the folder "
            "for temporary files if there is no output file."
        ) from error
