"""Whether strokes correct a network of the same classes, or are of something else."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import Tensor

WRONG, FOUND, RIGHT = 0.5, 0.25, 0.8
"""Strokes correct a network if it recognises less than the first share of each class, or more than
the second and less than the third of each..."""
TOLD_APART = 0.9
"""...or no more than the second of one of them, although it tells the background from the rest to
this area under the ROC curve, but for the threshold."""


def correct_it(recognised: Collection[float], probabilities: Tensor, target: Tensor) -> bool:
    """Tell corrections from strokes on something else.

    Who corrects a network draws where it is wrong, in all classes, or draws only objects that it
    misses, which are fainter than those it finds. One for something else takes most of what is
    drawn for one class; strokes on what it finds in part are to be learnt without it.

    Parameters
    ----------
    recognised : collection of float
        Share of the drawn voxels of each class that the network recognises.
    probabilities : Tensor of float32, (N, K)
        What it says of drawn voxels.
    target : Tensor of int64, (N,)
        Their classes.
    """
    least, most = min(recognised), max(recognised)
    if most < WRONG:
        return True
    if least > FOUND:
        return most < RIGHT
    outside = target.numpy() == 0
    return area_under_curve(probabilities[:, 0].numpy(), outside) >= TOLD_APART


def area_under_curve(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Share of pairs in which the positive has the higher score; 1 without such pairs."""
    with_it, without = scores[positive], scores[~positive]
    if not with_it.size or not without.size:
        return 1.0
    won = mannwhitneyu(with_it, without, method="asymptotic").statistic
    return float(won) / (with_it.size * without.size)
