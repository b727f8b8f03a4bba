"""Measure the metrics side by side with other libraries, in one process.

    python benchmarks/metrics.py [confusion] [peers] [instances] [near] [far] [zarr] [--rounds N]

Libraries that are not installed are left out. The ways take turns; what is printed is the
median over the rounds, the ratio to a yardstick, both for the time that passed and for the
time that all cores worked (which says more on a busy machine), and the most memory that a way
needed on top of what the process held before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree
from side_by_side import Ways, compare, library, peak_memory_once, plain_numpy

from napari_segzoo.metrics import evaluate
from napari_segzoo.metrics.instances import matching_scores, objects, overlap_scores
from napari_segzoo.metrics.scan import scan
from napari_segzoo.metrics.surface import border_voxels
from napari_segzoo.metrics.surface_scores import scores_by_label

SPACING = (4.0, 1.0, 1.0)


def smooth_classes(shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """Three classes in smooth regions, uint16, and the same moved and with 1% wrong voxels."""
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(0)
    field = gaussian_filter(random.standard_normal([n // 8 for n in shape]), 2)
    coarse = np.digitize(field, np.quantile(field, [0.6, 0.8])).astype(np.uint16)
    reference = coarse.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    prediction = np.roll(reference, 2, axis=2)
    wrong = random.integers(0, reference.size, reference.size // 100)
    prediction.reshape(-1)[wrong] = random.integers(0, 3, len(wrong))
    return reference, prediction


def confusion(rounds: int) -> None:
    reference, prediction = smooth_classes((128, 1024, 1024))
    flat = reference.reshape(-1), prediction.reshape(-1)
    ways: Ways = {
        "napari-segzoo with numba": lambda: scan(reference, prediction),
        "napari-segzoo without": plain_numpy(lambda: scan(reference, prediction)),
    }
    yardstick = "napari-segzoo with numba"
    if numba := library("numba"):
        yardstick = "plain numba loop, four tables"
        ways["reading both arrays"] = read_both(numba, *flat)
        ways[yardstick] = four_tables(numba, *flat)
    compare("Confusion matrix, 128 x 1024 x 1024 uint16, 3 classes", ways, yardstick, rounds)


def confusion_peers(rounds: int) -> None:
    """Half of the volume, so that the others have enough memory."""
    reference, prediction = (image[:64] for image in smooth_classes((128, 1024, 1024)))
    flat = reference.reshape(-1), prediction.reshape(-1)
    ways: Ways = {
        "napari-segzoo with numba": lambda: scan(reference, prediction),
        "napari-segzoo without": plain_numpy(lambda: scan(reference, prediction)),
    }
    if sklearn := library("sklearn.metrics"):
        ways["scikit-learn confusion_matrix"] = lambda: sklearn.confusion_matrix(*flat)
    if skimage := library("skimage.metrics"):
        ways["scikit-image contingency_table"] = lambda: skimage.contingency_table(*flat)
    torch = library("torch")
    if torch and (torchmetrics := library("torchmetrics.functional.classification")):
        tensors = [torch.from_numpy(image.astype(np.int64)) for image in (prediction, reference)]
        ways["torchmetrics multiclass_confusion_matrix"] = lambda: (
            torchmetrics.multiclass_confusion_matrix(*tensors, num_classes=3)
        )
    if torch and (monai := library("monai.metrics")):
        labels = [
            torch.from_numpy(image.astype(np.int64))[None, None]
            for image in (prediction, reference)
        ]
        one_hot = library("monai.networks").one_hot
        ready = [one_hot(image, 3) for image in labels]
        ways["MONAI get_confusion_matrix"] = lambda: monai.get_confusion_matrix(
            *(one_hot(image, 3) for image in labels)
        )
        ways["the same, one-hot made before"] = lambda: monai.get_confusion_matrix(*ready)
    title = "Confusion matrix, 64 x 1024 x 1024 uint16, 3 classes"
    compare(title, ways, "napari-segzoo with numba", rounds)


def read_both(numba: Any, reference: Any, prediction: Any) -> Callable[[], Any]:
    @numba.njit
    def loop(a: Any, b: Any) -> int:
        total = 0
        for k in range(a.size):
            total += a[k] ^ b[k]
        return total

    return lambda: loop(reference, prediction)


def four_tables(numba: Any, reference: Any, prediction: Any) -> Callable[[], Any]:
    @numba.njit
    def loop(a: Any, b: Any) -> Any:
        table = np.zeros((4, 3, 3), np.int64)
        for k in range(0, a.size, 4):
            table[0, a[k], b[k]] += 1
            table[1, a[k + 1], b[k + 1]] += 1
            table[2, a[k + 2], b[k + 2]] += 1
            table[3, a[k + 3], b[k + 3]] += 1
        return table.sum(axis=0)

    return lambda: loop(reference, prediction)


def many_objects() -> tuple[Any, Any]:
    """2,000 balls in 128 x 1024 x 1024, and the same moved by two voxels."""
    random = np.random.default_rng(1)
    shape = (128, 1024, 1024)
    images = np.zeros((2, *shape), np.uint16)
    z, y, x = np.ogrid[-12:13, -12:13, -12:13]
    ball = z**2 + y**2 + x**2 <= 144
    for label in range(1, 2001):
        centre = [int(random.integers(14, n - 14)) for n in shape]
        for image, shift in zip(images, (0, 2), strict=True):
            corner = [c - 12 for c in centre]
            corner[2] += shift - 1
            image[tuple(slice(c, c + 25) for c in corner)][ball] = label
    return images[0], images[1]


def instances(rounds: int) -> None:
    reference, prediction = many_objects()

    def everything() -> Any:
        found = objects(scan(reference, prediction).contingency)
        return matching_scores(found), overlap_scores(found)

    ways: Ways = {
        "contingency with numba": lambda: scan(reference, prediction),
        "contingency without": plain_numpy(lambda: scan(reference, prediction)),
        "complete matching with numba": everything,
        "complete matching without": plain_numpy(everything),
    }
    yardstick = "contingency with numba"
    if stardist := library("stardist.matching"):
        yardstick = "stardist label_overlap"
        ways[yardstick] = lambda: stardist.label_overlap(reference, prediction, check=False)
        ways["stardist matching, one threshold"] = lambda: stardist.matching(reference, prediction)
    compare("2,000 objects in 128 x 1024 x 1024 uint16", ways, yardstick, rounds)


def ellipsoid(radii: tuple[float, ...], shift: float = 0) -> Any:
    grid = np.ogrid[:128, :512, :512]
    centre = (64, 256 + shift, 256)
    terms = zip(grid, centre, radii, strict=True)
    return sum(((g - c) / r) ** 2 for g, c, r in terms) <= 1


def near(rounds: int) -> None:
    surfaces("near", ellipsoid((50, 201, 199), 1), rounds)


def far(rounds: int) -> None:
    surfaces("far apart", ellipsoid((30, 120, 100), 20), rounds)


def surfaces(name: str, prediction: Any, rounds: int) -> None:
    reference = ellipsoid((50, 200, 200))
    yardstick = "napari-segzoo with numba"

    def everything() -> Any:
        return evaluate(reference, prediction, spacing=SPACING)

    def surfaces_alone() -> Any:
        whole = tuple(slice(0, n) for n in reference.shape)
        borders = [
            border_voxels(m.view(np.uint8), whole, (0, 0, 0), m.shape)
            for m in (reference, prediction)
        ]
        return scores_by_label(*borders, [1], reference.shape, SPACING, {1: 4.0})

    ways: Ways = {
        yardstick: surfaces_alone,
        "the same without": plain_numpy(surfaces_alone),
        "evaluate (all scores) with numba": everything,
        "cKDTree on border voxels": lambda: tree(reference, prediction),
    }
    monai, torch = library("monai.metrics"), library("torch")
    if monai and torch:
        masks = [torch.from_numpy(m)[None, None] for m in (prediction, reference)]
        ways["MONAI hd95 alone"] = lambda: monai.compute_hausdorff_distance(
            *masks, include_background=True, percentile=95, spacing=SPACING
        )
    title = f"hd, hd95, assd and nsd, surfaces {name}, 128 x 512 x 512, spacing 4, 1, 1"
    compare(title, ways, yardstick, rounds)


def tree(reference: Any, prediction: Any) -> Any:
    """Distances both ways by a k-d tree; borders by erosion of the cropped masks."""
    where = np.nonzero(reference | prediction)
    crop = tuple(slice(max(0, w.min() - 1), w.max() + 2) for w in where)
    borders = [m[crop] & ~binary_erosion(m[crop]) for m in (reference, prediction)]
    points = [np.argwhere(b) * SPACING for b in borders]
    there, back = (cKDTree(b).query(a)[0] for a, b in (points, points[::-1]))
    both = np.concatenate([there, back])
    return both.max(), np.percentile(both, 95), both.mean(), (both <= 4).mean()


def stored(_: int) -> None:
    for surfaces in (False, True):
        score_stored(surfaces)


def score_stored(surfaces: bool) -> None:
    """Score a pair of Zarr arrays of 25 GiB each, most of whose chunks hold one value."""
    import zarr

    shape = (1024, 3712, 3584)
    with tempfile.TemporaryDirectory() as folder:
        pair = []
        for name in ("reference", "prediction"):
            array = zarr.create_array(
                Path(folder) / name, shape=shape, chunks=(64, 256, 256), dtype="u2"
            )
            array[256:384, 512:1024, 512:1024] = 1 if name == "reference" else 2
            pair.append(array)
        before = psutil.Process().memory_info().rss / 2**20
        start = time.perf_counter()
        extra = peak_memory_once(lambda: evaluate(*pair, surfaces=surfaces))
        size = 2 * pair[0].nbytes / 2**30
        print(
            f"\n{size:.0f} GiB of Zarr, {'with' if surfaces else 'without'} surfaces: "
            f"{time.perf_counter() - start:.0f} s, "
            f"{before:.0f} MiB before, {before + extra:.0f} MiB at most",
            flush=True,
        )


if __name__ == "__main__":
    parts = {
        "confusion": confusion,
        "peers": confusion_peers,
        "instances": instances,
        "near": near,
        "far": far,
        "zarr": stored,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(parts)}; all if left out")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}")
    for part in options.parts or parts:
        parts[part](options.rounds)
