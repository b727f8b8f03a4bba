"""Images in pairs with their labels, before either is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..io import Image, open_image


@dataclass(frozen=True)
class Pair:
    """An image with its labels, before either is read.

    Parameters
    ----------
    image : Image
        With its axes, which are never "".
    labels : array-like of int
        Same axes without C.
    """

    image: Image
    labels: Any

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.labels.shape)
        axes = self.image.axes
        needed = tuple(n for a, n in zip(axes, self.image.shape, strict=True) if a != "C")
        if shape != needed:
            raise InputError(
                f"The labels have shape {shape}, but the image of shape {self.image.shape} "
                f"({axes}) needs labels of shape {needed}."
            )

    @property
    def channels(self) -> int:
        """Number of channels."""
        axes = self.image.axes
        return self.image.shape[axes.index("C")] if "C" in axes else 1


def pair_up(images: Any, labels: Any, axes: str | None) -> list[Pair]:
    many = isinstance(images, (list, tuple))
    if many != isinstance(labels, (list, tuple)) or (many and len(images) != len(labels)):
        raise InputError("Give as many labels as images, in pairs.")
    pairs = zip(images, labels, strict=True) if many else [(images, labels)]
    found = [_make_pair(image, label, axes) for image, label in pairs]
    if not found:
        raise InputError("No training image was given; give at least one, with its labels.")
    return found


def _make_pair(image: Any, labels: Any, axes: str | None) -> Pair:
    if isinstance(image, (str, os.PathLike)):
        image = open_image(image, axes=axes)
    if isinstance(labels, (str, os.PathLike)):
        labels = open_image(labels, labels=True)
    drawn = labels.data if isinstance(labels, Image) else labels
    if not isinstance(image, Image):
        image = Image(image)
    if not image.axes:
        image = image.with_axes(axes or _axes_by_labels(image.shape, tuple(drawn.shape)))
    return Pair(image, drawn)


def _axes_by_labels(image: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """Name axes that nobody named: labels tell which one is C, the others are the last of TZYX."""
    spatial = "TZYX"[-len(labels) :]
    readings = {
        spatial: image == labels,
        "C" + spatial: image[1:] == labels,
        spatial + "C": image[:-1] == labels,
    }
    fitting = [axes for axes, fits in readings.items() if fits]
    if len(labels) not in (2, 3, 4) or not fitting:
        raise InputError(
            f"The labels have shape {labels}, which does not fit the image of shape {image}: "
            "they need the same size along every axis but the channels."
        )
    if len(fitting) > 1:
        raise InputError(
            f"The image of shape {image} can be read as {' or '.join(fitting)}; name its axes."
        )
    return fitting[0]
