"""Surface scores of classes and of matched objects, from the distances of border voxels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .nearest import nearest
from .scan import threaded
from .surface import Border

ROUNDING = 1e-9
SURFACE_SCORES = ("hd", "hd95", "hd95_pooled", "assd", "masd", "nsd")


@dataclass(frozen=True)
class SurfaceScores:
    """Distances between the borders of one class or object in two images.

    All but `nsd` (0..1) are lengths in the units of the spacing. If the class is missing in
    one image the lengths are inf and `nsd` is 0; if in both, all are nan.

    Parameters
    ----------
    hd : float
        Hausdorff distance: the largest distance of either direction.
    hd95 : float
        The larger of the two directions' 95th percentiles (Metrics Reloaded, MONAI).
    hd95_pooled : float
        The 95th percentile of the distances of both directions together (medpy, nnU-Net).
    assd : float
        Mean of the distances of both directions together (Metrics Reloaded, MONAI, medpy).
    masd : float
        Mean of the two directions' means (Metrics Reloaded; assd of medpy before 0.5).
    nsd : float
        Share of border voxels of both images within the tolerance of the other border.
    farthest : int or None
        Linear index of a border voxel at distance `hd`; None if there is none.
    """

    hd: float
    hd95: float
    hd95_pooled: float
    assd: float
    masd: float
    nsd: float
    farthest: int | None


def surface_scores(
    there: NDArray[np.float64],
    back: NDArray[np.float64],
    tolerance: float,
    farthest: int | None = None,
) -> SurfaceScores:
    """Summarise the distances of two borders to each other.

    Parameters
    ----------
    there, back : float64 array, shape (voxels,)
        From each reference border voxel to the predicted border, and the other way round.
    tolerance : float
        Distance up to which `nsd` counts a border voxel as right.
    farthest : int or None
        Index of the border voxel with the largest distance, to be kept with the scores.
    """
    nan, inf = float("nan"), float("inf")
    if not len(there) and not len(back):
        return SurfaceScores(nan, nan, nan, nan, nan, nan, None)
    if not len(there) or not len(back):
        return SurfaceScores(inf, inf, inf, inf, inf, 0.0, farthest)
    both = np.concatenate([there, back])
    percentiles = [_percentile(d) for d in (there, back, both)]
    return SurfaceScores(
        hd=float(both.max()),
        hd95=max(percentiles[:2]),
        hd95_pooled=percentiles[2],
        assd=float(both.mean()),
        masd=float((there.mean() + back.mean()) / 2),
        nsd=float(np.count_nonzero(both <= tolerance * (1 + ROUNDING)) / len(both)),
        farthest=farthest,
    )


def _percentile(distances: NDArray[np.float64]) -> float:
    """95th percentile, interpolated; infinite if one of the two values it lies between is."""
    place = 0.95 * (len(distances) - 1)
    below, above = np.sort(distances)[[int(np.floor(place)), int(np.ceil(place))]]
    return float(below if below == above else below + (above - below) * (place % 1))


def scores_by_label(
    reference: Border,
    prediction: Border,
    labels: Sequence[int],
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    tolerance: Mapping[int, float],
) -> dict[int, SurfaceScores]:
    """Compare the borders of each label.

    Parameters
    ----------
    reference, prediction : Border
        Border voxels of the two images.
    labels : sequence of int
        The labels to compare; others are left out.
    shape, spacing
        Of the images, see `surface.nearest`.
    tolerance : mapping of int to float
        Per label, for `nsd`.
    """
    wanted = np.asarray(labels)
    ours = reference.take(np.isin(reference.label, wanted))
    theirs = prediction.take(np.isin(prediction.label, wanted))
    ways = [(ours, theirs), (theirs, ours)]
    there, back = threaded(lambda way: nearest(*way, shape, spacing), ways)
    scores = {}
    pieces = zip(labels, _pieces(ours, labels), _pieces(theirs, labels), strict=True)
    for label, a, b in pieces:
        first, second = there[a], back[b]
        ends = [_farthest(first, ours.index[a]), _farthest(second, theirs.index[b])]
        farthest = max(ends, key=lambda end: end[0])[1]
        scores[label] = surface_scores(first, second, tolerance[label], farthest)
    return scores


def _farthest(distances: NDArray[np.float64], index: NDArray[np.int64]) -> tuple[float, int | None]:
    """Return the largest distance, and the index of its voxel."""
    if not len(index):
        return -1.0, None
    place = int(distances.argmax())
    return float(distances[place]), int(index[place])


def _pieces(border: Border, labels: Sequence[int]) -> Iterator[NDArray[np.intp]]:
    """Yield the positions of each label's border voxels."""
    order = np.argsort(border.label, kind="stable")
    ordered = border.label[order].astype(np.int64)
    for label in labels:
        first, last = np.searchsorted(ordered, [label, label + 1])
        yield order[first:last]
