"""Scores of predicted probabilities: how good they are, and whether they mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .blocks import read, regions

SMALLEST = 1e-7
SLACK = 1e-2
BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class SoftScores:
    """Scores of class probabilities against labels; nan if no voxel counts.

    Parameters
    ----------
    cross_entropy : float
        Mean of -ln of the probability of the right class, 0 or above; probabilities below
        1e-7 count as 1e-7.
    brier : float
        Mean of the sum over classes of the squared difference between probability and truth
        (1 for the right class, else 0), 0..2.
    calibration_error : float
        Expected calibration error, 0..1: mean over the bins of abs(confidence - accuracy),
        weighted by their voxels. The confidence is the largest probability of a voxel.
    confidence, accuracy : tuple of float
        The calibration curve: mean confidence in each bin and share of right voxels in it;
        nan in empty bins.
    voxels : tuple of int
        Voxels in each bin. Bin k of n holds confidences from k / n up to (k + 1) / n.
    """

    cross_entropy: float
    brier: float
    calibration_error: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    voxels: tuple[int, ...]


def soft_scores(
    reference: Any,
    probabilities: Any,
    *,
    ignore: int | None = None,
    bins: int = 10,
    progress: Callable[[int, int], object] | None = None,
) -> SoftScores:
    """Score predicted probabilities.

    Parameters
    ----------
    reference : array-like of int or bool
        Label image; label k is class k.
    probabilities : array-like of float
        Of shape (classes, *shape of the reference) with a sum of 1 over the classes, or of the
        shape of the reference: the probability of label 1, with 0 as the other class.
    ignore : int or None
        Voxels with this reference label are left out.
    bins : int
        Bins of equal width of the calibration curve.
    progress : callable or None
        Called with (blocks done, blocks in all); what it raises cancels.

    Raises
    ------
    InputError
        If shapes do not fit, values are no probabilities, or a label has no class.
    """
    binary = tuple(probabilities.shape) == tuple(reference.shape)
    if not binary and tuple(probabilities.shape[1:]) != tuple(reference.shape):
        raise InputError(
            f"The probabilities have shape {tuple(probabilities.shape)}; for a reference of "
            f"shape {tuple(reference.shape)} they need that shape, or one more axis with the "
            "classes in front."
        )
    if bins < 1:
        raise InputError(f"bins must be 1 or more, not {bins}.")
    classes = 2 if binary else int(probabilities.shape[0])
    blocks = regions(reference, voxels=max(1, BLOCK_VALUES // classes))
    sums = np.zeros(2)
    curve = np.zeros((3, bins))
    for done, region in enumerate(blocks, 1):
        truth = read(reference, region, "reference").reshape(-1)
        where = region if binary else (slice(None), *region)
        chance = np.asarray(probabilities[where], np.float64)
        chance = np.stack([1 - chance, chance]) if binary else chance
        chance = chance.reshape(classes, -1)
        if ignore is not None:
            kept = truth != ignore
            truth, chance = truth[kept], chance[:, kept]
        _check(truth, chance)
        losses, found = _block(truth.astype(np.intp), chance, bins)
        sums += losses
        curve += found
        if progress is not None:
            progress(done, len(blocks))
    return _scores(sums, curve)


def _check(truth: NDArray[Any], chance: NDArray[np.float64]) -> None:
    if not truth.size:
        return
    if int(truth.max()) >= len(chance):
        raise InputError(
            f"The reference holds label {int(truth.max())}, but there are probabilities for "
            f"the labels 0 to {len(chance) - 1} only; pass a label to be left out as ignore."
        )
    low, high = float(chance.min()), float(chance.max())
    if not (low >= -SLACK and high <= 1 + SLACK):
        raise InputError(
            f"The probabilities range from {low:.4g} to {high:.4g}; they must lie in 0..1 "
            "(apply softmax or a sigmoid to the output of a network first)."
        )
    off = float(np.abs(chance.sum(axis=0) - 1).max())
    if off > SLACK:
        raise InputError(
            f"The probabilities of a voxel sum up to 1 within {off:.4g} only; classes stand "
            "along the first axis and must share a probability of 1."
        )


def _block(
    truth: NDArray[np.intp], chance: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the summed losses, and per bin voxels, summed confidence and right voxels."""
    right = chance[truth, np.arange(truth.size)]
    entropy = -np.log(np.clip(right, SMALLEST, 1)).sum()
    brier = (chance**2).sum() - 2 * right.sum() + truth.size
    confidence = np.clip(chance.max(axis=0), 0, 1)
    correct = chance.argmax(axis=0) == truth
    place = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    weights = (None, confidence, correct)
    return np.array([entropy, brier]), np.stack(
        [np.bincount(place, weight, minlength=bins) for weight in weights]
    )


def _scores(sums: NDArray[np.float64], curve: NDArray[np.float64]) -> SoftScores:
    voxels, confidence, correct = curve
    total = voxels.sum()
    if total == 0:
        nan = float("nan")
        empty = (nan,) * len(voxels)
        return SoftScores(nan, nan, nan, empty, empty, (0,) * len(voxels))
    with np.errstate(invalid="ignore"):
        mean_confidence, accuracy = confidence / voxels, correct / voxels
    return SoftScores(
        cross_entropy=float(sums[0] / total),
        brier=float(sums[1] / total),
        calibration_error=float(np.abs(confidence - correct).sum() / total),
        confidence=tuple(float(v) for v in mean_confidence),
        accuracy=tuple(float(v) for v in accuracy),
        voxels=tuple(int(v) for v in voxels),
    )
