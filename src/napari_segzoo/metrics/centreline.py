"""Centreline Dice for tubes: vessels, neurites, filaments."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from .blocks import label_pair


def cl_dice(reference: Any, prediction: Any, *, label: int = 1, ignore: int | None = None) -> float:
    """Centreline Dice of one class (Shit et al., CVPR 2021).

    The harmonic mean of topology precision, the share of the predicted skeleton that lies in
    the reference, and topology sensitivity, the share of the reference skeleton that lies in
    the prediction. Skeletons are those of `skimage.morphology.skeletonize`, per frame.

    Parameters
    ----------
    reference, prediction : array-like of int or bool
        Label images of one shape, 1 to 3 spatial axes after any number of frames.
    label : int
        The class.
    ignore : int or None
        Voxels with this reference label belong to no class in either image.

    Returns
    -------
    float
        0..1; nan if both images lack the class, 0 if one does.
    """
    from skimage.morphology import skeletonize

    reference, prediction = label_pair(reference, prediction)
    inside = np.zeros(2)
    length = np.zeros(2)
    for frame in product(*(range(n) for n in reference.shape[:-3])):
        ours, theirs = np.asarray(reference[frame]), np.asarray(prediction[frame])
        masks = [(ours == label), (theirs == label)]
        if ignore is not None:
            masks = [mask & (ours != ignore) for mask in masks]
        flat = [np.atleast_2d(np.squeeze(mask)) for mask in masks]
        skeletons = [skeletonize(mask) if mask.any() else mask for mask in flat]
        inside += [(skeletons[0] & flat[1]).sum(), (skeletons[1] & flat[0]).sum()]
        length += [s.sum() for s in skeletons]
    if not length.any():
        return float("nan")
    if not length.all() or not inside.any():
        return 0.0
    sensitivity, precision = inside / length
    return float(2 * precision * sensitivity / (precision + sensitivity))
