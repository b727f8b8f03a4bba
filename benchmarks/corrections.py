"""Score corrections: strokes where a model is wrong, and training from it, as a table.

usage: python benchmarks/corrections.py TASK [TASK ...] --data DATA [--base generalist-2d]

Each TASK is one task of `few_shot.py`, DATA the folder with the sets its images come from. Up to
four strokes of each class in each image are drawn along the largest errors,

- of the model that the strokes of the task made, on the images they are on, and trained on with
  those ("second round");
- of the same model, and of `nuclei` where the task is about nuclei, on the two test images that it
  does worst on (one of two), and trained on alone ("own, new images" and "nuclei, new images").

Told are the Dice on the images drawn on and on the other test images, before and after, and the
share of corrected voxels that are right after it.
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


def score(model: segzoo.SegmentationModel, images: list[Image], truths: list[Array]) -> float:
    pairs = zip(images, truths, strict=True)
    return float(np.mean([mean_dice(t, classes(model, image) - 1) for image, t in pairs]))


def tell(
    name: str,
    base: segzoo.SegmentationModel,
    drawn: tuple[list[Image], list[Array], list[Array]],
    rest: tuple[list[Image], list[Array]],
    budget: float,
) -> None:
    """Draw corrections into the strokes on images with truths, train, and print a row."""
    images, truths, strokes = drawn
    rng = np.random.default_rng(0)
    corrections = [
        correct(truth, classes(base, image), rng)
        for image, truth in zip(images, truths, strict=True)
    ]
    both = [np.where(c > 0, c, s) for c, s in zip(corrections, strokes, strict=True)]
    model = train(images, both, base, budget)
    pairs = zip(images, corrections, strict=True)
    right = np.concatenate([(classes(model, image) == c)[c > 0] for image, c in pairs]).mean()
    print(
        f"| {name} | {score(base, images, truths):.3f} | {score(model, images, truths):.3f} "
        f"| {right:.0%} | {score(base, *rest):.3f} | {score(model, *rest):.3f} |",
        flush=True,
    )


def correct_new_images(
    name: str, base: segzoo.SegmentationModel, tests: tuple[list[Image], list[Array]], budget: float
) -> None:
    images, truths = tests
    dice = [score(base, [image], [truth]) for image, truth in zip(images, truths, strict=True)]
    order = np.argsort(dice)
    count = min(2, len(order) // 2)
    drawn, truths = ([values[n] for n in order[:count]] for values in tests)
    nothing = [np.zeros_like(truth) for truth in truths]
    rest = [[values[n] for n in order[count:]] for values in tests]
    tell(name, base, (drawn, truths, nothing), (rest[0], rest[1]), budget)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--base", default="generalist-2d")
    parser.add_argument("--budget", type=float, default=60)
    a = parser.parse_args()
    print("| task | drawn on | after | right | other images | after |\n|---|---|---|---|---|---|")
    for task in a.tasks:
        paths = sorted((task / "images").glob("*.tif"))
        images = [segzoo.open_image(path) for path in paths]
        strokes = [tifffile.imread(task / "scribbles" / path.name) for path in paths]
        truths = [dense(a.data, task.name, path.stem) for path in paths]
        names = [path.name for path in sorted((task / "test_labels").glob("*.tif"))]
        tests = (
            [segzoo.open_image(task / "test_images" / name) for name in names],
            [tifffile.imread(task / "test_labels" / name) for name in names],
        )
        first = train(images, strokes, segzoo.load_model(a.base), a.budget)
        tell(f"{task.name}, second round", first, (images, truths, strokes), tests, a.budget)
        correct_new_images(f"{task.name}, own, new images", first, tests, a.budget)
        if task.name != "axon":
            base = segzoo.load_model("nuclei")
            correct_new_images(f"{task.name}, nuclei, new images", base, tests, a.budget)


if __name__ == "__main__":
    main()
