"""Generated fluorescence images of crowded tissue, with the number of each nucleus.

Sections of embryos and organs, where nuclei lie wall to wall, are elongated side by side, fade
with depth and stand in haze, are rare in the data of `nuclei`. `draw` returns one image and its
numbers; run as a program, it writes a contact sheet: tissue.py SHEET.png [--seed 0].
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from textures import Grid

SHAPE = (256, 256)
FEWEST = 10
"""More nuclei than these are in an image."""


def draw(rng, shape=SHAPE):
    """Return an image, uint8 (Y, X), and the numbers of its nuclei, uint16 (Y, X), 0 elsewhere."""
    grid = Grid(shape, (1.0, 1.0))
    spacing = np.exp(rng.uniform(np.log(9), np.log(24)))
    numbers = np.zeros(shape, int)
    while len(np.unique(numbers)) <= FEWEST:
        numbers, brightness = nuclei(rng, grid, spacing, layer(rng, grid, spacing))
    light = brightness * (1 + rng.uniform(0, 0.25) * grid.noise(rng, rng.uniform(0.8, 3)))
    light = grid.blurred(light, rng.uniform(0.05, 0.15) * spacing)
    haze = rng.uniform(0, 1.2) * grid.blurred(brightness, rng.uniform(1, 5) * spacing)
    _, others = nuclei(rng, grid, spacing, layer(rng, grid, spacing))
    haze += rng.uniform(0, 0.4) * grid.blurred(others, rng.uniform(0.3, 0.8) * spacing)
    return photograph(rng, grid, light + haze), numbers.astype(np.uint16)


def layer(rng, grid, spacing):
    """Depth below the surface of the tissue at each pixel, negative outside."""
    if rng.random() < 0.3:
        return np.full(grid.shape, np.inf)
    form = grid.noise(rng, rng.uniform(3, 8) * spacing)
    inside = form > np.quantile(form, rng.uniform(0.1, 0.7))
    return np.where(inside, grid.depth(inside), -grid.depth(~inside))


def nuclei(rng, grid, spacing, depth):
    """Return the numbers and the brightness of nuclei `spacing` apart where the tissue is."""
    points, longer = stretched(rng, grid, spacing)
    seeds = evenly(rng, points.reshape(-1, 2), 1.3 * points[..., 0].size / longer / spacing**2)
    distance, nearest = cKDTree(seeds).query(points, 2)
    count, first, gap = len(seeds), distance[..., 0], np.diff(distance)[..., 0]
    radii = rng.uniform(0.45, 0.7) * spacing * rng.lognormal(0, rng.uniform(0, 0.15), count)
    own = nearest[..., 0]
    body = (first < radii[own]) & (gap > rng.uniform(0, 0.25) * spacing)
    thickness = rng.choice([rng.uniform(1, 6) * spacing, np.inf])
    at = depth.ravel()[cKDTree(points.reshape(-1, 2)).query(seeds)[1]]
    kept = (at > 0) & (at <= thickness) & (rng.random(count) < rng.choice([1, rng.uniform(0.4, 1)]))
    fading = np.exp(rng.uniform(0, 0.5) * grid.noise(rng, rng.uniform(1, 4) * spacing))
    tint = rng.lognormal(0, rng.uniform(0, 0.5), count)
    body &= kept[own]
    dome = np.minimum(1 - (first / radii[own]) ** 2, gap / spacing).clip(0, 1)
    brightness = np.where(body, tint[own] * fading * dome ** rng.uniform(0.1, 0.7), 0.0)
    return without_specks(np.where(body, own + 1, 0)), brightness


def without_specks(numbers):
    """Leave out what is far smaller than the others, as what is squeezed between them."""
    sizes = np.bincount(numbers.ravel())[1:]
    typical = np.median(sizes[sizes > 0]) if sizes.any() else 0
    return np.where(np.append(False, sizes < 0.2 * typical)[numbers], 0, numbers)


def stretched(rng, grid, spacing):
    """Positions at which nuclei are round, and how many times longer they are in the image."""
    longer = np.exp(rng.uniform(0, np.log(2.5)))
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = grid.points()
    for axis in range(2):
        points[..., axis] += rng.uniform(0, 0.12) * spacing * grid.noise(rng, spacing / 3)
        points[..., axis] += rng.uniform(0, 1.5) * spacing * grid.noise(rng, 4 * spacing)
    points = points @ turn
    points[..., 0] /= longer
    return points, longer


def evenly(rng, points, count):
    """Choose about `count` of the points, pushed apart by up to two of Lloyd's iterations."""
    seeds = points[rng.choice(len(points), max(4, int(count)), replace=False)]
    sample = points[rng.choice(len(points), min(len(points), 20_000), replace=False)]
    for _ in range(rng.integers(0, 3)):
        nearest = cKDTree(seeds).query(sample)[1]
        members = np.bincount(nearest, minlength=len(seeds))
        sums = [np.bincount(nearest, sample[:, n], len(seeds)) for n in range(2)]
        seeds = np.where(
            members[:, None] > 0, np.stack(sums, 1) / np.maximum(members, 1)[:, None], seeds
        )
    return seeds


def photograph(rng, grid, light):
    """Count photons of light on a ground, with stripes at times, in 8 bits."""
    light = light / np.percentile(light[light > 0], 99.5)
    light += rng.uniform(0, 0.15) + rng.uniform(0, 0.1) * grid.noise(rng, 60)
    if rng.random() < 0.3:
        light = light * (1 + rng.uniform(0, 0.1) * rng.normal(size=grid.shape[1]))
    photons = np.exp(rng.uniform(np.log(20), np.log(600)))
    light = rng.poisson(np.maximum(light, 0) * photons) / photons
    light = light + rng.uniform(0, 0.03) * rng.normal(size=grid.shape)
    low, high = np.percentile(light, [0.5, 99.9])
    return (255 * np.clip((light - low) / max(high - low, 1e-6), 0, 1)).round().astype(np.uint8)


def main():
    import imageio.v3 as iio
    from skimage.color import gray2rgb
    from skimage.segmentation import mark_boundaries

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for _ in range(2):
        pairs = [draw(rng) for _ in range(5)]
        rows.append(np.hstack([gray2rgb(image) for image, _ in pairs]))
        shown = [mark_boundaries(image, ids, (0, 1, 0)) for image, ids in pairs]
        rows.append((255 * np.hstack(shown)).astype(np.uint8))
    iio.imwrite(arguments.sheet, np.vstack(rows))


if __name__ == "__main__":
    main()
