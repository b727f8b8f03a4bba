"""Losses over logits (N, K, [Z,] Y, X) and targets (N, [Z,] Y, X), undrawn voxels left out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .data import IGNORE


def cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over known voxels, optionally weighted per class; 0 if none is known."""
    known = (target != IGNORE).sum()
    total = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="sum")
    if weights is None:
        return total / known.clamp_min(1)
    share = weights[target.clamp_min(0)] * (target != IGNORE)
    return total / share.sum().clamp_min(1e-6)


def soft_dice(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """One minus the mean soft Dice over the classes that occur in the batch.

    Per class, ``(2 Σ p t + s) / (Σ p + Σ t + s)`` with sums over all known voxels of the
    batch and smoothing `s` (Milletari et al. 2016, 3DV; Drozdzal et al. 2016).
    """
    known = (target != IGNORE).unsqueeze(1)
    p = torch.softmax(logits, dim=1) * known
    t = F.one_hot(target.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    axes = [0, *range(2, logits.ndim)]
    overlap, predicted, true = (p * t).sum(axes), p.sum(axes), t.sum(axes)
    dice = (2 * overlap + smooth) / (predicted + true + smooth)
    present = true > 0
    return 1 - dice[present].mean() if present.any() else logits.sum() * 0


def dice_cross_entropy(logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum of cross-entropy and soft Dice loss (Isensee et al. 2021, Nat Methods 18:203)."""
    return cross_entropy(logits, target, weights) + soft_dice(logits, target)
