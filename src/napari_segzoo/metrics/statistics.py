"""Summaries over images and paired comparisons of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """A score over images; nan values are left out.

    Parameters
    ----------
    images : int
        Images with a score.
    mean, median : float
        nan without any.
    low, high : float
        Bootstrap interval of the mean; nan with fewer than two images.
    """

    images: int
    mean: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A score of two predictions on the same images; pairs with a nan or inf are left out.

    Parameters
    ----------
    first, second : str
        Names of the predictions.
    images : int
        Pairs compared.
    difference : float
        Mean of first minus second.
    low, high : float
        Bootstrap interval of the mean difference.
    p : float
        Two-sided Wilcoxon signed-rank test; 1 if all pairs are equal, nan without pairs.
    p_holm : float
        `p` after Holm's correction for the number of pairs of predictions compared.
    """

    first: str
    second: str
    images: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def bootstrap_interval(
    values: Sequence[float] | NDArray[Any],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean.

    Parameters
    ----------
    values : sequence of float
        One score per image; nan is left out.
    confidence : float
        Share of resampled means inside the interval, in (0, 1).
    resamples, seed : int
        How many resamples, and the seed of their random numbers.

    Returns
    -------
    tuple of float
        Lower and upper end; nan with fewer than two scores.
    """
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if len(known) < 2:
        return float("nan"), float("nan")
    random = np.random.default_rng(seed)
    per_block = max(1, (1 << 20) // len(known))
    means = np.concatenate(
        [
            known[random.integers(0, len(known), (min(per_block, resamples - n), len(known)))].mean(
                axis=1
            )
            for n in range(0, resamples, per_block)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return float(low), float(high)


def summarize(values: Sequence[float]) -> Summary:
    """Summarise one score over images."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        nan = float("nan")
        return Summary(0, nan, nan, nan, nan)
    low, high = bootstrap_interval(known)
    return Summary(len(known), float(known.mean()), float(np.median(known)), low, high)


def compare(scores: dict[str, Sequence[float]]) -> list[Comparison]:
    """Compare every two predictions by one score.

    Parameters
    ----------
    scores : dict of str to sequence of float
        From the name of a prediction to its score on each image, in the same order.
    """
    names = list(scores)
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    tested = []
    for first, second in pairs:
        ours, theirs = np.asarray(scores[first], float), np.asarray(scores[second], float)
        known = np.isfinite(ours) & np.isfinite(theirs)
        tested.append((ours - theirs)[known])
    p = [_wilcoxon(difference) for difference in tested]
    return [
        Comparison(
            first,
            second,
            len(difference),
            float(difference.mean()) if len(difference) else float("nan"),
            *bootstrap_interval(difference),
            value,
            corrected,
        )
        for (first, second), difference, value, corrected in zip(
            pairs, tested, p, _holm(p), strict=True
        )
    ]


def _wilcoxon(difference: NDArray[np.float64]) -> float:
    from scipy.stats import wilcoxon

    if not len(difference):
        return float("nan")
    return float(wilcoxon(difference).pvalue) if difference.any() else 1.0


def _holm(p: Sequence[float]) -> list[float]:
    """Correct p values for their number; nan stays nan and does not count."""
    corrected = [float("nan")] * len(p)
    known = sorted((value, k) for k, value in enumerate(p) if value == value)
    highest = 0.0
    for rank, (value, k) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        corrected[k] = highest
    return corrected
