"""Objects that nobody has outlined, although the base finds them: not outlined yet."""

from __future__ import annotations

import time
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from ..inference import PredictOptions, prepare
from ..model import SegmentationModel
from ..preprocess import Normalization
from .adapt import adapt
from .data import IGNORE, TrainingImage, training_image
from .drawings import Drawn
from .job import Job

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

    Who outlines ten nuclei among a hundred does not say that the others are background. So
    where `finder` covers most of what is outlined, and finds more objects beside it, these
    count as not drawn. Where most of what it finds is outlined, the rest is background: it is
    wrong there.

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
    images, count, unseen = [], 0, 0
    for item in drawn.training:
        found = _find(finder, item, job, end)
        if found is None:
            unseen += 1
        else:
            others, outlined = not_outlined(item, found)
            if others.max() > outlined:
                item = _open(item, others > 0)
                count += int(others.max())
        images.append(item)
    return replace(drawn, training=images, open=count, unseen=unseen)


def _find(
    finder: SegmentationModel, item: TrainingImage, job: Job, end: float
) -> NDArray[np.integer] | None:
    """Return the objects in an image; None if the training was stopped or it is too late."""
    options = PredictOptions(output="instances", device=job.options.device)
    axes = "C" + "ZYX"[-item.target.ndim :]
    run = prepare(finder, item.image.numpy(), axes=axes, options=options)
    for _ in run.run():
        if job.stop() or time.monotonic() > end:
            return None
    return np.asarray(run.result)


def not_outlined(
    item: TrainingImage, found: NDArray[np.integer]
) -> tuple[NDArray[np.integer], int]:
    """Return the objects found that are not outlined, numbered from 1, and how many are.

    An object is outlined if most of it lies in outlines. If most of what is outlined is not
    found, nothing found counts.

    Parameters
    ----------
    item : TrainingImage
        Of the task "instances".
    found : ndarray of int, ([Z,] Y, X)
        Object numbers, 0 is background.
    """
    target = item.target.numpy()
    if np.count_nonzero(found[target == 1]) * 2 < np.count_nonzero(target == 1):
        return np.zeros_like(found), 0
    numbers, compact = np.unique(found, return_inverse=True)
    compact = compact.reshape(found.shape)
    inside = np.bincount(compact[target > 0], minlength=len(numbers))
    outlined = 2 * inside > np.bincount(compact.ravel())
    other = ~outlined & (numbers > 0)
    renumbered = np.where(other, np.cumsum(other), 0)
    return renumbered[compact], int((outlined & (numbers > 0)).sum())


def _open(item: TrainingImage, objects: NDArray[np.bool_]) -> TrainingImage:
    around = ndi.binary_dilation(objects, iterations=MARGIN)
    target = item.target.numpy().copy()
    target[around & (target == 0)] = IGNORE
    return training_image(item.image.numpy(), target)
