"""The last part of a run that writes a file: from the store to the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from ..follow import Progress, follow
from .store import RESULT

if TYPE_CHECKING:
    from .files import FileRun

Report = Callable[[int, int], None]


def save(run: FileRun) -> Iterator[Progress]:
    """Write the file of a run, under its final name when it is whole.

    Labels and probabilities in OME-Zarr are the store's own, and lack the pyramid only. Closing
    the iterator stops it after the block in hand.
    """
    from ..io import check_output

    check_output(run.path, overwrite=run.overwrite)
    is_there = run.path.suffix.lower() == ".zarr" and run.prediction.objects is None
    with closing(follow(partial(_finish if is_there else _copy, run))) as events:
        yield from (event for event in events if isinstance(event, Progress))


def _finish(run: FileRun, progress: Report) -> None:
    from ..io import Image
    from ..io.blocks import put_in_place
    from ..io.units import length_unit
    from ..io.zarr_writer import add_pyramid

    prediction, whole = run.prediction, run.store / RESULT
    unit = length_unit(run.place.unit)
    place = run.place
    image = Image(
        prediction.result,
        prediction.axes,
        place.scale,
        unit,
        str(run.path),
        translate=place.translate,
        made_by=run.made_by,
    )
    add_pyramid(whole, image, prediction.plan.output != "probabilities", progress)
    put_in_place(whole, run.path)


def _copy(run: FileRun, progress: Report) -> None:
    from ..io import save_image

    save_image(
        run.path,
        _whole(run),
        run.prediction.axes,
        **vars(run.place),
        made_by=run.made_by,
        labels=run.prediction.plan.output != "probabilities",
        overwrite=run.overwrite,
        progress=progress,
    )


def _whole(run: FileRun) -> Any:
    """Return what the file is to hold: objects get their final numbers when they are read."""
    from ..io import LazyArray

    objects = run.prediction.objects
    if objects is None:
        return run.prediction.result
    numbers, found = objects.final_numbers(), objects.result
    return LazyArray(found.shape, found.dtype, lambda region: numbers[found[region]])
