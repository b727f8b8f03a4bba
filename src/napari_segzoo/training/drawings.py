"""What is drawn on the training images, read again whenever it changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import find_layout
from ..errors import InputError
from ..model import ModelInfo
from .data import IGNORE, Labelling, TrainingImage, check_counts, count_labels, read_training_images
from .hold_out import crop_around_strokes, split
from .pairs import Pair

DENSE = 0.1
"""Share of drawn voxels from which on they say themselves where borders run."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn now.

    Parameters
    ----------
    training : sequence of TrainingImage
        Where patches come from.
    labelled_voxels : mapping of int to int
        Drawn voxels per label value.
    beyond : tuple of int
        Label values of classes that the network has no output for; they count as not drawn.
    held_out : sequence of TrainingImage
        Strokes that are not trained on, to score the model by.
    open : int
        Objects that are taken for not outlined yet; see `leave_open`.
    unseen : int
        Images in which nobody had the time to look for such objects.
    """

    training: Sequence[TrainingImage]
    labelled_voxels: Mapping[int, int]
    beyond: tuple[int, ...] = ()
    held_out: Sequence[TrainingImage] = ()
    open: int = 0
    unseen: int = 0

    @property
    def sparsity(self) -> float:
        """1 where hardly anything is drawn, falling to 0 at a share of `DENSE` of the voxels."""
        drawn = sum(len(voxels) for item in self.training for voxels in item.drawn.values())
        share = drawn / sum(item.target.numel() for item in self.training)
        return max(0.0, 1 - share / DENSE)

    def frequencies(self, classes: int) -> tuple[list[int], list[int]]:
        """Return for each class its drawn voxels, and all drawn voxels of the images with it."""
        counts, voxels = [0] * classes, [0] * classes
        for item in self.training:
            drawn = sum(map(len, item.drawn.values()))
            for c, where in item.drawn.items():
                counts[c] += len(where)
                voxels[c] += drawn
        return counts, voxels


def count_drawn(labels: Sequence[Any], labelling: Labelling) -> tuple[dict[int, int], int]:
    """Return the drawn voxels per label value in all images together, and the classes.

    Object numbers are counted together, as label 1.

    Raises
    ------
    InputError
        If too little is drawn, or the values are no labels.
    """
    counts: Counter[int] = Counter()
    for array in labels:
        counts.update(count_labels(array))
    classes = check_counts(counts, labelling)
    if labelling.task == "instances":
        return {1: sum(counts.values())}, classes
    return dict(sorted(counts.items())), classes


def check_scored(labels: Sequence[Any], labelling: Labelling, outputs: int) -> None:
    """Check labels that models are scored by.

    Raises
    ------
    InputError
        If they hold nothing, values that are no labels, or a class beyond those of a model
        with so many outputs.
    """
    counts: Counter[int] = Counter()
    for array in labels:
        counts.update(count_labels(array))
    if not counts:
        raise InputError("Nothing is drawn in the validation labels, so nothing can be scored.")
    highest = outputs - (labelling.unlabeled == "background")
    if labelling.task == "semantic" and max(counts) > highest:
        raise InputError(
            f"The validation labels hold {max(counts)}, but the training labels go up to {highest} "
            "only."
        )


class Drawings:
    """Reads images of a training around what is drawn on them.

    Parameters
    ----------
    pairs : sequence of Pair
        The images.
    info : ModelInfo
        The model to be trained.
    labelling : Labelling
        What the values of the labels mean.
    margin : sequence of int
        Voxels that are read around what is drawn, along each spatial axis.
    held_out : sequence of ndarray of int
        For each image, voxels that are not trained on, as indices into its flattened labels.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        info: ModelInfo,
        labelling: Labelling,
        margin: Sequence[int],
        held_out: Sequence[NDArray[np.intp]] = (),
    ) -> None:
        self._held_out = held_out
        self._images = [pair.image for pair in pairs]
        self._shapes = [tuple(int(n) for n in pair.labels.shape) for pair in pairs]
        self._layouts = [
            find_layout(i.shape, i.axes, ndim=info.ndim, in_channels=info.in_channels)
            for i in self._images
        ]
        self._intensities = [
            info.normalization.measure(image.data, layout.channel_axis)
            for image, layout in zip(self._images, self._layouts, strict=True)
        ]
        self._outputs = info.num_outputs
        self._labelling = labelling
        self._margin = margin

    def read(self, labels: Sequence[Any]) -> list[TrainingImage]:
        """Read the images around these labels, one array per image."""
        found = []
        for n, array in enumerate(labels):
            found += read_training_images(
                self._images[n].data,
                array,
                self._layouts[n],
                self._intensities[n],
                self._labelling,
                self._margin,
            )
        return found

    def take(self, labels: Sequence[Any]) -> Drawn:
        """Read the images around these labels, one array per image.

        Raises
        ------
        InputError
            If shapes differ from those at the beginning, or too little is drawn.
        """
        shapes = [tuple(int(n) for n in array.shape) for array in labels]
        if shapes != self._shapes:
            raise InputError(
                f"The labels now have the shapes {shapes}, but had {self._shapes} when the "
                "training began."
            )
        voxels, classes = count_drawn(labels, self._labelling)
        beyond: tuple[int, ...] = ()
        if self._labelling.task == "semantic" and classes > self._outputs:
            highest = self._outputs - (self._labelling.unlabeled == "background")
            beyond = tuple(value for value in voxels if value > highest)
        kept = {value: n for value, n in voxels.items() if value not in beyond}
        check_counts(kept, self._labelling)
        trained, apart = labels, []
        if self._held_out:
            parts = [split(a, v) for a, v in zip(labels, self._held_out, strict=True)]
            trained, apart = [rest for rest, _ in parts], [held for _, held in parts]
            count_drawn(trained, self._labelling)
        training, held_out = (
            [_without(item, self._outputs) for item in self.read(part)] if part else []
            for part in (trained, apart)
        )
        around = [n // 2 for n in self._margin]
        crops = [crop for item in held_out for crop in crop_around_strokes(item, around)]
        return Drawn(training, kept, beyond, crops)


def _without(item: TrainingImage, first: int) -> TrainingImage:
    """Take what is drawn of class `first` and of those above for not drawn."""
    if max(item.drawn, default=0) < first:
        return item
    target = item.target.clone()
    target[target >= first] = IGNORE
    return TrainingImage(item.image, target, {c: w for c, w in item.drawn.items() if c < first})
