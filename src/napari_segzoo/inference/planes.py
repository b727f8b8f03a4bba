"""A 2D model in a volume: slices along all three axes, and the mean of their probabilities.

Where voxels are longer along Z, slices along Y and X are interpolated, and count less.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ..axes import Layout
from ..errors import InputError
from ..io.image import SPATIAL
from .crop import format_region, parse_region
from .events import Event, Stage, TileDone
from .options import PredictOptions
from .order import order_tiles
from .plan import Plan
from .slabs import BUFFER_BYTES, CHUNK, Slabs, Turned, telling_of_the_disk
from .stretch import Stretched

if TYPE_CHECKING:
    from .prediction import Prediction

TURNS = ("ZYX", "YZX", "XZY")
"""What stands for Z, Y and X in each of the three passes: planes YX, ZX and ZY."""


def turn(
    image: Any, layout: Layout, options: PredictOptions, mask: Any, stretch: int
) -> Iterator[tuple[Any, PredictOptions, Any]]:
    """Yield image, options and mask of each pass; the axes of the image are called as before.

    Slices along Y and X see Z `stretch` times as finely; see `Stretched`.

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
        volume, inside = image, mask
        if order[0] != "Z" and stretch > 1:
            volume = Stretched(volume, layout.axes.index("Z"), stretch)
            if whole:
                inside = Stretched(inside, layout.label_axes.index("Z"), stretch, nearest=True)
            if ranges:
                start, stop = ranges["Z"]
                turned["Y"] = start * stretch, (stop - 1) * stretch + 1
        yield (
            _turned(volume, layout.axes, shown),
            replace(options, region=format_region(turned) or None),
            _turned(inside, layout.label_axes, shown) if whole else None,
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


def average_planes(run: Prediction, start: int) -> Generator[Event, None, None]:
    """Compute the passes of a run, one after the other, and write the mean of their probabilities.

    The probabilities of the passes lie on disk meanwhile, as float16.

    Parameters
    ----------
    run : Prediction
        With passes.
    start : int
        Tiles of all passes to take as done, a value of `TileDone.kept` of an earlier run.

    Yields
    ------
    TileDone or Stage
        Progress over all passes; regions of the result come last.
    """
    intensity = run.measure()
    done = 0
    with _scratch(run) as folder:
        kept = [_open_kept(run, folder / f"{order}.zarr") for order in TURNS]
        for n, (one, order) in enumerate(zip(run.passes, TURNS, strict=True)):
            if start >= done + _count_tiles(one):
                done += _count_tiles(one)
                continue
            one.intensity, one.result = intensity, Slabs(kept[n], order, run.stretch)
            finer = f", with Z {run.stretch} times as fine" if n and run.stretch > 1 else ""
            yield Stage(f"Planes {order[1:]}, {n + 1} of {len(TURNS)}{finer}.")
            done = yield from _pass(run, n, done, max(0, start - done))
            one.result.flush()
            one.result = ()
        for region in _write_mean(run, kept):
            yield TileDone(done, done, region)


def _pass(run: Prediction, n: int, before: int, start: int) -> Generator[Event, None, int]:
    """Run pass `n`, with the tiles before and after it in the events; return those done."""
    one = run.passes[n]
    plan, own = one.plan, _count_tiles(one)
    after = sum(map(_count_tiles, run.passes[n + 1 :]))
    planes = prod(plan.layout.leading_shape)
    with closing(one.run_tiles(start)) as events:
        for event in events:
            if one.plan != plan:
                plan, own, start = one.plan, _count_tiles(one), 0
                one.result.planes_kept = 0
                run.plan = join_plans(run.passes, run.plan.output)
                yield TileDone(before, before + own + after, None)
            if isinstance(event, TileDone):
                kept = max(start, one.result.planes_kept * (own // planes))
                yield TileDone(before + event.done, before + own + after, None, before + kept)
            else:
                yield event
    return before + own


def _count_tiles(one: Prediction) -> int:
    return order_tiles(one.plan, {}, 0)[0]


@contextmanager
def _scratch(run: Prediction) -> Iterator[Path]:
    """Yield the folder of the run, or a temporary one."""
    if run.scratch is not None:
        yield run.scratch
        return
    with TemporaryDirectory(prefix="napari-segzoo-") as folder:
        yield Path(folder)


def _open_kept(run: Prediction, path: Path) -> Any:
    import zarr

    *time, depth = run.plan.layout.leading_shape
    sides = (depth, *(stop - start for start, stop in run.plan.tiling.wanted))
    classes = run.model.info.num_outputs
    with telling_of_the_disk():
        return zarr.open_array(
            path,
            mode="a",
            shape=(*time, classes, *sides),
            chunks=(*(1 for _ in time), classes, *(min(n, CHUNK) for n in sides)),
            dtype="float16",
        )


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
    shares = np.array([run.stretch, 1, 1], np.float32) / (run.stretch + 2)
    for leading in np.ndindex(*time):
        for planes, *box in product(*spans):
            mean = np.zeros((classes, *(s.stop - s.start for s in (planes, *box))), np.float32)
            for one, share in zip(kept, shares, strict=True):
                mean += share * one[(*leading, slice(None), planes, *box)]
            place = tuple(slice(s.start + o, s.stop + o) for s, o in zip(box, origin, strict=True))
            for n in range(planes.start, planes.stop):
                scores = np.ascontiguousarray(mean[:, n - planes.start])
                region = run.write((*leading, n), place, torch.from_numpy(scores))
            yield (*region[: len(time)], planes, *region[len(time) + 1 :])
