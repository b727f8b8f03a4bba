"""Compare a prediction with a reference: the scores of both tasks from one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError
from . import overlap
from .blocks import axis_spacing, check_ignore, check_task, label_pair
from .centreline import cl_dice
from .contingency import Contingency
from .instances import matching_scores, objects
from .object_table import object_scores
from .report import Report
from .scan import Progress, Scan, scan
from .soft import SoftScores, soft_scores
from .surface_scores import SURFACE_SCORES, scores_by_label

MOST_CLASSES = 1024
Tolerance = float | Mapping[int, float] | None


def evaluate(
    reference: Any,
    prediction: Any,
    *,
    spacing: Sequence[float] | float | None = None,
    task: str = "semantic",
    ignore: int | None = None,
    class_names: Sequence[str] | Mapping[int, str] | None = None,
    tolerance: Tolerance = None,
    surfaces: bool = True,
    centreline: bool = False,
    probabilities: Any = None,
    per_slice: bool = False,
    axis: int = 0,
    progress: Progress | None = None,
    preview: Callable[[Report], object] | None = None,
) -> Report:
    """Score a predicted label image against a reference.

    Parameters
    ----------
    reference, prediction : array-like of int or bool
        Label images of one shape; 0 is background. NumPy, Zarr, Dask, memory maps and all
        else with `shape`, `dtype` and slicing are read once, block by block. The last three
        axes are space, axes before them are frames.
    spacing : sequence of float, float or None
        Voxel size along every axis, in the unit distances and volumes shall have; 1 if None.
    task : {"semantic", "instances"}
        Whether labels are classes or single objects.
    ignore : int or None
        Voxels with this label in the reference are left out. For surfaces they lie outside
        of every class in both images. Elsewhere, where it is predicted, the class of the
        reference is missed. A predicted object of which more than half is left out counts only
        if it is matched.
    class_names : sequence or mapping of int to str, optional
        Names of the labels, for tables.
    tolerance : float, mapping of int to float, or None
        Distance up to which normalised surface Dice counts a border voxel as right, for all
        classes or by label; None is the largest spacing along an axis with more than one
        voxel, that is, an error of one voxel in any direction.
    surfaces : bool
        Take surface distances (for instances: of the matched objects).
    centreline : bool
        Take centreline Dice; loads one frame of each class into memory at a time.
    probabilities : array-like of float, optional
        Also score these, see `soft_scores` (semantic only).
    per_slice : bool
        Also score every index along `axis` (semantic only).
    axis : int
        Axis of the slices.
    progress : callable or None
        Called with (steps done, steps in all) as the work goes on; what it raises cancels.
    preview : callable or None
        Called, at most twice a second, with a report on the part that was read so far: overlap
        scores, or for instances those of one-to-one matching.

    Returns
    -------
    Report
        A mapping. Semantic: per-class dictionaries "dice", "iou", "precision", "recall",
        "specificity", "volume_similarity", volumes, and (without background) "hd", "hd95",
        "hd95_pooled", "assd", "masd", "nsd"; means of `overlap.overall_scores`; "confusion"
        (rows = reference) and "labels"; with probabilities "cross_entropy", "brier",
        "calibration_error" and the bins of "calibration". Instances: `instances.matching_scores`,
        `instances.overlap_scores`, `instances.clustering_scores`, "splits", "merges",
        "boundary_distance".

    Raises
    ------
    InputError
        If shapes differ, values are no labels, or an option does not fit.

    Notes
    -----
    Classes absent in both images score nan and are left out of means. A class absent in one
    has a Dice and IoU of 0, infinite distances and a surface Dice of 0. `mean_dice` leaves
    background out; `mean_iou`, `mean_pixel_accuracy` and `frequency_weighted_iou` count it.
    Definitions and sources are in docs/metrics.md (Maier-Hein et al., Metrics reloaded,
    Nature Methods 2024).
    """
    check_task(task)
    reference, prediction = label_pair(reference, prediction)
    shape = tuple(int(n) for n in reference.shape)
    steps, ignore = axis_spacing(spacing, len(shape)), check_ignore(ignore)
    if task == "instances" and (per_slice or probabilities is not None):
        raise InputError(
            "per_slice and probabilities score classes; with task 'instances' leave them out."
        )
    if not -len(shape) <= axis < len(shape):
        raise InputError(f"axis is {axis}, but the label images have {len(shape)} axes.")
    settings: dict[str, Any] = {
        "napari-segzoo": __version__,
        "task": task,
        "shape": shape,
        "spacing": steps,
        "ignore": ignore,
    }

    def show(counts: Contingency) -> None:
        assert preview is not None
        preview(_preview(task, counts, {**settings, "preview": True}, class_names))

    found = scan(
        reference,
        prediction,
        ignore=ignore,
        borders=surfaces,
        axis=axis % len(shape) if per_slice else None,
        progress=progress,
        preview=None if preview is None else show,
    )
    if task == "instances":
        values, rows = object_scores(found, shape, steps)
        return Report(task, values, settings, objects=rows)

    labels = _class_labels(found.contingency, ignore)
    confusion = found.contingency.dense(labels)
    values = {
        **overlap.class_scores(confusion, labels),
        **overlap.class_volumes(confusion, labels, prod(steps)),
        **overlap.overall_scores(confusion, labels),
    }
    positions: dict[int, tuple[int, ...]] = {}
    if surfaces:
        limits = _tolerances(tolerance, labels, shape, steps)
        settings["tolerance"] = tolerance if tolerance is not None else _one_voxel(shape, steps)
        tables, positions = _surfaces(found, labels, shape, steps, limits)
        values.update(tables)
    if centreline:
        values["cl_dice"] = {
            str(label): cl_dice(reference, prediction, label=label, ignore=ignore)
            for label in labels
            if label != 0
        }
    if probabilities is not None:
        values.update(_soft(soft_scores(reference, probabilities, ignore=ignore)))
    values["confusion"] = confusion[:, : len(labels)].tolist()
    values["labels"] = labels
    if per_slice:
        values["per_slice"] = slice_scores(found.slices, labels)
        settings["slice axis"] = axis % len(shape)
    return Report(task, values, settings, _names(class_names, labels), positions=positions)


def per_slice(
    reference: Any, prediction: Any, axis: int = 0, *, ignore: int | None = None
) -> dict[str, dict[str, list[float]]]:
    """Dice and IoU of every class in every slice.

    Parameters
    ----------
    reference, prediction, ignore
        As for `evaluate`.
    axis : int
        Axis along which the slices lie.

    Returns
    -------
    dict
        {"dice": {label: [one number per slice]}, "iou": {...}}; nan in slices where neither
        image has the class.
    """
    values = evaluate(
        reference, prediction, ignore=ignore, surfaces=False, per_slice=True, axis=axis
    )
    scores: dict[str, dict[str, list[float]]] = values["per_slice"]
    return scores


def slice_scores(
    slices: Mapping[int, Contingency], labels: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    """Score the contingency of each slice; see `per_slice`."""
    scores = [overlap.class_scores(table.dense(labels), labels) for table in slices.values()]
    return {
        name: {str(label): [s[name][str(label)] for s in scores] for label in labels}
        for name in ("dice", "iou")
    }


def _soft(found: SoftScores) -> dict[str, Any]:
    bins = zip(found.confidence, found.accuracy, found.voxels, strict=True)
    return {
        "cross_entropy": found.cross_entropy,
        "brier": found.brier,
        "calibration_error": found.calibration_error,
        "calibration": [{"confidence": c, "accuracy": a, "voxels": n} for c, a, n in bins],
    }


def _class_labels(counts: Contingency, ignore: int | None) -> list[int]:
    labels = counts.labels(ignore)
    if len(labels) > MOST_CLASSES:
        raise InputError(
            f"The label images hold {len(labels)} different labels, which looks like single "
            "objects; compare them as separate objects (task 'instances')."
        )
    return labels


def _preview(
    task: str,
    counts: Contingency,
    settings: dict[str, Any],
    class_names: Sequence[str] | Mapping[int, str] | None,
) -> Report:
    """Report what can be told from the counts of a part of the images."""
    if task == "instances":
        return Report(task, dict(matching_scores(objects(counts))), settings)
    labels = _class_labels(counts, settings["ignore"])
    confusion = counts.dense(labels)
    values = {
        **overlap.class_scores(confusion, labels),
        **overlap.overall_scores(confusion, labels),
    }
    return Report(task, values, settings, _names(class_names, labels))


def _surfaces(
    found: Scan,
    labels: Sequence[int],
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    tolerance: Mapping[int, float],
) -> tuple[overlap.Scores, dict[int, tuple[int, ...]]]:
    """Return one table per surface score, and where each class errs most."""
    assert found.reference is not None and found.prediction is not None
    classes = [label for label in labels if label != 0]
    scores = scores_by_label(found.reference, found.prediction, classes, shape, spacing, tolerance)
    tables = {
        name: {str(label): float(getattr(score, name)) for label, score in scores.items()}
        for name in SURFACE_SCORES
    }
    positions = {
        label: tuple(int(v) for v in np.unravel_index(score.farthest, shape))
        for label, score in scores.items()
        if score.farthest is not None
    }
    return tables, positions


def _one_voxel(shape: Sequence[int], spacing: Sequence[float]) -> float:
    sides = zip(shape[-3:], spacing[-3:], strict=True)
    return max((s for n, s in sides if n > 1), default=spacing[-1])


def _tolerances(
    tolerance: Tolerance,
    labels: Sequence[int],
    shape: Sequence[int],
    spacing: Sequence[float],
) -> dict[int, float]:
    """Return the tolerance of each label."""
    usual = _one_voxel(shape, spacing)
    if isinstance(tolerance, Mapping):
        limits = {label: float(tolerance.get(label, usual)) for label in labels}
    else:
        limits = dict.fromkeys(labels, usual if tolerance is None else float(tolerance))
    if not all(value >= 0 for value in limits.values()):
        raise InputError(f"tolerance must be 0 or a positive distance, not {tolerance}.")
    return limits


def _names(
    names: Sequence[str] | Mapping[int, str] | None, labels: Sequence[int]
) -> dict[int, str]:
    if names is None:
        return {}
    known = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    return {label: known[label] for label in labels if label in known}
