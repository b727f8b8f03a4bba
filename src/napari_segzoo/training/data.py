"""Drawn labels and their images, read into memory around what is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..axes import Layout
from ..errors import InputError
from ..preprocess import Intensity

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = -1
MOST_CLASSES = 64
BORDER, THICKEST = 0.4, 4.0
LARGEST_CROP = 1 << 28
"""Voxels times channels of one training image that are held in memory (1 GiB)."""


@dataclass(frozen=True)
class TrainingImage:
    """One image with drawn labels.

    Parameters
    ----------
    image : Tensor of float32, (C, [Z,] Y, X)
        Normalised intensities.
    target : Tensor of int8, ([Z,] Y, X)
        Class of each voxel, `IGNORE` where nothing is known.
    drawn : mapping of int to int32 ndarray (N,)
        Drawn voxels of each class, as indices into the flattened target.
    guess : Tensor of float32, (K, [Z,] Y, X), optional
        Class probabilities, 0 where nobody has looked.
    """

    image: Tensor
    target: Tensor
    drawn: Mapping[int, NDArray[np.int32]]
    guess: Tensor | None = None


@dataclass(frozen=True)
class Labelling:
    """What the values of a labels image mean.

    Parameters
    ----------
    task : {"semantic", "instances"}
        Classes, or object ids (0 is background).
    unlabeled : {"ignore", "background"}
        Whether 0 means "not drawn" (then class 1 is the background) or background. Object
        ids take 0 as background; of "ignore" see `leave_open`.
    """

    task: str = "semantic"
    unlabeled: str = "ignore"

    def __post_init__(self) -> None:
        if self.task not in ("semantic", "instances"):
            raise InputError(f"task must be semantic or instances, not {self.task!r}.")
        if self.unlabeled not in ("ignore", "background"):
            raise InputError(f"unlabeled must be ignore or background, not {self.unlabeled!r}.")

    @property
    def sparse(self) -> bool:
        """Whether nothing is known of what is not drawn."""
        return (self.task, self.unlabeled) == ("semantic", "ignore")

    def to_target(self, labels: NDArray[Any]) -> NDArray[np.int8]:
        """Turn a labels image into classes 0, 1, ... and `IGNORE`."""
        if self.task == "instances":
            return interior_and_border(labels)
        return (labels.astype(np.int16) - (self.unlabeled == "ignore")).astype(np.int8)


def interior_and_border(ids: NDArray[Any]) -> NDArray[np.int8]:
    """Turn object ids into 0 background, 1 interior, 2 border.

    The border is as thick as `BORDER` of the object's depth, at least one voxel and at most
    `THICKEST`: a seam between touching objects that survives a few wrong voxels, and leaves
    every object an interior.
    """
    from scipy import ndimage as ndi
    from skimage.segmentation import find_boundaries

    numbers, compact = np.unique(ids, return_inverse=True)
    compact = compact.reshape(ids.shape)
    outermost = find_boundaries(compact, mode="inner", connectivity=ids.ndim)
    if not outermost.any():
        return np.where(ids == 0, 0, 1).astype(np.int8)
    depth = ndi.distance_transform_edt(~outermost)
    deepest = np.asarray(ndi.maximum(depth, compact, range(len(numbers))))
    thickness = np.minimum(np.clip(BORDER * deepest, 1, THICKEST), deepest)
    border = depth < thickness[compact]
    return np.where(ids == 0, 0, np.where(border, 2, 1)).astype(np.int8)


WHAT_TO_DRAW = {
    "semantic": "paint some voxels of each class, 1 for the background and 2, 3, ... for what you "
    "look for.",
    "instances": "paint some objects, each as a whole and with a number of its own.",
}


def count_labels(labels: Any) -> dict[int, int]:
    """Count the voxels of each value above 0.

    Raises
    ------
    InputError
        If the labels are not whole numbers from 0 up.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise InputError(f"Labels must be whole numbers, but these are {array.dtype}.")
    values, counts = np.unique(array, return_counts=True)
    if values.size and values[0] < 0:
        raise InputError(f"Labels must be 0 or more, but {values[0]} was found.")
    return {int(v): int(n) for v, n in zip(values, counts, strict=True) if v > 0}


def check_counts(counts: Mapping[int, int], labelling: Labelling) -> int:
    """Check what is drawn in all images together and return the number of classes.

    Raises
    ------
    InputError
        If nothing, or one class only, is drawn, or the values look like object ids.
    """
    if not counts:
        raise InputError(f"Nothing is drawn in the labels: {WHAT_TO_DRAW[labelling.task]}")
    if labelling.task == "instances":
        return 2
    most = max(counts)
    if most > MOST_CLASSES:
        raise InputError(
            f"The labels go up to {most}, which looks like object numbers; use the task instances "
            f"(Find: Separate objects), or at most {MOST_CLASSES} classes."
        )
    if labelling.unlabeled == "background":
        return most + 1
    if len(counts) < 2:
        (only,) = counts
        raise InputError(
            f"Only label {only} is drawn; paint at least two, 1 for the background and 2, 3, ... "
            "for what you look for."
        )
    return most


def read_training_images(
    image: Any,
    labels: Any,
    layout: Layout,
    intensity: Intensity,
    labelling: Labelling,
    margin: Sequence[int],
) -> list[TrainingImage]:
    """Read one image wherever something is drawn.

    Each time point (and slice, for a 2D model) with drawn voxels becomes one training
    image, cut to the drawn voxels plus `margin` voxels along each spatial axis. Where 0 is the
    background by choice, all of them are taken whole: what holds nothing is an example, too.
    """
    found = []
    for leading in np.ndindex(*layout.leading_shape):
        plane = np.asarray(labels[leading])
        dense = labelling.unlabeled == "background"
        if not dense and not plane.any():
            continue
        box = _whole(plane) if dense else _box(plane, margin)
        voxels = int(np.prod([s.stop - s.start for s in box])) * layout.in_channels
        if voxels > LARGEST_CROP:
            raise InputError(
                f"The drawn region spans {voxels / 1e6:.0f} million values, too many to train on; "
                "draw in a smaller region, or crop the image first."
            )
        block = intensity.apply(layout.read(image, leading, box))
        found.append(training_image(block, labelling.to_target(plane[box])))
    return found


def training_image(block: NDArray[np.float32], target: NDArray[np.int8]) -> TrainingImage:
    """Make a training image of intensities (C, [Z,] Y, X) and classes ([Z,] Y, X)."""
    import torch

    flat = target.ravel()
    known = (int(c) for c in np.unique(flat) if c != IGNORE)
    drawn = {c: np.flatnonzero(flat == c).astype(np.int32) for c in known}
    return TrainingImage(torch.from_numpy(block.copy()), torch.from_numpy(target.copy()), drawn)


def count_objects(item: TrainingImage) -> int:
    """Count the connected interiors in the target of the task "instances"."""
    from scipy import ndimage as ndi

    return int(ndi.label(item.target.numpy() == 1)[1])


def _box(plane: NDArray[Any], margin: Sequence[int]) -> tuple[slice, ...]:
    box = []
    for axis, (size, extra) in enumerate(zip(plane.shape, margin, strict=True)):
        others = tuple(a for a in range(plane.ndim) if a != axis)
        where = np.flatnonzero(plane.any(axis=others))
        box.append(slice(max(0, int(where[0]) - extra), min(size, int(where[-1]) + 1 + extra)))
    return tuple(box)


def _whole(plane: NDArray[Any]) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in plane.shape)
