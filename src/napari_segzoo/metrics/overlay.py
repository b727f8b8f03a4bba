"""A label image that shows where a prediction is right and how it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import check_task, label_pair, read, regions
from .instances import match, merged_objects, objects, split_objects
from .scan import Progress, scan, threaded

TABLE_LABELS = 1 << 24
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LegendEntry:
    """Name, meaning and colour (hexadecimal) of a value of the overlay."""

    name: str
    meaning: str
    colour: str


LEGENDS: Mapping[str, Mapping[int, LegendEntry]] = MappingProxyType(
    {
        "semantic": {
            1: LegendEntry("hit", "the same class in both", "#009e73"),
            2: LegendEntry("false alarm", "a class where the reference has background", "#d55e00"),
            3: LegendEntry("miss", "background where the reference has a class", "#0072b2"),
            4: LegendEntry("wrong class", "two different classes", "#cc79a7"),
        },
        "instances": {
            1: LegendEntry("matched", "voxels shared by a matched pair of objects", "#009e73"),
            2: LegendEntry("false", "predicted object where the reference has none", "#d55e00"),
            3: LegendEntry("missed", "reference object without its prediction", "#0072b2"),
            4: LegendEntry("split", "reference object shared by several predictions", "#f0e442"),
            5: LegendEntry("merged", "prediction that swallows several objects", "#cc79a7"),
        },
    }
)


def error_overlay(
    reference: Any,
    prediction: Any,
    *,
    task: str = "semantic",
    ignore: int | None = None,
    out: Any = None,
    progress: Progress | None = None,
) -> Any:
    """Mark every voxel by how the prediction does there.

    Parameters
    ----------
    reference, prediction : array-like of int or bool
        Label images of one shape.
    task : {"semantic", "instances"}
        Which codes to use, see `LEGENDS`; 0 is background in both, or ignored.
    ignore : int or None
        Voxels with this reference label get 0.
    out : array-like of uint8, optional
        Written block by block instead of a new array, for images larger than memory.
    progress : callable or None
        Called with (blocks done, blocks in all); what it raises cancels.

    Returns
    -------
    uint8 array
        Of the shape of the images; `out` if given.

    Notes
    -----
    Objects are matched at an IoU of 0.5. Where two objects overlap that are not a pair, the
    voxel is "split" if the reference object is, else "merged" if the prediction is, else
    "missed". Voxels of a matched object outside of its partner are "false" or "missed", too.
    """
    check_task(task)
    reference, prediction = label_pair(reference, prediction)
    result = np.zeros(reference.shape, np.uint8) if out is None else out
    objects_ = _ObjectCodes.of(reference, prediction, ignore) if task == "instances" else None
    blocks = regions(reference, prediction)

    def look(region: tuple[slice, ...]) -> NDArray[np.uint8]:
        ours, theirs = read(reference, region, "reference"), read(prediction, region, "prediction")
        codes = _classes(ours, theirs) if objects_ is None else objects_.codes(ours, theirs)
        if ignore is not None:
            codes[ours == ignore] = 0
        return codes

    for done, (region, codes) in enumerate(zip(blocks, threaded(look, blocks), strict=True), 1):
        result[region] = codes
        if progress is not None:
            progress(done, len(blocks))
    return result


def _classes(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.uint8]:
    codes = np.full(ours.shape, 4, np.uint8)
    codes[theirs == 0] = 3
    codes[ours == 0] = 2
    codes[ours == theirs] = 1
    codes[(ours == 0) & (theirs == 0)] = 0
    return codes


@dataclass(frozen=True)
class _ObjectCodes:
    """Tables from the labels of both images (0 first) to what became of the objects."""

    ours: Ints
    theirs: Ints
    partner: Ints
    split: NDArray[np.bool_]
    merged: NDArray[np.bool_]

    @classmethod
    def of(cls, reference: Any, prediction: Any, ignore: int | None) -> _ObjectCodes:
        both = objects(scan(reference, prediction, ignore=ignore).contingency)
        pairs = match(both)
        partner = np.full(len(both.reference) + 1, -1)
        partner[both.row[pairs] + 1] = both.prediction[both.column[pairs]]
        split = np.zeros(len(both.reference) + 1, bool)
        split[split_objects(both) + 1] = True
        merged = np.zeros(len(both.prediction) + 1, bool)
        merged[merged_objects(both) + 1] = True
        ours, theirs = (np.concatenate([[0], v]) for v in (both.reference, both.prediction))
        return cls(ours, theirs, partner, split, merged)

    def codes(self, ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.uint8]:
        row, column = _position(self.ours, ours), _position(self.theirs, theirs)
        codes = np.full(ours.shape, 3, np.uint8)
        codes[self.merged[column]] = 5
        codes[self.split[row]] = 4
        codes[self.partner[row] == theirs] = 1
        codes[theirs == 0] = 3
        codes[ours == 0] = 2
        codes[(ours == 0) & (theirs == 0)] = 0
        return codes


def _position(labels: Ints, block: NDArray[Any]) -> NDArray[np.intp]:
    """Position of each voxel's label in the sorted `labels`; 0 for one that is not there."""
    last = int(labels[-1])
    if last < TABLE_LABELS:
        table = np.zeros(last + 1, np.intp)
        table[labels] = np.arange(len(labels))
        return table[np.where(block <= last, block, block.dtype.type(0))]
    place = np.minimum(np.searchsorted(labels, block.astype(np.int64)), len(labels) - 1)
    return np.where(labels[place] == block, place, 0)
