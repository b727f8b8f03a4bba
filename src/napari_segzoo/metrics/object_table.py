"""All instance scores of one pass, and the table of single objects."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .instances import (
    Objects,
    clustering_scores,
    made_up,
    match,
    matching_scores,
    merged_objects,
    objects,
    overlap_scores,
    split_objects,
)
from .nearest import nearest
from .overlap import mean
from .report import Row
from .scan import Scan
from .surface import Border


def object_scores(
    found: Scan, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> tuple[dict[str, Any], list[Row]]:
    """Score objects; return the scores and one row per object (see `Report`)."""
    both = objects(found.contingency, found.hidden)
    split, merged = split_objects(both), merged_objects(both)
    values: dict[str, Any] = {
        **matching_scores(both),
        **overlap_scores(both),
        "splits": len(split),
        "merges": len(merged),
        **clustering_scores(found.contingency),
    }
    pairs = match(both)
    distance = np.full(len(pairs), np.nan)
    places: tuple[dict[int, tuple[int, ...]], ...] = ({}, {})
    if found.reference is not None and found.prediction is not None:
        distance = _pair_distances(both, pairs, found.reference, found.prediction, shape, spacing)
        values["boundary_distance"] = mean(distance)
        places = (_places(found.reference, shape), _places(found.prediction, shape))
    return values, _rows(both, pairs, distance, split, merged, places)


def _pair_distances(
    both: Objects,
    pairs: NDArray[np.int64],
    reference: Border,
    prediction: Border,
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
) -> NDArray[np.float64]:
    """Average symmetric surface distance of each matched pair."""
    ours = _renumber(reference, both.reference[both.row[pairs]])
    theirs = _renumber(prediction, both.prediction[both.column[pairs]])
    total, voxels = np.zeros(len(pairs)), np.zeros(len(pairs))
    for queries, targets in ((ours, theirs), (theirs, ours)):
        distance = nearest(queries, targets, shape, spacing)
        total += np.bincount(queries.label, distance, minlength=len(pairs))
        voxels += np.bincount(queries.label, minlength=len(pairs))
    return total / voxels


def _renumber(border: Border, labels: NDArray[np.int64]) -> Border:
    """Keep the border voxels of `labels`, and label them by position in `labels`."""
    if not len(labels):
        return Border(border.index[:0], labels)
    order = np.argsort(labels)
    place = np.searchsorted(labels, border.label.astype(np.int64), sorter=order)
    number = order[np.minimum(place, len(labels) - 1)]
    kept = labels[number] == border.label
    return Border(border.index[kept], number[kept])


def _places(border: Border, shape: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Index of the border voxel of each object that is nearest to the middle of its border."""
    if not len(border.index):
        return {}
    labels, number = np.unique(border.label, return_inverse=True)
    where = np.stack(np.unravel_index(border.index, shape), axis=1)
    count = np.bincount(number)
    middle = np.stack([np.bincount(number, axis) / count for axis in where.T], axis=1)
    off = ((where - middle[number]) ** 2).sum(axis=1)
    order = np.lexsort((off, number))
    first = order[np.searchsorted(number[order], np.arange(len(labels)))]
    return {int(b): tuple(int(v) for v in where[k]) for b, k in zip(labels, first, strict=True)}


def _rows(
    both: Objects,
    pairs: NDArray[np.int64],
    distance: NDArray[np.float64],
    split: NDArray[np.int64],
    merged: NDArray[np.int64],
    places: tuple[dict[int, tuple[int, ...]], ...],
) -> list[Row]:
    """Rows of matched, then missed, then false objects."""
    splits, merges = set(split.tolist()), set(merged.tolist())

    def row(r: int | None, c: int | None, iou: float, assd: float) -> Row:
        ours = None if r is None else int(both.reference[r])
        theirs = None if c is None else int(both.prediction[c])
        place = places[0].get(ours) if ours is not None else places[1].get(theirs or 0)
        return {
            "status": "false" if r is None else "missed" if c is None else "matched",
            "reference": ours,
            "prediction": theirs,
            "iou": iou,
            "dice": 2 * iou / (1 + iou),
            "reference_voxels": 0 if r is None else int(both.reference_size[r]),
            "prediction_voxels": 0 if c is None else int(both.prediction_size[c]),
            "split": r in splits,
            "merged": c in merges,
            "assd": assd,
            "position": place,
        }

    iou = both.iou
    taken = zip(both.row[pairs], both.column[pairs], iou[pairs], distance, strict=True)
    rows = [row(int(r), int(c), float(v), float(d)) for r, c, v, d in taken]
    missed = np.setdiff1d(np.arange(len(both.reference)), both.row[pairs])
    rows += [row(int(r), None, 0.0, float("nan")) for r in missed]
    rows += [row(None, int(c), 0.0, float("nan")) for c in made_up(both, pairs)]
    return rows
