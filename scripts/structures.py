"""Generated images of common structures with exact classes, to pretrain a network on.

Cells with walls, vesicles of all sizes, nuclei, filaments, spots and regions of another texture,
in any polarity, with uneven light, blur and noise; in 2D, or in 3D with slices farther apart than
the pixels of each. `draw` returns one image and its classes; run as a program, it writes a contact
sheet, in 3D of middle slices: structures.py SHEET.png [--ndim 2] [--seed 0].
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from textures import Grid, texture

CLASSES = (
    "background",
    "nucleus interior",
    "nucleus border",
    "cell interior",
    "cell wall",
    "filament",
    "spot",
    "other texture",
)
NUCLEUS, BORDER, CELL, WALL, FILAMENT, SPOT, TEXTURE = range(1, 8)
SHAPE = {2: (256, 256), 3: (48, 96, 96)}
KINDS = {
    2: {
        "cells": 0.15,
        "rings": 0.15,
        "vesicles": 0.25,
        "filaments": 0.12,
        "spots": 0.11,
        "texture": 0.11,
        "mixed": 0.11,
    },
    3: {
        "nuclei": 0.25,
        "cells": 0.1,
        "rings": 0.1,
        "vesicles": 0.15,
        "filaments": 0.1,
        "spots": 0.05,
        "texture": 0.2,
        "mixed": 0.05,
    },
}
"""Share of each kind of image. In 2D there are real images of nuclei."""


def draw(rng, shape=SHAPE[2]):
    """Return an image, uint8 ([Z,] Y, X) or (Y, X, 3), its classes, uint8 ([Z,] Y, X), numbers
    of CLASSES, and the length of its voxels along each axis.
    """
    ndim = len(shape)
    apart = np.exp(rng.uniform(0, np.log(5))) if ndim == 3 and rng.random() < 0.6 else 1.0
    grid = Grid(shape, (apart, 1.0, 1.0)[-ndim:])
    kind = rng.choice(list(KINDS[ndim]), p=list(KINDS[ndim].values()))
    light, classes = np.zeros(shape), np.zeros(shape, np.uint8)
    if kind == "nuclei":
        light, classes = nuclei(rng, grid)
    if kind == "vesicles":
        light, classes = vesicles(rng, grid)
    if kind in ("cells", "rings"):
        light, classes = cells(rng, grid, apart=kind == "rings")
    if kind == "texture":
        light, classes = texture_regions(rng, grid)
    if kind in ("filaments", "spots", "mixed"):
        light = rng.uniform(0, 0.4) * texture(rng, grid)
    if kind in ("filaments", "mixed"):
        paint(rng, grid, light, classes, filaments(rng, grid), FILAMENT)
    if kind in ("spots", "mixed"):
        paint(rng, grid, light, classes, spots(rng, grid), SPOT)
    return photograph(rng, grid, light), classes, grid.spacing


def bent_points(rng, grid, amount, scale):
    """Positions of all voxels, displaced by `amount`, which varies over `scale`."""
    points = grid.points()
    for axis in range(points.shape[-1]):
        points[..., axis] += amount * grid.noise(rng, scale)
    return points


def territories(rng, grid, spacing, bend):
    """Split the image among seeds about `spacing` apart.

    Returns their number and, per voxel, the nearest one, its distance, and how much farther
    the second is.
    """
    count = int(np.prod(grid.extent) * 2.2 / spacing ** len(grid.shape)) + 4
    seeds = rng.uniform(-0.1, 1.1, (count, len(grid.shape))) * grid.extent
    distance, nearest = cKDTree(seeds).query(bent_points(rng, grid, bend, spacing / 3), 2)
    return count, nearest[..., 0], distance[..., 0], distance[..., 1] - distance[..., 0]


def cells(rng, grid, apart):
    """Cells in walls: side by side, or apart from each other."""
    spacing = np.exp(rng.uniform(np.log(14), np.log(70 if len(grid.shape) == 2 else 40)))
    bend = rng.uniform(0, 0.25) * spacing
    count, nearest, first, farther = territories(rng, grid, spacing, bend)
    kept = rng.random(count) < (rng.uniform(0.3, 0.95) if apart else rng.uniform(0.85, 1))
    gap = rng.uniform(2, 10) if apart else 1.0
    radius = rng.uniform(0.25, 0.9) * spacing if apart else np.inf
    inside = kept[nearest] & (farther / 2 > gap / 2) & (first < radius)
    wall = rng.uniform(1.0, 3.0) + apart * rng.uniform(0, 0.18) * spacing
    classes = np.where(inside, np.where(grid.depth(inside) <= wall, WALL, CELL), 0).astype(np.uint8)
    if not apart:
        classes[(grid.depth(~inside) <= 2) & ~inside] = WALL
    tint = rng.normal(0, rng.uniform(0, 0.25), count)[nearest]
    return shade(rng, grid, classes, tint), classes


def nuclei(rng, grid):
    """Bodies of about one size, some touching, each brighter than what is around."""
    spacing = np.exp(rng.uniform(np.log(10), np.log(36)))
    bend = rng.uniform(0.05, 0.2) * spacing
    count, nearest, first, farther = territories(rng, grid, spacing, bend)
    kept = rng.random(count) < rng.uniform(0.3, 1)
    radii = rng.uniform(0.35, 0.7) * spacing * rng.lognormal(0, 0.15, count)
    body = kept[nearest] & (first < radii[nearest]) & (farther > rng.uniform(0, 2))
    border = body & ((grid.depth(body) <= 1) | (farther < 3))
    classes = np.where(body, np.where(border, BORDER, NUCLEUS), 0).astype(np.uint8)
    brightness = rng.lognormal(0, rng.uniform(0, 0.5), count)[nearest]
    light = body * brightness * (1 + rng.uniform(0, 0.4) * texture(rng, grid))
    around = rng.uniform(0, 0.4) * grid.blurred(light, rng.uniform(2, 15))
    return light + around + rng.uniform(0, 0.15) * texture(rng, grid), classes


def vesicles(rng, grid):
    """Round bodies of very different sizes, each in a wall as thick as suits its size."""
    ndim = len(grid.shape)
    typical = np.exp(rng.uniform(np.log(4), np.log(28 if ndim == 2 else 14)))
    points = bent_points(rng, grid, rng.uniform(0, 0.35) * typical, typical)
    radii = np.sort(np.clip(typical * rng.lognormal(0, rng.uniform(0.1, 0.9), 1500), 3, 60))[::-1]
    wall, crowded = rng.uniform(0.15, 0.5), rng.uniform(0.2, 1)
    classes, tint = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape)
    taken, spread = np.zeros(grid.shape, bool), rng.uniform(0, 0.25)
    for radius in radii[: int(crowded * len(radii))]:
        centre = rng.uniform(0, 1, ndim) * grid.extent
        reach = 2 * radius + 4
        box = tuple(
            slice(max(0, int((c - reach) / s)), int((c + reach) / s) + 1)
            for c, s in zip(centre, grid.spacing, strict=True)
        )
        stretch = np.exp(rng.uniform(-0.27, 0.27, ndim))
        distance = np.linalg.norm((points[box] - centre) * stretch, axis=-1)
        body = distance < radius
        if not body.any() or (taken[box] & body).any():
            continue
        thick = max(1.0, wall * rng.uniform(0.7, 1.3) * radius)
        classes[box][body] = np.where(distance < radius - thick, CELL, WALL)[body]
        tint[box][body] = rng.normal(0, spread)
        taken[box] |= distance < radius + rng.uniform(-0.5, 2.5)
    return shade(rng, grid, classes, tint), classes


def shade(rng, grid, classes, tint):
    """Light of bodies in walls; walls are the brightest or the darkest, as in most images."""
    levels = rng.uniform(-1, 1, 3)
    if rng.random() < 0.5:
        levels[1] = levels[0] + rng.normal(0, 0.1)
    around = levels[:2].mean()
    levels[2] = around + rng.choice([-1, 1]) * (rng.uniform(0.5, 1.5) + np.ptp(levels[:2]) / 2)
    light = np.choose(np.choose(classes, [0, 0, 0, 1, 2, 0, 0, 0]), levels)
    for value in (0, CELL, WALL):
        light += (classes == value) * rng.uniform(0, 0.3) * texture(rng, grid)
    light += tint * (classes == CELL)
    if rng.random() < 0.4:
        light[spots(rng, grid) & (classes == CELL)] += rng.normal(0, 0.7)
    if rng.random() < 0.3:
        light[filaments(rng, grid) & (classes == 0)] += rng.normal(0, 0.5)
    return light


def filaments(rng, grid):
    """Mask of bent lines of one width."""
    ndim = len(grid.shape)
    canvas = np.zeros(grid.shape, bool)
    width = np.exp(rng.uniform(np.log(1), np.log(6)))
    bend = rng.uniform(0.01, 0.12)
    for _ in range(rng.integers(3, 25)):
        steps = int(rng.uniform(40, 400))
        way = rng.normal(size=ndim) + np.cumsum(rng.normal(0, bend, (steps, ndim)), 0)
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        path = rng.uniform(0, 1, ndim) * grid.extent + np.cumsum(way, 0)
        at = (path / grid.spacing).round().astype(int)
        at = at[((at >= 0) & (at < grid.shape)).all(1)]
        canvas[tuple(at.T)] = True
    return grid.depth(~canvas) <= width / 2


def spots(rng, grid):
    """Mask of small balls."""
    ndim = len(grid.shape)
    radius = np.exp(rng.uniform(np.log(1.2), np.log(7 if ndim == 2 else 4)))
    count = max(3, int(rng.uniform(0.01, 0.15) * np.prod(grid.extent) / (3.7 * radius**ndim)))
    seeds = rng.uniform(0, 1, (count, ndim)) * grid.extent
    radii = radius * rng.lognormal(0, 0.2, count)
    distance, nearest = cKDTree(seeds).query(grid.points())
    return distance < radii[nearest]


def texture_regions(rng, grid):
    """Regions that differ from the rest in texture, and sometimes in brightness."""
    form = grid.noise(rng, rng.uniform(10, 45 if len(grid.shape) == 2 else 16))
    region = form > np.quantile(form, rng.uniform(0.4, 0.85))
    light = np.where(region, texture(rng, grid), texture(rng, grid)) * rng.uniform(0.3, 0.6)
    light = light + region * rng.choice([0.0, rng.normal(0, 0.6)])
    return light, np.where(region, TEXTURE, 0).astype(np.uint8)


def paint(rng, grid, light, classes, mask, value):
    """Draw a mask brighter or darker than what is there."""
    strength = rng.choice([-1, 1]) * rng.uniform(0.7, 2.5)
    grain = 1 + rng.uniform(0, 0.3) * grid.noise(rng, rng.uniform(1, 20))
    light += mask * strength * grain
    classes[mask] = value


def photograph(rng, grid, light):
    """Turn light into grey or, in 2D, coloured pixels; a microscope blurs most along Z."""
    ndim = len(grid.shape)
    sigma = np.full(ndim, rng.uniform(0, 1.6))
    if ndim == 3:
        sigma[0] *= rng.uniform(1, 3)
    light = grid.blurred(light, sigma)
    light = light * rng.choice([-1, 1])
    light = light + rng.uniform(0, 0.4) * grid.noise(rng, 60 if ndim == 2 else 30)
    light = light + rng.uniform(0, 0.3) * rng.normal(size=light.shape)
    low, high = np.percentile(light, [0.5, 99.5])
    grey = np.clip((light - low) / max(high - low, 1e-6), 0, 1) ** np.exp(rng.uniform(-0.5, 0.5))
    if ndim == 3 or rng.random() < 0.7:
        return (255 * grey).round().astype(np.uint8)
    dark, bright = rng.uniform(0, 1, 3), rng.uniform(0, 1, 3)
    bright = np.where(np.abs(bright - dark).mean() < 0.3, 1 - dark.round(), bright)
    colour = dark + grey[..., None] * (bright - dark)
    colour += rng.normal(0, rng.uniform(0, 0.05), colour.shape)
    return (255 * np.clip(colour, 0, 1)).round().astype(np.uint8)


def main():
    import imageio.v3 as iio
    from skimage.color import gray2rgb, label2rgb

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--ndim", type=int, choices=(2, 3), default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for _ in range(4):
        pairs = [draw(rng, SHAPE[arguments.ndim])[:2] for _ in range(5)]
        if arguments.ndim == 3:
            pairs = [
                (image[len(image) // 2], classes[len(classes) // 2]) for image, classes in pairs
            ]
        rows.append(np.hstack([p if p.ndim == 3 else gray2rgb(p) for p, _ in pairs]))
        shown = [(255 * label2rgb(c, bg_label=0)).astype(np.uint8) for _, c in pairs]
        rows.append(np.hstack(shown))
    iio.imwrite(arguments.sheet, np.vstack(rows))


if __name__ == "__main__":
    main()
