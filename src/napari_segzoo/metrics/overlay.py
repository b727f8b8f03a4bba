"""Where a prediction is right and where it errs, as an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import label_pair, regions

OUTCOMES = (
    ("background in both", "#000000"),
    ("true positive", "#009e73"),
    ("false positive", "#d55e00"),
    ("false negative", "#56b4e9"),
    ("wrong class", "#f0e442"),
)
"""What the values 0, 1, ... of an error map mean, and colours the colour-blind tell apart."""


def error_map(
    reference: Any, prediction: Any, *, task: str = "semantic", ignore: int | None = None
) -> NDArray[np.uint8]:
    """Mark each voxel as one of `OUTCOMES`.

    Parameters
    ----------
    reference, prediction : array-like of int
        Label images of one shape; 0 is background.
    task : {"semantic", "instances"}
        For "instances", object numbers are not compared: any object counts as foreground.
    ignore : int or None
        Reference value that is marked as background in both.

    Returns
    -------
    ndarray of uint8, shape of the images
        0 background in both, 1 true positive, 2 false positive (only the prediction has
        foreground), 3 false negative (only the reference has), 4 foreground of another class.

    Raises
    ------
    InputError
        If shapes differ or values are no labels.
    """
    reference, prediction = label_pair(reference, prediction)
    marked = np.zeros(tuple(reference.shape), np.uint8)
    for region in regions(reference, prediction):
        ours, theirs = np.asarray(reference[region]), np.asarray(prediction[region])
        known = ours != 0, theirs != 0
        part = np.select(
            [known[0] & known[1], known[1], known[0]], [np.uint8(1), np.uint8(2), np.uint8(3)], 0
        )
        if task == "semantic":
            part[(part == 1) & (ours != theirs)] = 4
        if ignore is not None:
            part[ours == ignore] = 0
        marked[region] = part
    return marked
