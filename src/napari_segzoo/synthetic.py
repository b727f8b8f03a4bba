"""Fluorescence nuclei drawn by a seeded generator, so that the truth is exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import InputError

OFFSET = 100.0
"""Grey value of a camera pixel without light."""
GAIN = 4.0
"""Grey values per photon."""
READ_NOISE = 6.0
"""Standard deviation of the camera's own noise, in grey values."""
AXIAL_BLUR = 2.5
"""How much wider the blur is along Z than in the plane."""
TRIES = 60
"""Places tried for a nucleus before it is left out."""

Floats = NDArray[np.float64]


def nuclei(
    shape: Sequence[int],
    *,
    voxel_size: Sequence[float] | None = None,
    count: int = 60,
    diameter: float = 10.0,
    blur: float = 0.3,
    photons: float = 80.0,
    background: float = 12.0,
    seed: int = 0,
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Draw nuclei and photograph them through a microscope.

    Nuclei are ellipsoids with a wavy surface, chromatin texture and dark nucleoli, each with its
    own size, direction and brightness; half of them are put beside another one, where they may
    touch but not overlap. The picture is blurred (more along Z), stands on an uneven background,
    and has photon and camera noise.

    Parameters
    ----------
    shape : sequence of 2 or 3 int
        (Y, X) or (Z, Y, X).
    voxel_size : sequence of float, optional
        Along the axes of `shape`; 1 if left out. `diameter` and `blur` are in its unit.
    count : int
        Nuclei to draw; fewer if there is no room for all.
    diameter : float
        Mean diameter.
    blur : float
        Standard deviation of the blur in the plane.
    photons : float
        Mean photons per voxel from a nucleus; fewer make a noisier picture.
    background : float
        Mean photons per voxel from elsewhere.
    seed : int
        The same seed draws the same picture.

    Returns
    -------
    image : uint16 array of `shape`
        Grey values of a 16-bit camera.
    labels : int32 array of `shape`
        0 is background; each nucleus is one connected object with an id of 1, 2, ..., none of
        which is missing.

    Raises
    ------
    InputError
        If the shape has not 2 or 3 axes, or a size is not positive.
    """
    shape = tuple(int(n) for n in shape)
    voxel = np.ones(len(shape)) if voxel_size is None else np.asarray(voxel_size, float)
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(f"shape must be (Y, X) or (Z, Y, X) with lengths of 1 or more: {shape}.")
    if voxel.shape != (len(shape),) or min(*voxel, diameter, photons) <= 0:
        raise InputError("voxel_size needs one positive size per axis; diameter and photons too.")
    rng = np.random.default_rng(seed)
    labels = _draw(rng, shape, voxel, count, diameter)
    light = _glow(rng, labels, voxel, diameter) * photons
    sigma = np.full(len(shape), blur) / voxel
    sigma[:-2] *= AXIAL_BLUR
    light = ndimage.gaussian_filter(light, sigma)
    haze = _smooth_noise(rng, shape, 4 * diameter / voxel)
    light += background * np.clip(1 + 0.35 * haze, 0.1, None)
    grey = OFFSET + GAIN * rng.poisson(light) + rng.normal(0, READ_NOISE, shape)
    return np.clip(grey.round(), 0, 65535).astype(np.uint16), labels


@dataclass(frozen=True)
class _Body:
    """An ellipsoid with a wavy surface; lengths in the unit of the voxel size."""

    center: Floats
    directions: Floats
    radii: Floats
    waves: Floats
    phases: Floats

    @staticmethod
    def random(rng: np.random.Generator, center: Floats, diameter: float) -> _Body:
        ndim = len(center)
        radii = 0.5 * diameter * rng.lognormal(0, 0.08) * rng.lognormal(0, 0.14, ndim)
        directions, _ = np.linalg.qr(rng.normal(size=(ndim, ndim)))
        waves = rng.normal(0, 1.6, (6, ndim))
        return _Body(center, directions, radii, waves, rng.uniform(0, 2 * np.pi, 6))

    def inside(self, points: Floats) -> NDArray[np.bool_]:
        """Tell which of the points (..., ndim) lie inside."""
        local = (points - self.center) @ self.directions / self.radii
        distance = np.linalg.norm(local, axis=-1)
        toward = local / np.maximum(distance, 1e-9)[..., None]
        bumps = np.cos(toward @ self.waves.T + self.phases).mean(-1)
        inside: NDArray[np.bool_] = distance <= 1 + 0.22 * bumps
        return inside


def _draw(
    rng: np.random.Generator, shape: tuple[int, ...], voxel: Floats, count: int, diameter: float
) -> NDArray[np.int32]:
    labels = np.zeros(shape, np.int32)
    extent = np.asarray(shape) * voxel
    centers: list[Floats] = []
    for _ in range(count * TRIES):
        if len(centers) == count:
            break
        center = rng.uniform(0, 1, len(shape)) * extent
        if centers and rng.random() < 0.5:
            toward = rng.normal(size=len(shape))
            toward *= rng.uniform(0.95, 1.15) * diameter / np.linalg.norm(toward)
            center = centers[rng.integers(len(centers))] + toward
        if np.any(center < 0) or np.any(center >= extent):
            continue
        if _place(labels, _Body.random(rng, center, diameter), voxel, len(centers) + 1):
            centers.append(center)
    return labels


def _place(labels: NDArray[np.int32], body: _Body, voxel: Floats, new: int) -> bool:
    """Draw `body` as `new` where nothing is yet, unless too much of it is taken."""
    reach = 1.25 * body.radii.max()
    low = np.maximum(np.floor((body.center - reach) / voxel), 0).astype(int)
    high = np.minimum(np.ceil((body.center + reach) / voxel), labels.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1)
    inside = body.inside((grid + 0.5) * voxel)
    free = inside & (labels[box] == 0)
    parts, n = ndimage.label(free)
    if n == 0:
        return False
    sizes = np.bincount(parts.ravel())[1:]
    if sizes.max() < 0.9 * inside.sum() or sizes.max() < 4:
        return False
    labels[box][parts == 1 + sizes.argmax()] = new
    return True


def _glow(
    rng: np.random.Generator, labels: NDArray[np.int32], voxel: Floats, diameter: float
) -> Floats:
    """Return the light that each voxel gives off, about 1 inside nuclei and 0 outside."""
    brightness = np.append(0.0, rng.lognormal(0, 0.3, int(labels.max())))
    chromatin = _smooth_noise(rng, labels.shape, 0.06 * diameter / voxel)
    nucleoli = _smooth_noise(rng, labels.shape, 0.09 * diameter / voxel) > 1.9
    texture = np.clip(1 + 0.22 * chromatin, 0.2, None) * np.where(nucleoli, 0.45, 1.0)
    glow: Floats = brightness[labels] * texture
    return glow


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], scale: Floats) -> Floats:
    """Return noise of mean 0 and deviation 1 that varies over `scale` voxels."""
    # Broad noise is drawn on a coarse grid, which costs less and looks the same.
    steps = np.maximum(np.floor(scale / 3), 1)
    coarse = [ceil(n / s) + 2 for n, s in zip(shape, steps, strict=True)]
    noise = ndimage.gaussian_filter(rng.normal(size=coarse), scale / steps)
    noise /= max(float(noise.std()), 1e-9)
    if np.any(steps > 1):
        noise = ndimage.affine_transform(noise, 1 / steps, 0.5, tuple(shape), order=1)
    cropped: Floats = noise[tuple(slice(0, n) for n in shape)]
    return cropped
