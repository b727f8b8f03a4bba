"""Two label images made comparable: by cropping or resampling, in a region, inside a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..io.image import LazyArray
from .blocks import Region, as_labels, check_ignore, chunk_sides, label_pair
from .report import Report

OUTSIDE = 2**63 - 1
"""Label of voxels outside of a mask where the user ignores no other."""
SLACK = 1e-6
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Where a prediction lies over a reference, along every axis.

    Voxel i of the reference is voxel ``(i - offset) * step`` of the prediction.

    Parameters
    ----------
    offset : tuple of float
        Position of the prediction's first voxel, in voxels of the reference.
    step : tuple of float
        Voxel size of the reference divided by that of the prediction.
    """

    offset: tuple[float, ...]
    step: tuple[float, ...]


@dataclass(frozen=True)
class Pair:
    """Two label images of one shape, read when they are needed.

    Parameters
    ----------
    reference, prediction : array-like of int or bool
        The images.
    ignore : int or None
        Reference label that does not count; with a mask, also that of the voxels outside.
    origin : tuple of int
        Index in the whole reference of the first voxel.
    settings : dict
        What was done to make the pair, for reports.
    """

    reference: Any
    prediction: Any
    ignore: int | None
    origin: tuple[int, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def region(self) -> Region:
        """The part of the whole reference that is compared."""
        shape = self.reference.shape
        return tuple(slice(o, o + int(n)) for o, n in zip(self.origin, shape, strict=True))

    def window(self, image: Any) -> Any:
        """Return the part that is compared of an image as large as the reference, unread.

        Axes in front of those of the reference, such as classes, are kept whole.
        """
        whole = image.shape[: len(image.shape) - len(self.origin)]
        return _window(image, [*(slice(0, n) for n in whole), *self.region])

    def place(self, report: Report) -> Report:
        """Return a report on this pair with positions in the whole reference."""
        return report.placed(self.origin, self.settings)


def make_pair(
    reference: Any,
    prediction: Any,
    *,
    fit: str | None = None,
    placement: Placement | None = None,
    region: Sequence[slice] | None = None,
    mask: Any = None,
    ignore: int | None = None,
) -> Pair:
    """Make two label images comparable without copying them.

    Parameters
    ----------
    reference, prediction : array-like of int or bool
        Label images with equally many axes.
    fit : {"crop", "resample"} or None
        What to do with different shapes or places: keep the part that both images cover, or
        take the nearest voxel of the prediction for each voxel of the reference. None refuses
        different shapes.
    placement : Placement or None
        Where the prediction lies. None: for "crop", first voxel over first voxel; for
        "resample", stretched over the whole reference.
    region : sequence of slice or None
        Part of the reference to compare, one slice per axis, in steps of 1.
    mask : array-like or None
        Of the shape of the reference; only voxels where it is not 0 are compared.
    ignore : int or None
        Reference label that does not count, see `evaluate`.

    Raises
    ------
    InputError
        If the images do not fit, do not overlap, or an option is wrong.
    """
    if fit not in (None, "crop", "resample"):
        raise InputError(f"fit must be 'crop' or 'resample', not {fit!r}.")
    if fit is None and placement is not None:
        raise InputError("A placement (offset) needs fit: 'crop' or 'resample'.")
    ignore = check_ignore(ignore)
    reference, prediction = as_labels(reference, "reference"), as_labels(prediction, "prediction")
    shape = tuple(int(n) for n in reference.shape)
    if fit is None:
        label_pair(reference, prediction)
        placement = Placement((0.0,) * len(shape), (1.0,) * len(shape))
    elif len(shape) != len(prediction.shape):
        raise InputError(
            f"The reference has shape {shape} and the prediction {tuple(prediction.shape)}; only "
            "label images with equally many axes can be cropped or resampled to one another."
        )
    elif placement is None:
        placement = _usual_placement(fit, shape, prediction.shape)
    window = [slice(0, n) for n in shape] if region is None else _checked(region, shape)
    index = _sampling(placement, window, prediction.shape, fit)
    window = [slice(i[0], i[-1] + 1) for i, _ in index]
    settings: dict[str, Any] = {} if fit is None else {"fit": fit}
    if [s.stop - s.start for s in window] != list(shape):
        settings["region"] = ",".join(f"{s.start}:{s.stop}" for s in window)
    ours = _window(reference, window)
    if mask is not None:
        if tuple(mask.shape) != shape:
            raise InputError(
                f"The mask has shape {tuple(mask.shape)}, but the reference {shape}; "
                "they must cover the same voxels."
            )
        ours = _masked(ours, _window(mask, window), OUTSIDE if ignore is None else ignore)
        settings.update(mask=True, ignore=ignore)
        ignore = OUTSIDE if ignore is None else ignore
    theirs = _sampled(prediction, [p for _, p in index])
    return Pair(ours, theirs, ignore, tuple(s.start for s in window), settings)


def _usual_placement(fit: str, ours: Sequence[int], theirs: Sequence[int]) -> Placement:
    if fit == "crop":
        return Placement((0.0,) * len(ours), (1.0,) * len(ours))
    step = tuple(p / r for r, p in zip(ours, theirs, strict=True))
    return Placement(tuple(0.5 / s - 0.5 for s in step), step)


def _checked(region: Sequence[slice], shape: Sequence[int]) -> list[slice]:
    if len(region) != len(shape):
        raise InputError(
            f"region has {len(region)} ranges, but the reference has {len(shape)} axes; "
            "give one range per axis."
        )
    window = [slice(*s.indices(n)) for s, n in zip(region, shape, strict=True)]
    if any(s.step != 1 or s.start >= s.stop for s in window):
        ranges = ",".join(f"{s.start}:{s.stop}" for s in region)
        raise InputError(
            f"The region {ranges} holds no voxel of the reference of shape {tuple(shape)}."
        )
    return window


def _sampling(
    placement: Placement, window: Sequence[slice], theirs: Sequence[int], fit: str | None
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return, per axis, the indices of both images that are compared."""
    if fit == "crop" and not np.allclose(placement.step, 1, rtol=1e-3):
        raise InputError(
            "The voxels of reference and prediction differ in size, so cropping does not make "
            "them fit; resample instead."
        )
    found = []
    for part, size, offset, step in zip(
        window, theirs, placement.offset, placement.step, strict=True
    ):
        ours = np.arange(part.start, part.stop)
        exact = ours - round(offset) if fit == "crop" else (ours - offset) * step
        position = np.floor(exact + 0.5 + SLACK).astype(np.int64)
        inside = (position >= 0) & (position < size)
        if not inside.any():
            raise InputError("The prediction does not cover any voxel of the region compared.")
        found.append((ours[inside], position[inside]))
    return found


def _window(image: Any, window: Sequence[slice]) -> Any:
    """Return part of an image, without reading it if it is lazy."""
    if isinstance(image, np.ndarray):
        return image[tuple(window)]
    if all(s.start == 0 and s.stop == n for s, n in zip(window, image.shape, strict=True)):
        return image

    def read(region: Region) -> NDArray[Any]:
        moved = (
            slice(w.start + r.start, w.start + r.stop) for w, r in zip(window, region, strict=True)
        )
        return np.asarray(image[tuple(moved)])

    return _lazy(image, tuple(s.stop - s.start for s in window), read)


def _sampled(image: Any, index: Sequence[NDArray[np.int64]]) -> Any:
    """Return the voxels of an image at all combinations of the indices along its axes."""
    if all(len(i) == i[-1] - i[0] + 1 and (np.diff(i) == 1).all() for i in index):
        return _window(image, [slice(int(i[0]), int(i[-1]) + 1) for i in index])

    def read(region: Region) -> NDArray[Any]:
        wanted = [i[r] for i, r in zip(index, region, strict=True)]
        block = np.asarray(image[tuple(slice(int(w[0]), int(w[-1]) + 1) for w in wanted)])
        return block[np.ix_(*(w - w[0] for w in wanted))]

    return _lazy(image, tuple(len(i) for i in index), read)


def _masked(image: Any, mask: Any, outside: int) -> LazyArray:
    """Give the voxels outside of a mask one label."""

    def read(region: Region) -> NDArray[Any]:
        inside = np.asarray(mask[region]) != 0
        return np.where(inside, np.asarray(image[region]).astype(np.int64), outside)

    return _lazy(image, image.shape, read, np.dtype(np.int64))


def _lazy(image: Any, shape: Sequence[int], read: Any, dtype: Any = None) -> LazyArray:
    sides = chunk_sides(image) if not isinstance(image, np.ndarray) else None
    return LazyArray(tuple(int(n) for n in shape), dtype or np.dtype(image.dtype), read, sides)
