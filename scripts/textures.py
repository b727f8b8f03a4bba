"""Voxels of a generated image, and noise and textures on them."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage as ndi


@dataclass(frozen=True)
class Grid:
    """Voxels of one image; all lengths are in pixels of a slice.

    Parameters
    ----------
    shape : tuple of int
        [Z,] Y, X.
    spacing : tuple of float
        Distance of neighbouring voxels along each axis.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    @property
    def extent(self):
        return np.multiply(self.shape, self.spacing)

    def points(self):
        """Positions of all voxels, float (..., ndim)."""
        return np.stack(np.indices(self.shape), -1) * np.array(self.spacing)

    def depth(self, mask):
        """Distance of each voxel of a mask to its outside."""
        return ndi.distance_transform_edt(mask, sampling=self.spacing)

    def blurred(self, values, sigma, mode="reflect"):
        return ndi.gaussian_filter(values, np.divide(sigma, self.spacing), mode=mode)

    def noise(self, rng, scale):
        """Noise of mean 0 and deviation 1 that varies over `scale` (one length or one per axis)."""
        noise = self.blurred(rng.normal(size=self.shape), scale, mode="wrap")
        return noise / max(noise.std(), 1e-9)


def texture(rng, grid):
    """A random stationary texture with a deviation of about 1."""
    scale = np.exp(rng.uniform(np.log(0.6), np.log(8), len(grid.shape)))
    if rng.random() < 0.6:
        scale[:] = scale[0]
    noise = grid.noise(rng, scale)
    form = rng.integers(4)
    if form == 1:
        return 2.0 * (noise > rng.uniform(-0.5, 1.2)) - 1
    if form == 2:
        return 1.5 * np.abs(noise) - 1
    if form == 3:
        return 0.7 * noise + 0.7 * grid.noise(rng, 0.7)
    return noise
