"""Generated 2D images of common structures with exact classes, to pretrain a network on.

Cells with walls, vesicles of all sizes, filaments, spots and regions of another texture, in any
polarity, with uneven light, blur and noise. `draw` returns one image and its classes; run as a
program, it writes a contact sheet: structures.py SHEET.png [--seed 0].
"""

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

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
CELL, WALL, FILAMENT, SPOT, TEXTURE = 3, 4, 5, 6, 7


def draw(rng, shape=(256, 256)):
    """Return an image, uint8 (Y, X) or (Y, X, 3), and classes, uint8 (Y, X), numbers of CLASSES."""
    kind = rng.choice(
        ["cells", "rings", "vesicles", "filaments", "spots", "texture", "mixed"],
        p=[0.15, 0.15, 0.25, 0.12, 0.11, 0.11, 0.11],
    )
    light, classes = np.zeros(shape), np.zeros(shape, np.uint8)
    if kind == "vesicles":
        light, classes = vesicles(rng, shape)
    if kind in ("cells", "rings"):
        light, classes = cells(rng, shape, apart=kind == "rings")
    if kind == "texture":
        light, classes = texture_regions(rng, shape)
    if kind in ("filaments", "spots", "mixed"):
        light = rng.uniform(0, 0.4) * texture(rng, shape)
    if kind in ("filaments", "mixed"):
        paint(rng, light, classes, filaments(rng, shape), FILAMENT)
    if kind in ("spots", "mixed"):
        paint(rng, light, classes, spots(rng, shape), SPOT)
    return photograph(rng, light), classes


def smooth_noise(rng, shape, scale):
    """Noise of mean 0 and deviation 1 that varies over `scale` pixels (one number or two)."""
    noise = ndi.gaussian_filter(rng.normal(size=shape), scale, mode="wrap")
    return noise / max(noise.std(), 1e-9)


def texture(rng, shape):
    """A random stationary texture with a deviation of about 1."""
    scale = np.exp(rng.uniform(np.log(0.6), np.log(8), 2))
    if rng.random() < 0.6:
        scale[1] = scale[0]
    noise = smooth_noise(rng, shape, scale)
    form = rng.integers(4)
    if form == 1:
        return 2.0 * (noise > rng.uniform(-0.5, 1.2)) - 1
    if form == 2:
        return 1.5 * np.abs(noise) - 1
    if form == 3:
        return 0.7 * noise + 0.7 * smooth_noise(rng, shape, 0.7)
    return noise


def cells(rng, shape, apart):
    """Cells in walls: side by side, or apart from each other."""
    spacing = np.exp(rng.uniform(np.log(14), np.log(70)))
    count = int(np.prod(shape) * 2.2 / spacing**2) + 4
    seeds = rng.uniform(-0.1, 1.1, (count, 2)) * shape
    bend = rng.uniform(0, 0.25) * spacing
    points = np.stack(np.indices(shape), -1).astype(float)
    for axis in range(2):
        points[..., axis] += bend * smooth_noise(rng, shape, spacing / 3)
    distance, nearest = cKDTree(seeds).query(points.reshape(-1, 2), 2)
    first, second = distance.T.reshape(2, *shape)
    kept = rng.random(count) < (rng.uniform(0.3, 0.95) if apart else rng.uniform(0.85, 1))
    gap = rng.uniform(2, 10) if apart else 1.0
    radius = rng.uniform(0.25, 0.9) * spacing if apart else np.inf
    inside = kept[nearest[:, 0].reshape(shape)] & ((second - first) / 2 > gap / 2)
    inside &= first < radius
    depth = ndi.distance_transform_edt(inside)
    wall = rng.uniform(1.0, 3.0) + apart * rng.uniform(0, 0.18) * spacing
    classes = np.where(inside, np.where(depth <= wall, WALL, CELL), 0).astype(np.uint8)
    if not apart:
        between = ndi.binary_dilation(inside, iterations=2) & ~inside
        classes[between] = WALL
    tint = rng.normal(0, rng.uniform(0, 0.25), count)[nearest[:, 0].reshape(shape)]
    return shade(rng, classes, tint), classes


def vesicles(rng, shape):
    """Round bodies of very different sizes, each in a wall as thick as suits its size."""
    points = np.stack(np.indices(shape), -1).astype(float)
    typical = np.exp(rng.uniform(np.log(4), np.log(28)))
    for axis in range(2):
        points[..., axis] += rng.uniform(0, 0.35) * typical * smooth_noise(rng, shape, typical)
    radii = np.sort(np.clip(typical * rng.lognormal(0, rng.uniform(0.1, 0.9), 1500), 3, 60))[::-1]
    wall, crowded = rng.uniform(0.15, 0.5), rng.uniform(0.2, 1)
    classes, tint = np.zeros(shape, np.uint8), np.zeros(shape)
    taken, spread = np.zeros(shape, bool), rng.uniform(0, 0.25)
    for radius in radii[: int(crowded * len(radii))]:
        centre = rng.uniform(0, 1, 2) * shape
        box = tuple(slice(max(0, int(c - 2 * radius - 4)), int(c + 2 * radius + 4)) for c in centre)
        stretch = rng.uniform(0.75, 1.3)
        offset = (points[box] - centre) * (stretch, 1 / stretch)
        distance = np.linalg.norm(offset, axis=-1)
        body = distance < radius
        if not body.any() or (taken[box] & body).any():
            continue
        thick = max(1.0, wall * rng.uniform(0.7, 1.3) * radius)
        classes[box][body] = np.where(distance < radius - thick, CELL, WALL)[body]
        tint[box][body] = rng.normal(0, spread)
        taken[box] |= distance < radius + rng.uniform(-0.5, 2.5)
    return shade(rng, classes, tint), classes


def shade(rng, classes, tint):
    """Light of bodies in walls; walls are the brightest or the darkest, as in most images."""
    levels = rng.uniform(-1, 1, 3)
    if rng.random() < 0.5:
        levels[1] = levels[0] + rng.normal(0, 0.1)
    around = levels[:2].mean()
    levels[2] = around + rng.choice([-1, 1]) * (rng.uniform(0.5, 1.5) + np.ptp(levels[:2]) / 2)
    light = np.choose(np.choose(classes, [0, 0, 0, 1, 2, 0, 0, 0]), levels)
    for value in (0, CELL, WALL):
        light += (classes == value) * rng.uniform(0, 0.3) * texture(rng, classes.shape)
    light += tint * (classes == CELL)
    if rng.random() < 0.4:
        light[spots(rng, classes.shape) & (classes == CELL)] += rng.normal(0, 0.7)
    if rng.random() < 0.3:
        light[filaments(rng, classes.shape) & (classes == 0)] += rng.normal(0, 0.5)
    return light


def filaments(rng, shape):
    """Mask of bent lines of one width."""
    canvas = np.zeros(shape, bool)
    width = np.exp(rng.uniform(np.log(1), np.log(6)))
    bend = rng.uniform(0.01, 0.12)
    for _ in range(rng.integers(3, 25)):
        steps = int(rng.uniform(40, 400))
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, bend, steps))
        path = rng.uniform(0, 1, 2) * shape + np.cumsum(
            np.stack([np.sin(angle), np.cos(angle)], -1), 0
        )
        at = path.round().astype(int)
        at = at[((at >= 0) & (at < shape)).all(1)]
        canvas[tuple(at.T)] = True
    return ndi.distance_transform_edt(~canvas) <= width / 2


def spots(rng, shape):
    """Mask of small discs."""
    radius = np.exp(rng.uniform(np.log(1.2), np.log(7)))
    count = max(3, int(rng.uniform(0.01, 0.15) * np.prod(shape) / (np.pi * radius**2)))
    seeds = rng.uniform(0, 1, (count, 2)) * shape
    radii = radius * rng.lognormal(0, 0.2, count)
    points = np.stack(np.indices(shape), -1).reshape(-1, 2)
    distance, nearest = cKDTree(seeds).query(points)
    return (distance < radii[nearest]).reshape(shape)


def texture_regions(rng, shape):
    """Regions that differ from the rest in texture, and sometimes in brightness."""
    form = smooth_noise(rng, shape, rng.uniform(10, 45))
    region = form > np.quantile(form, rng.uniform(0.4, 0.85))
    light = np.where(region, texture(rng, shape), texture(rng, shape)) * rng.uniform(0.3, 0.6)
    light = light + region * rng.choice([0.0, rng.normal(0, 0.6)])
    return light, np.where(region, TEXTURE, 0).astype(np.uint8)


def paint(rng, light, classes, mask, value):
    """Draw a mask brighter or darker than what is there."""
    strength = rng.choice([-1, 1]) * rng.uniform(0.7, 2.5)
    grain = 1 + rng.uniform(0, 0.3) * smooth_noise(rng, light.shape, rng.uniform(1, 20))
    light += mask * strength * grain
    classes[mask] = value


def photograph(rng, light):
    """Turn light into grey or coloured pixels."""
    light = ndi.gaussian_filter(light, rng.uniform(0, 1.6))
    light = light * rng.choice([-1, 1])
    light = light + rng.uniform(0, 0.4) * smooth_noise(rng, light.shape, 60)
    light = light + rng.uniform(0, 0.3) * rng.normal(size=light.shape)
    low, high = np.percentile(light, [0.5, 99.5])
    grey = np.clip((light - low) / max(high - low, 1e-6), 0, 1) ** np.exp(rng.uniform(-0.5, 0.5))
    if rng.random() < 0.7:
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
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for _ in range(4):
        pairs = [draw(rng) for _ in range(5)]
        rows.append(np.hstack([p if p.ndim == 3 else gray2rgb(p) for p, _ in pairs]))
        shown = [(255 * label2rgb(c, bg_label=0)).astype(np.uint8) for _, c in pairs]
        rows.append(np.hstack(shown))
    iio.imwrite(arguments.sheet, np.vstack(rows))


if __name__ == "__main__":
    main()
