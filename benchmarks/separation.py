"""Time from a mask to single objects, beside the usual recipe of scikit-image.

usage: python benchmarks/separation.py [--rounds 5]

The masks are those of generated nuclei, many of which touch. The recipe is the distance to the
background, smoothed over two voxels, its local maxima, and the watershed from these.
"""

import argparse

import numpy as np
from scipy import ndimage as ndi
from side_by_side import Ways, compare
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from napari_segzoo.postprocess import separate_objects
from napari_segzoo.synthetic import nuclei
from napari_segzoo.training.data import interior_and_border

SHAPES = {(2048, 2048): 3000, (64, 192, 192): 60}
"""Nuclei in each."""


def recipe(mask):
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 2)
    peaks = peak_local_max(distance, min_distance=5, labels=mask)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, seeds, mask=mask)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    for shape, count in SHAPES.items():
        _, ids = nuclei(shape, count=count, diameter=24)
        mask, classes = (ids > 0).astype(np.uint8), interior_and_border(ids)
        ways: Ways = {
            "scikit-image": lambda mask=mask: recipe(mask),
            "napari-segzoo": lambda mask=mask: separate_objects(mask, "semantic"),
            "from three classes": lambda classes=classes: separate_objects(classes, "instances"),
        }
        found = {name: int(way().max()) for name, way in ways.items()}
        title = f"{shape}, {ids.max()} nuclei, {mask.mean():.0%} of the voxels; found {found}"
        compare(title, ways, "scikit-image", arguments.rounds)


if __name__ == "__main__":
    main()
