"""Scans of bodies keep their directions: what lies left is not taken for what lies right."""

import numpy as np
import pytest
from tiny import dice

import napari_segzoo as segzoo


def balls():
    """Bright balls, and labels with 2 for their left half and 3 for their right half."""
    z, y, x = np.indices((12, 32, 32))
    image = np.random.default_rng(0).normal(0, 0.1, z.shape).astype(np.float32)
    labels = np.ones(z.shape, np.uint8)
    for centre in ((5, 8, 8), (6, 23, 10), (5, 10, 24), (6, 24, 24)):
        inside = sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)) <= 25
        image[inside] += 1
        labels[inside] = np.where(x < centre[2], 2, 3)[inside]
    return image, labels


@pytest.mark.parametrize("unit, told_apart", [("millimeter", True), ("micrometer", False)])
def test_left_and_right_differ_in_scans_of_bodies_only(unit, told_apart):
    pixels, labels = balls()
    image = segzoo.Image(pixels, "ZYX", (1.0, 1.0, 1.0), unit)
    *_, last = segzoo.finetune(
        image, labels, steps=60, seed=0, architecture_options={"widths": (8, 16)}
    )
    found = segzoo.predict(last.model, image)
    left = dice(np.asarray(found) == 1, labels == 2)
    assert (left > 0.8) == told_apart
