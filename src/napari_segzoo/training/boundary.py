"""Distances to the boundaries between classes, in PyTorch and on the device of the target."""

from __future__ import annotations

import torch
from torch import Tensor

from .data import IGNORE


def distance_to_other_class(target: Tensor, limit: int) -> Tensor:
    """Euclidean distance from each known voxel to the nearest known voxel of another class.

    Exact up to `limit`: squared distances are minimised along one axis after the other
    (Felzenszwalb & Huttenlocher 2012), each within a window of `limit` voxels.

    Parameters
    ----------
    target : Tensor of int, (N, [Z,] Y, X)
        Class of each voxel, `IGNORE` where it is not known.
    limit : int
        Longest distance of interest, in voxels.

    Returns
    -------
    Tensor of float32, like `target`
        Infinity where there is nothing within `limit`, and where the voxel is not known.
    """
    result = torch.full(target.shape, torch.inf, device=target.device)
    known = target != IGNORE
    for value in torch.unique(target[known]):
        here = target == value
        squared = torch.where(known & ~here, 0.0, torch.inf)
        for axis in range(1, target.ndim):
            squared = _minimum_along(squared, axis, limit)
        result = torch.where(here, squared.sqrt(), result)
    return torch.where(result > limit, torch.inf, result)


def _minimum_along(squared: Tensor, axis: int, limit: int) -> Tensor:
    """Return min over shifts s up to `limit` of ``squared[x + s] + s²``."""
    length = squared.shape[axis]
    best = squared.clone()
    for shift in range(1, min(limit, length - 1) + 1):
        kept = length - shift
        front, back = best.narrow(axis, 0, kept), best.narrow(axis, shift, kept)
        front.copy_(torch.minimum(front, squared.narrow(axis, shift, kept) + shift**2))
        back.copy_(torch.minimum(back, squared.narrow(axis, 0, kept) + shift**2))
    return best
