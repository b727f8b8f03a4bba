"""The learning rate over a training: linear warm-up, then polynomial decay."""

from __future__ import annotations

WARM_UP = 0.05
POWER = 0.9


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
