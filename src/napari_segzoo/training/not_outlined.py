"""Objects that nobody has outlined, although the base finds them: not outlined yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from ..inference import PredictOptions, prepare
from ..model import SegmentationModel
from ..preprocess import Normalization
from .adapt import adapt
from .data import IGNORE, TrainingImage, count_objects, training_image
from .drawings import Drawn
from .job import Job
from .trust import TOLD_APART, area_under_curve

MARGIN = 2
"""Voxels around such an object of which nothing is known either."""
LONGEST = 0.25
"""Share of a budget of seconds after which the rest of the images is taken as it is."""


def make_finder(job: Job) -> SegmentationModel | None:
    """Return the base, for normalised images, if what it finds may not be outlined yet."""
    base = job.base
    if base is None or {base.info.task, job.options.task} != {"instances"}:
        return None
    if job.options.unlabeled == "background":
        return None
    as_it_is = Normalization("range", 0.0, 1.0)
    return adapt(base, replace(job.info, classes=base.info.classes, normalization=as_it_is))


def leave_open(drawn: Drawn, finder: SegmentationModel | None, job: Job) -> Drawn:
    """Take objects that are not outlined for unknown in images where few are.

    Who outlines ten nuclei among a hundred, or ten that were missed, does not say that the others
    are background. So if `finder` covers most of what is outlined in an image, or takes it for
    background less than it takes the rest, these are objects of its kind. Where it then finds more
    beside the outlined ones than these are, they count as not drawn. Where most of what it finds is
    outlined, the rest is background: it is wrong there.

    Parameters
    ----------
    drawn : Drawn
        What is drawn now.
    finder : SegmentationModel or None
        See `make_finder`; None leaves all as it is.
    job : Job
        The training.

    Returns
    -------
    Drawn
        With the number of such objects in `open`, and of images that time did not allow for in
        `unseen`.
    """
    if finder is None:
        return drawn
    end = time.monotonic() + LONGEST * (job.options.budget or inf)
    seen = [(item, _run(finder, item, job, end, "instances")) for item in drawn.training]
    unseen = sum(found is None for _, found in seen)
    alike = _are_alike(finder, seen, job, end)
    if not alike:
        return replace(drawn, unseen=len(seen) if alike is None else unseen)
    images, count = [], 0
    for item, found in seen:
        others = None if found is None else not_outlined(item, found)
        if others is not None and others.max() > count_objects(item):
            item = _open(item, others > 0)
            count += int(others.max())
        images.append(item)
    return replace(drawn, training=images, open=count, unseen=unseen)


def _run(
    finder: SegmentationModel, item: TrainingImage, job: Job, end: float, output: str
) -> NDArray[Any] | None:
    """Return what is found in an image; None if the training was stopped or it is too late."""
    options = PredictOptions(output=output, device=job.options.device)
    axes = "C" + "ZYX"[-item.target.ndim :]
    run = prepare(finder, item.image.numpy(), axes=axes, options=options)
    for _ in run.run():
        if job.stop() or time.monotonic() > end:
            return None
    return np.asarray(run.result)


def _are_alike(
    finder: SegmentationModel,
    seen: Sequence[tuple[TrainingImage, NDArray[Any] | None]],
    job: Job,
    end: float,
) -> bool | None:
    """Whether outlined objects are of the kind that is found, in one of the images at least.

    None if it is too late to tell.
    """
    looked_at = [(item, item.target.numpy(), found) for item, found in seen if found is not None]
    for _, target, found in looked_at:
        if 2 * np.count_nonzero(found[target == 1]) >= np.count_nonzero(target == 1):
            return True
    for item, target, found in looked_at:
        probabilities = _run(finder, item, job, end, "probabilities")
        if probabilities is None:
            return None
        asked = (target > 0) | (found == 0)
        if area_under_curve(1 - probabilities[0][asked], target[asked] > 0) >= TOLD_APART:
            return True
    return False


def not_outlined(item: TrainingImage, found: NDArray[Any]) -> NDArray[Any]:
    """Return the objects found that are not outlined, numbered from 1.

    An object is outlined if most of it lies in outlines.

    Parameters
    ----------
    item : TrainingImage
        Of the task "instances".
    found : ndarray of int, ([Z,] Y, X)
        Object numbers, 0 is background.
    """
    target = item.target.numpy()
    numbers, compact = np.unique(found, return_inverse=True)
    compact = compact.reshape(found.shape)
    inside = np.bincount(compact[target > 0], minlength=len(numbers))
    other = (2 * inside <= np.bincount(compact.ravel())) & (numbers > 0)
    renumbered = np.where(other, np.cumsum(other), 0)
    return renumbered[compact]


def _open(item: TrainingImage, objects: NDArray[np.bool_]) -> TrainingImage:
    around = ndi.binary_dilation(objects, iterations=MARGIN)
    target = item.target.numpy().copy()
    target[around & (target == 0)] = IGNORE
    return training_image(item.image.numpy(), target)
