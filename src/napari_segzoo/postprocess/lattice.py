"""Gaussian filtering in a space of many dimensions, on the permutohedral lattice."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class PermutohedralLattice:
    """Filters values that lie at scattered points with a Gaussian of standard deviation 1.

    Each point spreads its value over the corners of the simplex around it, the values are
    blurred along the lattice's directions, and read back at the points (Adams, Baek & Davis
    2010, Comput Graph Forum 29:753). Time and memory grow linearly with the number of points
    and with d². The filter is approximate and its sum is not 1; `crf` normalises it.

    Vertices are found by a linear 64-bit hash of their coordinates: among ten million, two
    share one with a probability below 1e-5.

    Parameters
    ----------
    features : Tensor of float, (N, d)
        Coordinates of the points in units of the standard deviation.
    """

    def __init__(self, features: Tensor) -> None:
        d = features.shape[1]
        elevated = _elevate(features)
        nearest, rank = _enclosing_simplex(elevated)
        self._weights = _barycentric(elevated - nearest, rank)
        generator = torch.Generator().manual_seed(0)
        limits = torch.iinfo(torch.int64)
        factors = torch.randint(limits.min, limits.max, (d + 1,), generator=generator)
        factors = factors.to(features.device)
        origin = (nearest.long() * factors).sum(dim=1)
        keys = [origin + _corner_offset(rank, corner, factors) for corner in range(d + 1)]
        vertices, self._vertex = torch.unique(torch.stack(keys), return_inverse=True)
        self._size = len(vertices)
        self._neighbours = [self._find(vertices, factors, axis) for axis in range(d + 1)]

    def filter(self, values: Tensor) -> Tensor:
        """Filter values.

        Parameters
        ----------
        values : Tensor of float, (N, K)

        Returns
        -------
        Tensor of float, (N, K)
        """
        nothing_there = 1
        grid = values.new_zeros(self._size + nothing_there, values.shape[1])
        for vertex, weight in zip(self._vertex, self._weights, strict=True):
            grid.index_add_(0, vertex, values * weight[:, None])
        for before, after in self._neighbours:
            grid[:-1] = 0.5 * grid[:-1] + 0.25 * (grid[before] + grid[after])
        result = torch.zeros_like(values)
        for vertex, weight in zip(self._vertex, self._weights, strict=True):
            result += grid[vertex] * weight[:, None]
        return result

    def _find(self, vertices: Tensor, factors: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Index of each vertex's two neighbours along one direction; the last where none is.

        Neighbours differ by d along `axis` and by -1 along all others, and so do their hashes.
        """
        step = len(factors) * factors[axis] - factors.sum()
        found = []
        for wanted in (vertices - step, vertices + step):
            place = torch.searchsorted(vertices, wanted).clamp_max(self._size - 1)
            found.append(torch.where(vertices[place] == wanted, place, self._size))
        return found[0], found[1]


def _elevate(features: Tensor) -> Tensor:
    """Map (N, d) onto the hyperplane of d + 1 coordinates that sum to 0, scaled for the blur."""
    d = features.shape[1]
    index = torch.arange(1, d + 1, device=features.device, dtype=features.dtype)
    scaled = features * (math.sqrt(2 / 3) * (d + 1)) / torch.sqrt(index * (index + 1))
    later = scaled.flip(1).cumsum(1).flip(1)
    first = later[:, :1]
    following = torch.cat([later[:, 1:], torch.zeros_like(first)], dim=1)
    return torch.cat([first, following - index * scaled], dim=1)


def _enclosing_simplex(elevated: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest lattice point with remainder 0, and the order of the offsets from it."""
    d = elevated.shape[1] - 1
    nearest = torch.round(elevated / (d + 1)) * (d + 1)
    excess = (nearest.sum(dim=1, keepdim=True) / (d + 1)).round().long()
    order = (elevated - nearest).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1) + excess
    below, above = rank < 0, rank > d
    nearest = nearest + (d + 1) * (below.to(nearest.dtype) - above.to(nearest.dtype))
    return nearest, rank + (d + 1) * (below.long() - above.long())


def _corner_offset(rank: Tensor, corner: int, factors: Tensor) -> Tensor:
    """Return what the hash of a point's corner of a remainder has beyond that of corner 0."""
    size = len(factors)
    return torch.where(rank < size - corner, corner, corner - size).mul_(factors).sum(dim=1)


def _barycentric(offset: Tensor, rank: Tensor) -> Tensor:
    """Return the weights (d + 1, N) of the corners, by their remainder 0 to d."""
    count, size = offset.shape
    share = offset / size
    weights = offset.new_zeros(count, size + 1)
    weights.scatter_add_(1, size - 1 - rank, share)
    weights.scatter_add_(1, size - rank, -share)
    weights[:, 0] += 1 + weights[:, size]
    return weights[:, :size].T.contiguous()
