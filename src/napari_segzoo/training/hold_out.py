"""Strokes set apart from a training, so that it can be scored on what it has not seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .data import IGNORE, TrainingImage, training_image


@dataclass(frozen=True)
class Stroke:
    """Connected voxels of one class.

    Parameters
    ----------
    image : int
        Which of the images.
    voxels : ndarray of int, (N,)
        Indices into its flattened labels.
    """

    image: int
    voxels: NDArray[np.intp]


def find_separate_strokes(labels: Sequence[Any]) -> dict[int, list[Stroke]]:
    """Return the strokes of each label value above 0, in all images together.

    Voxels that share a corner belong to one stroke, along time and slices as well.

    Parameters
    ----------
    labels : sequence of array-like of int
        0 where nothing is drawn.
    """
    found: defaultdict[int, list[Stroke]] = defaultdict(list)
    for n, array in enumerate(map(np.asarray, labels)):
        touching = np.ones((3,) * array.ndim, bool)
        for value, box in enumerate(ndi.find_objects(array), start=1):
            if box is None:
                continue
            numbered, _ = ndi.label(array[box] == value, touching)
            corner = [part.start for part in box]
            for where in ndi.value_indices(numbered, ignore_value=0).values():
                at = tuple(i + c for i, c in zip(where, corner, strict=True))
                found[value].append(Stroke(n, np.ravel_multi_index(at, array.shape)))
    return dict(sorted(found.items()))


def needed_strokes(share: float) -> int:
    """Return how many strokes a class needs for at least one, but no more than `share`, to go."""
    return ceil(1 / share)


def explain_too_few(strokes: Mapping[int, Sequence[Stroke]], share: float) -> str | None:
    """Return a sentence on the classes with too few strokes to hold some out; None if all do."""
    needed = needed_strokes(share)
    few = [f"label {value} has {len(s)}" for value, s in strokes.items() if len(s) < needed]
    if not few:
        return None
    listed = ", ".join(few[:-1]) + " and " * (len(few) > 1) + few[-1]
    return (
        f"Nothing is held out for a score: a share of {share:g} needs {needed} separate strokes "
        f"of each class, but {listed}; everything that is drawn is trained on."
    )


def choose_strokes(
    strokes: Mapping[int, Sequence[Stroke]], share: float, images: int, seed: int
) -> list[NDArray[np.intp]]:
    """Choose a share of the strokes of each class by lot, but never its largest.

    Each stroke draws its lot by where it begins, so that those chosen remain so, as far as the
    share allows, when more are drawn: a model that is trained further has not seen them before.

    Parameters
    ----------
    strokes : mapping of int to sequence of Stroke
        At least `needed_strokes` for each class.
    share : float
        In (0, 0.5]; the number of strokes is rounded down.
    images : int
        Number of images.
    seed : int
        Of the lots.

    Returns
    -------
    list of ndarray of int
        For each image, the voxels of the strokes chosen, as indices into its flattened labels.
    """
    chosen: list[list[NDArray[np.intp]]] = [[] for _ in range(images)]

    def lot(stroke: Stroke) -> float:
        return float(np.random.default_rng((seed, stroke.image, stroke.voxels.min())).random())

    for ones in strokes.values():
        *others, _ = sorted(ones, key=lambda stroke: len(stroke.voxels))
        for stroke in sorted(others, key=lot)[: max(1, int(share * len(ones)))]:
            chosen[stroke.image].append(stroke.voxels)
    return [np.concatenate([np.empty(0, np.intp), *voxels]) for voxels in chosen]


def split(labels: Any, voxels: NDArray[np.intp]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return labels without some voxels, and labels with nothing but these.

    Parameters
    ----------
    labels : array-like of int
    voxels : ndarray of int, (N,)
        Indices into the flattened labels.
    """
    rest = np.array(labels)
    apart = np.zeros_like(rest)
    apart.flat[voxels] = rest.flat[voxels]
    rest.flat[voxels] = 0
    return rest, apart


def crop_around_strokes(item: TrainingImage, margin: Sequence[int]) -> list[TrainingImage]:
    """Cut an image to the surroundings of each stroke, where that leaves less to look at.

    Parameters
    ----------
    item : TrainingImage
        With the strokes alone in its target.
    margin : sequence of int
        Voxels that are kept around a stroke, along each spatial axis.
    """
    target = item.target.numpy()
    numbered, _ = ndi.label(target != IGNORE, np.ones((3,) * target.ndim, bool))
    crops = []
    for n, box in enumerate(ndi.find_objects(numbered), start=1):
        around = tuple(
            slice(max(0, part.start - m), part.stop + m)
            for part, m in zip(box, margin, strict=True)
        )
        stroke = np.where(numbered[around] == n, target[around], IGNORE).astype(target.dtype)
        crops.append(training_image(item.image[(slice(None), *around)].numpy(), stroke))
    return crops if sum(c.target.numel() for c in crops) < item.target.numel() else [item]
