"""Fully connected conditional random field: class borders drawn to the edges in the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from .lattice import PermutohedralLattice

SURE = 1e-6
"""Probabilities are taken as at least this, so that the image can overrule the network."""


@dataclass(frozen=True)
class CRF:
    """Weights and widths of the pairwise terms, named as in DeepLab (Chen et al. 2015, 2017).

    Two voxels of different classes cost ``appearance * k1 + smoothness * k2``: k1 is a
    Gaussian of position and intensity, k2 of position alone. Positions are in voxels along
    the finest axis.

    Parameters
    ----------
    reach : float
        Standard deviation of position in k1.
    contrast : float
        Standard deviation of intensity in k1, on intensities scaled to about 0..1. DeepLab's
        3 to 6 of 255 are for photographs; microscopy is noisier.
    appearance : float
        Weight of k1.
    radius : float
        Standard deviation of position in k2.
    smoothness : float
        Weight of k2.
    iterations : int
        Of the mean field.
    """

    reach: float
    contrast: float = 0.05
    appearance: float = 4.0
    radius: float = 3.0
    smoothness: float = 3.0
    iterations: int = 10


DEFAULT = {2: CRF(reach=50.0), 3: CRF(reach=12.0, radius=1.5)}
"""For 2D and 3D."""


def halo(crf: CRF, spacing: Sequence[float]) -> tuple[int, ...]:
    """Voxels around a block that are taken into account when the block is refined.

    Two standard deviations of `CRF.reach`; what lies further has no influence on the block.
    """
    return tuple(ceil(2 * s) for s in _voxels(crf.reach, spacing))


def bytes_per_voxel(dimensions: int, classes: int) -> int:
    """Memory that `refine_probabilities` takes, at most.

    Parameters
    ----------
    dimensions : int
        Spatial axes and channels of the image together.
    classes : int
        Of the probabilities.
    """
    corners = dimensions + 1
    return 90 * corners + 4 * classes * (3 * corners + 8)


def refine_probabilities(
    probabilities: Tensor, image: Tensor, crf: CRF, spacing: Sequence[float]
) -> Tensor:
    """Refine class probabilities by the image (Krähenbühl & Koltun 2011, arXiv:1210.5644).

    Mean field of the fully connected model: each voxel is pulled towards the classes of all
    others, the more the nearer and the more alike they are. The appearance kernel is
    approximated on a permutohedral lattice, the smoothness kernel cut at four standard
    deviations; both are normalised symmetrically, and keep the voxel's own share, as in the
    authors' code.

    Parameters
    ----------
    probabilities : Tensor of float32, (K, [Z,] Y, X)
        The network's, in [0, 1].
    image : Tensor of float32, (C, [Z,] Y, X)
        Intensities, scaled to about 0..1, on the same device.
    crf : CRF
        Weights and widths.
    spacing : sequence of float
        Voxel size along the spatial axes, in any unit.

    Returns
    -------
    Tensor of float32, (K, [Z,] Y, X)
        Probabilities that sum to 1.
    """
    unary = probabilities.clamp_min(SURE).log().flatten(1)
    shape = probabilities.shape[1:]
    lattice = PermutohedralLattice(_features(image, crf, spacing))
    widths = _voxels(crf.radius, spacing)

    def appearance(q: Tensor) -> Tensor:
        return lattice.filter(q.T.contiguous()).T

    def smoothness(q: Tensor) -> Tensor:
        return _blur(q.view(-1, *shape), widths).flatten(1)

    ones = unary.new_ones(1, unary.shape[1])
    kernels = [
        (weight, kernel, kernel(ones).clamp_min(1e-12).rsqrt())
        for weight, kernel in ((crf.appearance, appearance), (crf.smoothness, smoothness))
    ]
    q = unary.softmax(dim=0)
    for _ in range(crf.iterations):
        energy = unary.clone()
        for weight, kernel, norm in kernels:
            energy += weight * norm * kernel(norm * q)
        q = energy.softmax(dim=0)
    return q.view(probabilities.shape)


def _voxels(width: float, spacing: Sequence[float]) -> list[float]:
    """Turn a width in voxels of the finest axis into voxels along each axis."""
    return [width * min(spacing) / s for s in spacing]


def _features(image: Tensor, crf: CRF, spacing: Sequence[float]) -> Tensor:
    """Position and intensity of each voxel in standard deviations, (N, ndim + C)."""
    widths = _voxels(crf.reach, spacing)
    axes = [
        torch.arange(n, device=image.device, dtype=torch.float32) / w
        for n, w in zip(image.shape[1:], widths, strict=True)
    ]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([positions, image / crf.contrast]).flatten(1).T.contiguous()


def _blur(maps: Tensor, widths: Sequence[float]) -> Tensor:
    """Filter (K, ...) with a Gaussian cut at four standard deviations; nothing lies outside."""
    for axis, width in enumerate(widths, 1):
        radius = ceil(4 * width)
        x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
        kernel = torch.exp(-(x**2) / (2 * width**2)).view(1, 1, -1)
        last = maps.movedim(axis, -1)
        flat = last.reshape(-1, 1, last.shape[-1])
        maps = F.conv1d(flat, kernel, padding=radius).view(last.shape).movedim(-1, axis)
    return maps
