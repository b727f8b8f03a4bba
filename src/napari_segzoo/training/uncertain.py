"""Where a trained network is least sure, so that strokes there teach it most."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..axes import find_layout
from ..errors import InputError
from ..inference import PredictOptions, prepare
from ..inference import events as inference_events
from ..io import Image, open_image

if TYPE_CHECKING:
    from ..model import SegmentationModel

MOST_PLACES = 20
SMALLEST, LARGEST, SHARE = 16, 128, 8
SLICES = 5


@dataclass(frozen=True)
class Place:
    """A part of an image where nothing is drawn.

    Parameters
    ----------
    window : tuple of slice
        Where it lies in a label image.
    uncertainty : float
        Mean entropy of the class probabilities in it, as a share of the greatest possible.
    """

    window: tuple[slice, ...]
    uncertainty: float

    @property
    def center(self) -> tuple[int, ...]:
        """Voxel in its middle."""
        return tuple((part.start + part.stop) // 2 for part in self.window)


@dataclass(frozen=True)
class Places:
    """The last event of `where_to_draw`.

    Parameters
    ----------
    axes : str
        Those of the label image.
    places : tuple of Place
        The least certain first.
    """

    axes: str
    places: tuple[Place, ...]


def where_to_draw(
    model: SegmentationModel,
    image: Any,
    labels: Any = None,
    *,
    axes: str | None = None,
    count: int = MOST_PLACES,
    device: str = "auto",
) -> Iterator[inference_events.Event | Places]:
    """Run a model over an image and tell where it is least sure and nothing is drawn yet.

    A place is an eighth of the shorter side of the image wide, from 16 to 128 pixels, and up to
    5 slices thick, since neighbouring slices look alike.

    Parameters
    ----------
    model : SegmentationModel
        What to run.
    image : array-like, Image, or path
        What to run it on.
    labels : array-like, Image, or path, optional
        What is drawn: the axes of the image without C, 0 where nothing is.
    axes : str, optional
        Axes of the image where it does not tell.
    count : int
        How many places to tell at most.
    device : str
        See `predict`.

    Yields
    ------
    TileDone, Note or Places
        Progress; `Places` is the last.

    Raises
    ------
    InputError
        If image, labels and model do not fit.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, not {count}.")
    if isinstance(image, (str, os.PathLike)):
        image = open_image(image, axes=axes)
    if isinstance(image, Image):
        image, axes = image.data, image.axes or axes
    info = model.info
    layout = find_layout(image.shape, axes, ndim=info.ndim, in_channels=info.in_channels)
    drawn = _read_drawn(labels, layout.label_shape)
    entropies = _Entropies(layout.label_shape, len(layout.leading_axes))
    options = PredictOptions(output="probabilities", device=device)
    yield from prepare(model, image, axes=layout.axes, options=options, result=entropies).run()
    window = default_window(layout.label_axes, layout.label_shape)
    places = uncertain_places(entropies.values, drawn, window, count)
    yield Places(layout.label_axes, tuple(places))


def entropy(probabilities: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    """Return the Shannon entropy of class probabilities, divided by its maximum log K.

    Parameters
    ----------
    probabilities : ndarray of float
        In [0, 1], adding up to 1 along `axis`.
    axis : int
        Axis of the K classes, at least 2.

    Returns
    -------
    ndarray of float
        In [0, 1], without `axis`: 0 where one class is certain, 1 where all are as likely.
    """
    p = np.asarray(probabilities)
    terms = p * np.log(np.maximum(p, np.finfo(p.dtype).tiny))
    return np.asarray(np.clip(-terms.sum(axis) / np.log(p.shape[axis]), 0, 1))


def default_window(axes: str, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the size of a place in a label image; see `where_to_draw`."""
    side = min(max(min(shape[-2:]) // SHARE, SMALLEST), LARGEST)
    wanted = {"T": 1, "Z": SLICES, "Y": side, "X": side}
    return tuple(min(wanted[a], n) for a, n in zip(axes, shape, strict=True))


def uncertain_places(
    uncertainty: NDArray[Any],
    drawn: NDArray[Any],
    window: Sequence[int],
    count: int = MOST_PLACES,
) -> list[Place]:
    """List windows without strokes by their mean uncertainty, the highest first.

    Windows begin at every half of their size, and at the far edges. Those listed do not overlap,
    and none is certain throughout.

    Parameters
    ----------
    uncertainty : ndarray of float
        Per voxel, at least 0, such as `entropy`.
    drawn : ndarray
        Same shape; 0 where nothing is drawn.
    window : sequence of int
        Size per axis, at most the size of the image.
    count : int
        How many to list at most.
    """
    starts = [_starts(n, w) for n, w in zip(uncertainty.shape, window, strict=True)]
    scores = _window_sums(uncertainty, window, starts) / np.prod(window)
    scores[_window_sums(drawn != 0, window, starts) > 0] = 0
    places: list[Place] = []
    while len(places) < count:
        best = np.unravel_index(scores.argmax(), scores.shape)
        if scores[best] <= 0:
            break
        corner = [int(first[n]) for first, n in zip(starts, best, strict=True)]
        where = tuple(slice(c, c + w) for c, w in zip(corner, window, strict=True))
        places.append(Place(where, float(scores[best])))
        overlapping = [
            np.abs(first - c) < w for first, c, w in zip(starts, corner, window, strict=True)
        ]
        scores[np.ix_(*overlapping)] = 0
    return places


class _Entropies:
    """Takes the probabilities that a run writes, and keeps no more than their entropy."""

    def __init__(self, shape: tuple[int, ...], class_axis: int) -> None:
        self.values = np.zeros(shape, np.float32)
        self._class_axis = class_axis

    def __setitem__(self, region: tuple[slice, ...], probabilities: NDArray[Any]) -> None:
        n = self._class_axis
        self.values[region[:n] + region[n + 1 :]] = entropy(probabilities, n)


def _read_drawn(labels: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    if labels is None:
        return np.zeros(shape, bool)
    if isinstance(labels, (str, os.PathLike)):
        labels = open_image(labels, labels=True)
    drawn = np.asarray(labels.data[...] if isinstance(labels, Image) else labels)
    if drawn.shape != shape:
        raise InputError(
            f"The labels have shape {drawn.shape}, but this image needs labels of shape {shape}."
        )
    return drawn


def _starts(size: int, length: int) -> NDArray[np.intp]:
    last = size - length
    return np.array(sorted({*range(0, last, max(1, length // 2)), last}))


def _window_sums(
    values: NDArray[Any], window: Sequence[int], starts: Sequence[NDArray[np.intp]]
) -> NDArray[np.float64]:
    for axis, (length, first) in enumerate(zip(window, starts, strict=True)):
        before = (slice(None),) * axis
        slabs = (values[(*before, slice(s, s + length))] for s in first)
        values = np.stack([slab.sum(axis, dtype=np.float64) for slab in slabs], axis)
    return values
