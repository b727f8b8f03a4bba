"""Scores of a model on images of which only some voxels are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..inference import PredictOptions, prepare
from ..model import SegmentationModel
from ..preprocess import Normalization
from .data import IGNORE, TrainingImage


def mean_dice(
    model: SegmentationModel, images: Sequence[TrainingImage], device: str
) -> dict[int, float]:
    """Dice of each class over the known voxels of all images together; nan if it is in neither."""
    as_is = model.with_info(normalization=Normalization("range", 0.0, 1.0), task="semantic")
    count = model.info.num_outputs
    overlap, total = np.zeros(count), np.zeros(count)
    axes = "C" + "ZYX"[-model.info.ndim :]
    for item in images:
        run = prepare(as_is, item.image.numpy(), axes=axes, options=PredictOptions(device=device))
        for _ in run.run():
            pass
        target = item.target.numpy()
        known = target != IGNORE
        for c in range(count):
            predicted, true = (run.result == c) & known, target == c
            overlap[c] += 2 * np.count_nonzero(predicted & true)
            total[c] += np.count_nonzero(predicted) + np.count_nonzero(true)
    return {c: float(overlap[c] / total[c]) if total[c] else math.nan for c in range(count)}
