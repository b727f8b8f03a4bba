"""Patches around drawn voxels, turned, scaled, bent, and changed in intensity.

Cropping and the geometric changes are one interpolation: each voxel of the patch is
looked up where an affine map and a smooth random displacement send it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .data import IGNORE, TrainingImage
from .scans import RESIZE


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes.

    Parameters
    ----------
    turn : float
        Largest angle in degrees by which it is rotated in the YX plane.
    flip : bool
        Mirror each axis at random.
    scale : float
        Zoom by a factor between ``1 / scale`` and `scale`.
    elastic : float
        Standard deviation in voxels of the smooth displacement.
    gain, offset : float
        Intensities are multiplied by up to ``1 ± gain`` and shifted by up to ``± offset``.
    gamma : float
        Exponent between ``1 / gamma`` and `gamma` on intensities scaled to [0, 1].
    noise : float
        Largest standard deviation of Gaussian noise.
    blur : float
        Largest standard deviation of a Gaussian blur, in voxels, for a quarter of the patches.
    """

    turn: float = 180.0
    flip: bool = True
    scale: float = 2.0
    elastic: float = 2.0
    gain: float = 0.25
    offset: float = 0.15
    gamma: float = 1.4
    noise: float = 0.06
    blur: float = 1.2


SCAN = Augmentation(turn=15.0, flip=False, scale=RESIZE)
"""For scans of bodies, which all lie in the same direction and at the same scale."""


def choose_augmentation(body_scans: bool) -> Augmentation:
    """Return `SCAN` for scans of bodies, else the usual ranges."""
    return SCAN if body_scans else Augmentation()


def draw_centre(
    images: Sequence[TrainingImage], classes: Sequence[int], rng: np.random.Generator
) -> tuple[TrainingImage, np.ndarray]:
    """Choose a class, then an image that has it, then one of its drawn voxels, each evenly."""
    chosen = int(rng.choice(classes))
    having = [i for i in images if chosen in i.drawn]
    image = having[rng.integers(len(having))]
    voxels = image.drawn[chosen]
    index = int(voxels[rng.integers(len(voxels))])
    return image, np.array(np.unravel_index(index, image.target.shape))


def sample_patch(
    item: TrainingImage,
    centre: np.ndarray,
    patch: Sequence[int],
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cut one changed patch.

    Parameters
    ----------
    item : TrainingImage
        Where from.
    centre : ndarray of int, (ndim,)
        Voxel near which the patch lies; the patch is moved by up to a third of its side.
    patch : sequence of int
        Size along the spatial axes.

    Returns
    -------
    image : Tensor of float32, (C, *patch)
    target : Tensor of int64, patch
        `IGNORE` outside the image and where nothing is drawn.
    guess : Tensor of float32, (K, *patch), or None
        Class probabilities, 0 where nobody has looked.
    """
    ndim = len(patch)
    size = np.array(item.target.shape)
    middle = _place(centre, np.array(patch), size, rng)
    matrix = _random_matrix(ndim, augmentation, rng)
    offsets = _offsets(patch, augmentation.elastic, rng)
    where = offsets @ torch.from_numpy(matrix.T.astype(np.float32))
    where = where + torch.from_numpy(middle.astype(np.float32))
    extent = torch.from_numpy(np.maximum(size - 1, 1).astype(np.float32))
    grid = (2 * where / extent - 1).flip(-1)[None]
    image = _look_up(item.image, grid)
    guess = None if item.guess is None else _look_up(item.guess, grid)
    return image, _nearest(item.target, where), guess


def _look_up(values: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(values[None], grid, padding_mode="reflection", align_corners=True)[0]


def _nearest(target: Tensor, where: Tensor) -> Tensor:
    """Classes at positions (*patch, ndim), `IGNORE` outside; touches no more than it returns."""
    size = torch.tensor(target.shape)
    voxel = (where * (size > 1)).round().long()
    inside = ((voxel >= 0) & (voxel < size)).all(-1)
    nearest = torch.minimum(voxel.clamp_min(0), size - 1)
    return torch.where(inside, target[nearest.unbind(-1)].long(), IGNORE)


def change_intensity(image: Tensor, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    """Change gain, offset and gamma, blur, and add noise; `image` is (C, [Z,] Y, X)."""
    a = augmentation
    if a.blur and rng.random() < 0.25:
        image = _blur(image, rng.uniform(0.3, a.blur))
    if a.gamma > 1 and rng.random() < 0.5:
        low, high = image.amin(), image.amax()
        exponent = float(np.exp(rng.uniform(-1, 1) * np.log(a.gamma)))
        spread = (high - low).clamp_min(1e-6)
        image = ((image - low) / spread) ** exponent * spread + low
    image = image * (1 + a.gain * rng.uniform(-1, 1)) + a.offset * rng.uniform(-1, 1)
    if a.noise:
        seed = torch.Generator().manual_seed(int(rng.integers(2**31)))
        image = image + torch.randn(image.shape, generator=seed) * rng.uniform(0, a.noise)
    return image


def _place(
    centre: np.ndarray, patch: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Shift the centre at random, and keep the patch inside where the image is large enough."""
    middle = centre + rng.uniform(-1, 1, len(patch)) * patch / 3
    low, high = (patch - 1) / 2, size - 1 - (patch - 1) / 2
    inside = np.clip(middle, low, np.maximum(low, high))
    return np.asarray(np.where(low <= high, inside, (size - 1) / 2))


def _random_matrix(ndim: int, a: Augmentation, rng: np.random.Generator) -> np.ndarray:
    matrix: np.ndarray = np.eye(ndim) * np.exp(rng.uniform(-1, 1) * np.log(a.scale))
    if a.turn:
        angle = np.deg2rad(rng.uniform(-a.turn, a.turn))
        turn = np.eye(ndim)
        turn[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = matrix @ turn
    if a.flip:
        matrix = matrix * rng.choice([-1, 1], ndim)
    return matrix


def _offsets(patch: Sequence[int], elastic: float, rng: np.random.Generator) -> Tensor:
    """Voxel offsets from the patch centre, smoothly displaced: (*patch, ndim)."""
    axes = [torch.arange(n, dtype=torch.float32) - (n - 1) / 2 for n in patch]
    offsets = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    if not elastic:
        return offsets
    ndim = len(patch)
    coarse = torch.from_numpy(rng.normal(0, elastic, (1, ndim, *(4,) * ndim)).astype(np.float32))
    mode = "bicubic" if ndim == 2 else "trilinear"
    smooth = F.interpolate(coarse, size=tuple(patch), mode=mode, align_corners=True)[0]
    return offsets + smooth.movedim(0, -1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    for axis in (-2, -1):
        last = image.movedim(axis, -1)
        flat = last.reshape(-1, 1, last.shape[-1])
        padded = F.pad(flat, (radius, radius), mode="replicate")
        image = F.conv1d(padded, kernel.view(1, 1, -1)).view(last.shape).movedim(-1, axis)
    return image
