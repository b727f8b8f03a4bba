"""Overlap measures of semantic segmentation, all from one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = dict[str, dict[str, float]]


def class_scores(confusion: NDArray[Any], labels: Sequence[int]) -> Scores:
    """Scores of each class against all others.

    Parameters
    ----------
    confusion : integer array, shape (classes, classes) or (classes, classes + 1)
        Voxels with reference label ``labels[row]`` and predicted label ``labels[column]``; in a
        last column, those predicted to be something else.
    labels : sequence of int
        Label of each row and column.

    Returns
    -------
    dict
        "dice", "iou", "precision", "recall", "specificity" and "volume_similarity", each a
        dictionary from label (as str) to a number in 0..1. It is nan where nothing is to be
        divided by: all but specificity for a class absent in both images, recall for one
        absent in the reference, precision for one absent in the prediction.
    """
    hits, ours, theirs, total = _counts(confusion)
    scores = {
        "dice": _ratio(2 * hits, ours + theirs),
        "iou": _ratio(hits, ours + theirs - hits),
        "precision": _ratio(hits, theirs),
        "recall": _ratio(hits, ours),
        "specificity": _ratio(total - ours - theirs + hits, total - ours),
        "volume_similarity": 1 - _ratio(np.abs(ours - theirs), ours + theirs),
    }
    return {name: by_label(values, labels) for name, values in scores.items()}


def class_volumes(confusion: NDArray[Any], labels: Sequence[int], voxel: float) -> Scores:
    """Sizes of each class in units of the spacing to the power of the number of axes.

    Parameters
    ----------
    confusion, labels
        As for `class_scores`.
    voxel : float
        Size of one voxel: the product of the spacing.

    Returns
    -------
    dict
        "volume_reference", "volume_prediction", "volume_difference" (prediction minus
        reference) and "relative_volume_difference" (divided by the reference; nan if that
        is 0), each a dictionary from label to number.
    """
    _, ours, theirs, _ = _counts(confusion)
    scores = {
        "volume_reference": ours * voxel,
        "volume_prediction": theirs * voxel,
        "volume_difference": (theirs - ours) * voxel,
        "relative_volume_difference": _ratio(theirs - ours, ours),
    }
    return {name: by_label(values, labels) for name, values in scores.items()}


def overall_scores(confusion: NDArray[Any], labels: Sequence[int]) -> dict[str, float]:
    """Scores of all classes together.

    `mean_dice` leaves label 0 (background) out; `mean_iou`, `mean_pixel_accuracy` and
    `frequency_weighted_iou` count it. Classes for which a score is nan are left out of its
    mean. Cohen's kappa and Matthews' coefficient are in -1..1 and nan where one of the two
    images has one label only.

    Returns
    -------
    dict
        From name to number in 0..1; nan without any voxel.
    """
    hits, ours, theirs, total = _counts(confusion)
    dice, iou = _ratio(2 * hits, ours + theirs), _ratio(hits, ours + theirs - hits)
    correct = hits.sum()
    chance = float(ours @ theirs)
    columns = np.asarray(confusion, np.float64).sum(axis=0)
    spread = (total**2 - float(ours @ ours)) * (total**2 - float(columns @ columns))
    agreement = correct * total - chance
    present = ours > 0
    return {
        "mean_dice": mean(dice[np.asarray(labels) != 0]),
        "mean_iou": mean(iou),
        "pixel_accuracy": float(_ratio(correct, total)),
        "mean_pixel_accuracy": mean(_ratio(hits, ours)),
        "frequency_weighted_iou": float(_ratio(ours[present] @ iou[present], total)),
        "kappa": float(_ratio(agreement, total**2 - chance)),
        "mcc": float(_ratio(agreement, np.sqrt(spread))),
    }


def mean(values: NDArray[np.float64]) -> float:
    """Mean of what is not nan; nan if nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def by_label(values: NDArray[Any], labels: Sequence[int]) -> dict[str, float]:
    return {str(label): float(value) for label, value in zip(labels, values, strict=True)}


def _counts(confusion: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], float]:
    """Return hits, voxels in the reference and in the prediction per class, and all voxels."""
    table = np.asarray(confusion, np.float64)
    theirs = table.sum(axis=0)[: len(table)]
    return np.diagonal(table), table.sum(axis=1), theirs, float(table.sum())


def _ratio(above: Any, below: Any) -> NDArray[np.float64]:
    """Divide; nan where both or the divisor are 0."""
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    ratio = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=ratio, where=below != 0)
    return ratio
