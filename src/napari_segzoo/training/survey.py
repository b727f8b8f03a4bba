"""One look at all training data: classes, channels, dimensions, and whether all of it fits."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import Layout, find_layout
from ..errors import InputError
from ..io import Image, open_image
from .data import IGNORE, MOST_CLASSES
from .dataset import Dataset, Sample
from .scans import are_body_scans

READERS = 4
HIGHEST_CLASS = 999


@dataclass(frozen=True)
class Labels:
    """What the values of label files mean.

    Parameters
    ----------
    ignore : int
        Value of voxels that do not count.
    binary : bool
        Whether the files hold 0 and 255 only: background and object.
    """

    ignore: int = 255
    binary: bool = False

    def to_target(self, values: NDArray[Any]) -> NDArray[np.int16]:
        """Turn label values into classes 0, 1, ... and `IGNORE`."""
        if self.binary:
            return np.asarray(values != 0, np.int16)
        target: NDArray[np.int16] = values.astype(np.int16)
        target[values == self.ignore] = IGNORE
        return target


@dataclass(frozen=True)
class Survey:
    """What training data hold.

    Parameters
    ----------
    ndim, in_channels : int
        Spatial dimensions of the model and channels of the images.
    counts : tuple of int
        Voxels of each class in the training images.
    voxels : tuple of int
        Voxels of any class in those training images that hold each class.
    labels : Labels
        What the values mean.
    shapes : tuple of (leading, spatial)
        Shape of each training image along the axes before those of the model, and along them.
    voxel_size : tuple of float or None
        Of the first image, along the axes of the model, in `unit`.
    unit : str
        Of length.
    axes : str or None
        Axes of the images where they do not tell.
    body_scans : bool
        Whether all are scans of a body.
    """

    ndim: int
    in_channels: int
    counts: tuple[int, ...]
    voxels: tuple[int, ...]
    labels: Labels
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    voxel_size: tuple[float, ...] | None
    unit: str
    axes: str | None
    body_scans: bool


@dataclass(frozen=True)
class _Found:
    image: Image
    counts: NDArray[np.int64]
    shape: tuple[int, ...]


def survey(
    dataset: Dataset, *, ndim: int | None = None, axes: str | None = None, ignore: int = 255
) -> Survey:
    """Read all labels and the shapes of all images.

    Parameters
    ----------
    dataset : Dataset
        What to read.
    ndim : {2, 3}, optional
        Spatial dimensions of the model: by default 3 if an image has slices.
    axes : str, optional
        Axes of the images where they do not tell.
    ignore : int
        Label of voxels that do not count, any whole number. Files with 0 and 255 alone are
        masks, however: there 255 is the object.

    Raises
    ------
    InputError
        If a file cannot be read, labels are no whole numbers from 0 up, do not have the shape
        of their image, or hold a class without a name, or if the images are not of one kind.
    """
    samples = (*dataset.training, *dataset.validation)
    look = partial(_look, channels=dataset.channels, axes=axes, ignore=ignore)
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(look, samples))
    ndim = ndim or (
        3 if any("Z" in f.image.axes and _length(f.image, "Z") > 1 for f in found) else 2
    )
    in_channels = max(_length(f.image, "C") for f in found)
    layouts = [
        _match(sample, f, ndim, in_channels) for sample, f in zip(samples, found, strict=True)
    ]
    used = {int(n) for f in found for n in np.flatnonzero(f.counts)}
    labels = Labels(ignore, binary=used == {0, 255} and ignore == 255)
    tables = [_class_counts(f.counts, labels) for f in found]
    num_classes = _count_classes(dataset, samples, tables)
    training = tables[: len(dataset.training)]
    counts = np.stack([np.pad(t, (0, num_classes))[:num_classes] for t in training])
    first = found[0].image
    return Survey(
        ndim,
        in_channels,
        tuple(counts.sum(0).tolist()),
        tuple((counts.sum(1) @ (counts > 0)).tolist()),
        labels,
        tuple((a.leading_shape, a.spatial_shape) for a in layouts[: len(dataset.training)]),
        first.voxel_size[-ndim:] if len(first.voxel_size) >= ndim else None,
        first.unit,
        axes,
        are_body_scans((f.image for f in found), ndim),
    )


def open_sample(sample: Sample, channels: int | None, axes: str | None) -> Image:
    """Open the image of a sample with its axes.

    NIfTI calls a fourth axis time, which holds the channels where `channels` says so.
    """
    image = open_image(sample.image)
    if axes:
        return image.with_axes(axes)
    if channels and channels > 1 and image.axes == "TZYX" and image.shape[0] == channels:
        return image.with_axes("CZYX")
    if not image.axes:
        raise InputError(
            f"{sample.image} has the shape {image.shape} and does not name its axes; name them, "
            "one letter of T, C, Z, Y, X per dimension, with axes."
        )
    return image


def read_values(sample: Sample, ignore: int) -> NDArray[np.int16]:
    """Read a label file as whole numbers; `ignore` becomes `IGNORE` if it is too large or below 0.

    Raises
    ------
    InputError
        If it holds anything else, or numbers of objects.
    """
    values = np.asarray(open_image(sample.labels, labels=True).data[...])
    counted = values != ignore
    lowest, highest = (int(f(values, where=counted, initial=0)) for f in (np.min, np.max))
    if lowest < 0 or highest > HIGHEST_CLASS:
        wrong = lowest if lowest < 0 else highest
        raise InputError(
            f"{sample.labels} holds the label {wrong}; classes are 0, 1, 2, ... up to "
            f"{HIGHEST_CLASS}, not numbers of objects."
        )
    if not 0 <= ignore <= HIGHEST_CLASS:
        values = np.where(counted, values, IGNORE)
    return values.astype(np.int16, copy=False)


def _look(sample: Sample, channels: int | None, axes: str | None, ignore: int) -> _Found:
    values = read_values(sample, ignore)
    counts = np.bincount(values[values >= 0])
    return _Found(open_sample(sample, channels, axes), counts, values.shape)


def _length(image: Image, letter: str) -> int:
    return image.shape[image.axes.index(letter)] if letter in image.axes else 1


def _match(sample: Sample, found: _Found, ndim: int, in_channels: int) -> Layout:
    image = found.image
    try:
        layout = find_layout(image.shape, image.axes, ndim=ndim, in_channels=in_channels)
    except InputError as error:
        raise InputError(f"{sample.image}: {error}") from error
    if found.shape != layout.label_shape:
        raise InputError(
            f"{sample.labels} has the shape {found.shape}, but its image {sample.image} needs "
            f"labels of the shape {layout.label_shape}."
        )
    return layout


def _class_counts(values: NDArray[np.int64], labels: Labels) -> NDArray[np.int64]:
    """Voxels per class from voxels per value, as `Labels.to_target` turns one into the other."""
    if labels.binary:
        return np.array([values[0], values[1:].sum()])
    counts = values.copy()
    if 0 <= labels.ignore < len(counts):
        counts[labels.ignore] = 0
    return np.trim_zeros(counts, "b")


def _count_classes(
    dataset: Dataset, samples: Sequence[Sample], tables: Sequence[NDArray[np.int64]]
) -> int:
    named = len(dataset.class_names)
    largest = max(range(len(tables)), key=lambda n: len(tables[n]))
    highest = len(tables[largest]) - 1
    if named and highest >= named:
        raise InputError(
            f"{samples[largest].labels} holds the label {highest}, but the {named} named classes "
            f"are 0 to {named - 1}."
        )
    if highest >= MOST_CLASSES and not named:
        raise InputError(
            f"The labels in {dataset.folder} go up to {highest}, which looks like object numbers; "
            "name them in a file classes.txt, one a line, if these are classes, or fine-tune with "
            "the task instances."
        )
    if highest < 1:
        raise InputError(
            f"The labels in {dataset.folder} hold nothing but background; at least two classes "
            "are needed."
        )
    return max(named, highest + 1)
