"""How long a training goes on, and its learning rate: linear warm-up, then polynomial decay."""

from __future__ import annotations

import math

WARM_UP = 0.05
POWER = 0.9
FEW_STROKES = 150
"""Steps from a base after which a few strokes are learnt; more learn them by heart."""
SCORES = 10
"""How often a training is scored, if that takes no more than a tenth of a budget of seconds."""
VOXELS_PER_STEP = 256
"""Drawn voxels for which one step more is worth its time."""


def enough_steps(drawn_voxels: int) -> int:
    """Return how many steps from a base strokes of so many voxels are worth."""
    return max(FEW_STROKES, drawn_voxels // VOXELS_PER_STEP)


def rate_factor(progress: float) -> float:
    """Return the share of the highest learning rate.

    It rises linearly over the first 5% of the training and then falls with the power 0.9 of
    what is left (Chen et al. 2017, arXiv:1606.00915).

    Parameters
    ----------
    progress : float
        Share of the training that is done, in [0, 1].
    """
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.02)
    remaining = max((1 - progress) / (1 - WARM_UP), 0.01)
    return float(remaining**POWER)


def next_score(progress: float, cost: float) -> float:
    """Return the progress at which to score next, given the share of the training that it cost."""
    tenth = (math.floor(progress * SCORES) + 1) / SCORES
    return min(1.0, max(tenth, progress + SCORES * cost))
