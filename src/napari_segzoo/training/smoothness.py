"""A loss on voxels that nobody labelled: alike neighbours should get the same class."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

DISTANCES = (1, 2, 4, 8)
CONTRAST = 0.4
"""Intensity difference, in standard deviations of the patch, at which neighbours part."""


def smoothness(logits: Tensor, image: Tensor) -> Tensor:
    """Mean disagreement of pairs of voxels, weighted by how alike they look.

    A pair at voxels i and j counts ``w (1 - Σ_k p_k(i) p_k(j))`` with
    ``w = exp(-|x(i) - x(j)|² / 2σ²)``, the relaxed Potts model with intensity-dependent
    weights: it draws borders to where the image changes, although no stroke says where they
    are (Tang et al. 2018, ECCV, arXiv:1803.09569; Obukhov et al. 2019, arXiv:1906.04651).

    Parameters
    ----------
    logits : Tensor, (N, K, [Z,] Y, X)
    image : Tensor of float, (N, C, [Z,] Y, X)
        What the logits were computed from.

    Returns
    -------
    Tensor
        One number in [0, 1].
    """
    probabilities = torch.softmax(logits, dim=1)
    spatial = list(range(1, image.ndim))
    sigma = CONTRAST * image.std(dim=spatial, keepdim=True).clamp_min(1e-6)
    x = image / sigma
    terms = []
    for offset in _offsets(image.shape[2:]):
        x_i, x_j = _pair(x, offset)
        p_i, p_j = _pair(probabilities, offset)
        alike = torch.exp(-((x_i - x_j) ** 2).sum(dim=1) / 2)
        terms.append((alike * (1 - (p_i * p_j).sum(dim=1))).mean())
    return torch.stack(terms).mean()


def _offsets(shape: torch.Size) -> Iterator[tuple[int, ...]]:
    """Steps along each axis and both diagonals of YX, no longer than half the patch."""
    ndim = len(shape)
    for distance in DISTANCES:
        fits = [2 * distance <= n for n in shape]
        for axis in range(ndim):
            if fits[axis]:
                yield tuple(distance if a == axis else 0 for a in range(ndim))
        if fits[-1] and fits[-2]:
            for sign in (1, -1):
                yield (*(0,) * (ndim - 2), distance, sign * distance)


def _pair(values: Tensor, offset: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Views of `values` at all voxels that have a partner at `offset`, and at the partners."""
    first: list[slice] = [slice(None), slice(None)]
    second = list(first)
    for step, size in zip(offset, values.shape[2:], strict=True):
        first.append(slice(max(0, -step), size - max(0, step)))
        second.append(slice(max(0, step), size - max(0, -step)))
    return values[tuple(first)], values[tuple(second)]
