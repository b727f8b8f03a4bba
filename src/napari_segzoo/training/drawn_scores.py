"""Scores of a model on images of which only some voxels are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan

import numpy as np

from ..inference import PredictOptions, prepare
from ..metrics.overlap import class_scores
from ..model import SegmentationModel
from ..preprocess import Normalization
from .data import TrainingImage
from .validate import count_confusion


def mean_dice(
    model: SegmentationModel,
    images: Sequence[TrainingImage],
    device: str,
    stop: Callable[[], bool],
) -> dict[int, float] | None:
    """Dice of each class over the known voxels of all images together; nan if it is in neither.

    `stop` is asked after each tile; None if it says True.
    """
    as_is = model.with_info(normalization=Normalization("range", 0.0, 1.0), task="semantic")
    count = model.info.num_outputs
    table = np.zeros((count, count), np.int64)
    axes = "C" + "ZYX"[-model.info.ndim :]
    for item in images:
        run = prepare(as_is, item.image.numpy(), axes=axes, options=PredictOptions(device=device))
        for _ in run.run():
            if stop():
                return None
        table += count_confusion(item.target.numpy(), run.result, count)
    dice = class_scores(table, range(count))["dice"]
    return {c: dice.get(str(c), nan) for c in range(count)}
