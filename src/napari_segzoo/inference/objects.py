"""The last step of a run that asks for instances: from classes to single objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..postprocess import Objects
from .events import BlockSeparated

if TYPE_CHECKING:
    from .prediction import Prediction

Region = tuple[slice, ...]


def separate(run: Prediction) -> Iterator[BlockSeparated]:
    """Separate the objects in the classes that a run has found.

    With ``run.objects``, whoever set it up makes use of its numbers. Without, the classes in
    ``run.result`` are replaced by objects, with final numbers when the generator ends or is
    closed.
    """
    if run.objects is not None:
        yield from blocks_done(run.objects, run.objects.separate())
        return
    info, result = run.model.info, run.result
    classes = np.asarray(result[...]).astype(np.min_scalar_type(info.num_outputs - 1))
    result[...] = 0
    objects = Objects(classes, result, run.object_ndim, info.task)
    try:
        yield from blocks_done(objects, objects.separate())
    finally:
        numbers = objects.final_numbers()
        for part in np.ndindex(*result.shape[: max(1, result.ndim - 2)]):
            result[part] = numbers[result[part]]


def blocks_done(objects: Objects, regions: Iterator[Region]) -> Iterator[BlockSeparated]:
    """Say how many blocks are done with each region that is."""
    for region in regions:
        yield BlockSeparated(objects.done, len(objects), region)
