"""Validation: a confusion matrix over whole images, added up image by image."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..axes import find_layout
from ..inference.plan import Plan, PredictOptions, make_plan
from ..inference.prediction import Prediction
from ..metrics.overlap import class_scores, overall_scores
from ..model import SegmentationModel
from ..preprocess import Normalization
from .crops import Reader
from .data import IGNORE
from .events import Scored
from .processes import Processes


@dataclass
class Validator:
    """Measures a model on the validation images of a data set.

    Parameters
    ----------
    reader : Reader
        Where images come from.
    processes : Processes
        They share the images, and add up their matrices.
    """

    reader: Reader
    processes: Processes
    _plans: dict[tuple[int, ...], Plan] = field(default_factory=dict)

    def confusion(self, model: SegmentationModel) -> NDArray[np.int64]:
        """Count voxels by class in the labels (rows) and in the prediction (columns)."""
        classes = len(model.info.classes)
        table = np.zeros((classes, classes), np.int64)
        as_is = model.with_info(normalization=Normalization("range", 0.0, 1.0))
        samples = self.reader.dataset.validation
        for sample in samples[self.processes.rank :: self.processes.count]:
            for image, target in self.reader.read(sample):
                found = self._predict(as_is, image.numpy())
                table += count_confusion(target.numpy(), found, classes)
        return self.processes.sum(table)

    def _predict(self, model: SegmentationModel, image: NDArray[np.float32]) -> NDArray[np.uint16]:
        axes = "C" + "ZYX"[-model.info.ndim :]
        options = PredictOptions(device=str(self.processes.device))
        if image.shape not in self._plans:
            layout = find_layout(
                image.shape, axes, ndim=model.info.ndim, in_channels=model.info.in_channels
            )
            self._plans[image.shape] = make_plan(model, layout, options)
        plan = self._plans[image.shape]
        result = np.zeros(plan.layout.label_shape, np.uint16)
        run = Prediction(model, image, options, plan, plan.layout.label_axes, result)
        for _ in run.run():
            pass
        self._plans[image.shape] = run.plan
        return result


def count_confusion(
    target: NDArray[Any], prediction: NDArray[Any], classes: int
) -> NDArray[np.int64]:
    """Count pairs of class in `target` (row) and `prediction` (column) over known voxels."""
    known = target != IGNORE
    fused = classes * target[known].astype(np.int64) + prediction[known]
    return np.bincount(fused, minlength=classes**2).reshape(classes, classes)


def score(confusion: NDArray[np.int64], step: int) -> Scored:
    """Turn a confusion matrix into the event that reports it."""
    labels = range(len(confusion))
    per_class, overall = class_scores(confusion, labels), overall_scores(confusion, labels)
    return Scored(
        step,
        {n: per_class["dice"].get(str(n), nan) for n in labels},
        overall["mean_dice"],
        {n: per_class["iou"].get(str(n), nan) for n in labels},
        overall["mean_iou"],
    )
