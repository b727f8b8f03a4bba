"""A 2D model in a volume: slices along all three axes, and the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..axes import Layout
from ..errors import InputError, RunError
from ..io.image import SPATIAL
from .crop import format_region, parse_region
from .events import Event, Stage, TileDone
from .order import order_tiles
from .plan import Plan, PredictOptions

if TYPE_CHECKING:
    from .prediction import Prediction

TURNS = ("ZYX", "YZX", "XZY")
"""What stands for Z, Y and X in each of the three passes: planes YX, ZX and ZY."""
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
    _at: tuple[int, ...] | None = None
    _slab: NDArray[Any] = field(default_factory=lambda: np.empty(0))

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
        if at != self._at:
            self._slab, self._at = self._read(wide), at
        inside = list(key)
        inside[self.along] = plane - start
        return self._slab[
            tuple(k for k, w in zip(inside, wide, strict=True) if isinstance(w, slice))
        ]

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
    """

    kept: Any
    turn: str
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
        time = tuple(s.start for s in leading)
        if not self._depth:
            self._keep(time, (plane, upper, lower), part)
            return
        start = plane.start // self._depth * self._depth
        if (*time, start) != self._at:
            self.flush()
            self._at = (*time, start)
        self._buffer[plane.start - start, :, upper, lower] = part[0]

    def flush(self) -> None:
        """Write what is still held in memory."""
        if self._at is None:
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
        with _telling_of_the_disk():
            self.kept[(*time, slice(None), *(where[a] for a in SPATIAL))] = turned


def fitting_depth(plane_bytes: int) -> int:
    """Return how many planes are buffered at once; 0 if a single one is too large."""
    depths = (CHUNK >> n for n in range(CHUNK.bit_length()))
    return next((d for d in depths if d * plane_bytes <= BUFFER_BYTES), 0)


def turn(
    image: Any, layout: Layout, options: PredictOptions, mask: Any
) -> Iterator[tuple[Any, PredictOptions, Any]]:
    """Yield image, options and mask of each pass; the axes of the image are called as before.

    Raises
    ------
    InputError
        If the model is 3D, or the image has no Z.
    """
    if layout.ndim == 3:
        raise InputError("planes=zyx is for 2D models, but this one is 3D; leave out planes.")
    if "Z" not in layout.axes:
        raise InputError(
            f"planes=zyx needs a volume with the axes {SPATIAL}, but the image has {layout.axes}."
        )
    options = replace(options, planes="z", output="probabilities")
    ranges = {} if options.region is None else parse_region(options.region, layout)
    whole = mask is not None and tuple(mask.shape) == layout.label_shape
    for order in TURNS:
        shown = {a: a for a in layout.axes} | dict(zip(SPATIAL, order, strict=True))
        turned = {a: ranges[shown[a]] for a in ranges}
        yield (
            _turned(image, layout.axes, shown),
            replace(options, region=format_region(turned) or None),
            _turned(mask, layout.label_axes, shown) if whole else None,
        )


def _turned(array: Any, axes: str, shown: dict[str, str]) -> Any:
    return Turned(array, tuple(axes.index(shown[a]) for a in axes), axes.index("Z"))


def join_plans(passes: Sequence[Prediction], output: str) -> Plan:
    """Return the plan of the slices along Z, which tells of the other two directions as well."""
    first, *others = (p.plan for p in passes)
    classes = passes[0].model.info.num_outputs
    voxels = prod(first.layout.leading_shape) * prod(first.layout.spatial_shape)
    kept = min(BUFFER_BYTES, 2 * classes * voxels)
    memory = max(p.plan.memory for p in passes) + BUFFER_BYTES + kept
    return replace(first, output=output, memory=memory, others=tuple(others))


def average_planes(run: Prediction) -> Generator[Event, None, None]:
    """Compute the passes of a run, one after the other, and write the mean of their probabilities.

    The probabilities of the passes lie in a temporary folder meanwhile, as float16.

    Yields
    ------
    TileDone or Stage
        Progress over all passes; regions of the result come last.
    """
    channel = run.plan.layout.channel_axis
    intensity = run.intensity or run.model.info.normalization.measure(run.image, channel)
    done = 0
    with TemporaryDirectory(prefix="napari-segzoo-", dir=run.scratch) as folder:
        kept = [_open_kept(run, Path(folder, f"{order}.zarr")) for order in TURNS]
        for n, (one, order) in enumerate(zip(run.passes, TURNS, strict=True)):
            one.intensity, one.result = intensity, Slabs(kept[n], order)
            yield Stage(f"Planes {order[1:]}, {n + 1} of {len(TURNS)}.")
            after = sum(order_tiles(p.plan, {}, 0)[0] for p in run.passes[n + 1 :])
            done = yield from _pass(one, done, after)
            one.result.flush()
            one.result = ()
        run.plan = join_plans(run.passes, run.plan.output)
        for region in _write_mean(run, kept):
            yield TileDone(done, done, region)


def _pass(one: Prediction, before: int, after: int) -> Generator[Event, None, int]:
    """Run one pass, with the tiles before and after it in the events; return those done."""
    done = before
    with closing(one.run()) as events:
        for event in events:
            if isinstance(event, TileDone):
                done = before + event.done
                yield TileDone(done, before + event.total + after, None)
            else:
                yield event
    return done


def _open_kept(run: Prediction, path: Path) -> Any:
    import zarr

    *time, depth = run.plan.layout.leading_shape
    sides = (depth, *(stop - start for start, stop in run.plan.tiling.wanted))
    classes = run.model.info.num_outputs
    with _telling_of_the_disk():
        return zarr.create_array(
            path,
            shape=(*time, classes, *sides),
            chunks=(*(1 for _ in time), classes, *(min(n, CHUNK) for n in sides)),
            dtype="float16",
        )


@contextmanager
def _telling_of_the_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            "The probabilities of the three planes could not be kept on disk: "
            f"{error.strerror or error}; make room beside the output, or in the folder for "
            "temporary files if there is none."
        ) from error


def _write_mean(run: Prediction, kept: Sequence[Any]) -> Iterator[tuple[slice, ...]]:
    """Write the result block by block, and yield where."""
    import torch

    *time, classes, depth, height, width = kept[0].shape
    side = 256 if classes <= 8 else 64
    spans = [
        [slice(a, min(a + step, n)) for a in range(0, n, step)]
        for n, step in ((depth, CHUNK), (height, side), (width, side))
    ]
    origin = run.origin or (0, 0)
    for leading in np.ndindex(*time):
        for planes, *box in product(*spans):
            mean = np.zeros((classes, *(s.stop - s.start for s in (planes, *box))), np.float32)
            for one in kept:
                mean += one[(*leading, slice(None), planes, *box)]
            mean /= len(kept)
            place = tuple(slice(s.start + o, s.stop + o) for s, o in zip(box, origin, strict=True))
            for n in range(planes.start, planes.stop):
                scores = np.ascontiguousarray(mean[:, n - planes.start])
                region = run.write((*leading, n), place, torch.from_numpy(scores))
            yield (*region[: len(time)], planes, *region[len(time) + 1 :])
