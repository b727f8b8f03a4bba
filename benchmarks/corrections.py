"""Score a second round: strokes where the model of the first round was wrong, as a table.

usage: python benchmarks/corrections.py TASK [TASK ...] --data DATA [--base generalist-2d]

Each TASK is one task of `few_shot.py`, DATA the folder with the sets its images come from. Round 1
trains on the strokes; then up to four strokes per class are drawn along the largest errors on the
drawn images. Round 2 trains on both, from the model of round 1 ("on") and from the base ("anew").
Told are the Dice on the test images and the share of voxels corrected that are right.
"""

import argparse
from pathlib import Path

import numpy as np
import tifffile
from few_shot import mean_dice
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.morphology import skeletonize

import napari_segzoo as segzoo
from napari_segzoo.io import Image

STROKES, LENGTH, LEAST = 4, 40, 6
"""Per class and image; along the middle line; voxels of an error that is seen."""
Array = NDArray[np.uint8]


def dense(data: Path, task: str, name: str) -> Array:
    """Return the classes of a drawn image, 1 the background."""
    if task == "axon":
        image, y, x = name.rsplit("_", 2)
        (path,) = (data / "axon_sem").rglob(f"labels/{image}.tif")
        tile = tuple(slice(int(start), int(start) + 512) for start in (y, x))
        return (tifffile.imread(path)[tile] + 1).astype(np.uint8)
    ids = tifffile.imread(data / "nuclei2d" / "train" / "labels" / f"{name}.tif")
    return np.where(ids > 0, 2, 1).astype(np.uint8)


def correct(truth: Array, found: Array, rng: np.random.Generator) -> Array:
    """Draw strokes three voxels wide inside the largest errors of each class."""
    strokes = np.zeros_like(truth)
    for value in np.unique(truth):
        wrong, _ = ndi.label(
            ndi.binary_erosion((truth == value) & (found != value)), np.ones((3, 3))
        )
        sizes = np.bincount(wrong.ravel())[1:]
        for number in np.argsort(-sizes)[:STROKES]:
            inside = wrong == number + 1
            line = np.argwhere(skeletonize(inside))
            if sizes[number] < LEAST or not len(line):
                continue
            apart = ((line - line[rng.integers(len(line))]) ** 2).sum(axis=1)
            drawn = np.zeros_like(inside)
            drawn[tuple(line[np.argsort(apart)[:LENGTH]].T)] = True
            strokes[ndi.binary_dilation(drawn) & inside] = value
    return strokes


def train(
    images: list[Image], labels: list[Array], base: segzoo.SegmentationModel, budget: float
) -> segzoo.SegmentationModel:
    *_, last = segzoo.finetune(images, labels, base=base, budget=budget)
    return last.model


def classes(model: segzoo.SegmentationModel, image: Image) -> Array:
    return segzoo.predict(model, image.data, axes=image.axes) + np.uint8(1)


def test(model: segzoo.SegmentationModel, task: Path) -> float:
    dice = []
    for path in sorted((task / "test_labels").glob("*.tif")):
        image = segzoo.open_image(task / "test_images" / path.name)
        dice.append(mean_dice(tifffile.imread(path), classes(model, image) - 1))
    return float(np.mean(dice))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", default="generalist-2d")
    parser.add_argument("--budget", type=float, default=60)
    a = parser.parse_args()
    print("| task | round | Dice | corrections right |\n|---|---|---|---|", flush=True)
    for task in a.tasks:
        paths = sorted((task / "images").glob("*.tif"))
        images = [segzoo.open_image(path) for path in paths]
        strokes = [tifffile.imread(task / "scribbles" / path.name) for path in paths]
        base = segzoo.load_model(a.base)
        first = train(images, strokes, base, a.budget)
        rng = np.random.default_rng(0)
        corrected = [
            correct(dense(a.data, task.name, path.stem), classes(first, image), rng)
            for path, image in zip(paths, images, strict=True)
        ]
        both = [np.where(c > 0, c, s) for c, s in zip(corrected, strokes, strict=True)]
        print(f"| {task.name} | 1 | {test(first, task):.3f} | 0 |", flush=True)
        for name, start in (("2 on", first), ("2 anew", base)):
            model = train(images, both, start, a.budget)
            right = np.concatenate(
                [
                    (classes(model, image) == c)[c > 0]
                    for image, c in zip(images, corrected, strict=True)
                ]
            )
            dice = test(model, task)
            print(f"| {task.name} | {name} | {dice:.3f} | {right.mean():.2f} |", flush=True)


if __name__ == "__main__":
    main()
