"""Tells when classes were scored on object numbers, or objects on a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from .score_choice import holds_objects
from .score_pair import class_names

if TYPE_CHECKING:
    from ..metrics import Report

MOST_VALUES = 16
"""Values without a name in a layer, above which they are taken for object numbers."""


def object_hint(report: Report, reference: Labels, prediction: Labels) -> str:
    """Return a sentence on why these layers do not suit what was compared, or nothing."""
    held = _values(report)
    if not held:
        return ""
    layers = (reference, prediction)
    many = [x for x, v in zip(layers, held, strict=True) if _look_like_objects(x, v)]
    single = [x for x, v in zip(layers, held, strict=True) if len(v) == 1 and x not in many]
    if many and single:
        remedy = (
            "choose a reference that numbers its objects, or run the model again for Classes"
            if single[0] is reference
            else "run the model again for Separate objects"
        )
        return (
            f"{many[0].name} numbers its objects, but {single[0].name} holds a single value; if "
            f"that stands for many objects, {remedy}."
        )
    if many and report.task == "semantic":
        names = " and ".join(layer.name for layer in many)
        return f"The values of {names} look like object numbers; compare Separate objects."
    return ""


def _values(report: Report) -> list[list[int]]:
    """Return the values above 0 in reference and prediction, nothing before all is read."""
    if report.task == "instances" and "n_reference" in report:
        return [list(range(1, report[n] + 1)) for n in ("n_reference", "n_prediction")]
    if "confusion" not in report:
        return []
    table, labels = np.asarray(report["confusion"]), np.asarray(report["labels"])
    return [labels[(table.sum(axis) > 0) & (labels > 0)].tolist() for axis in (1, 0)]


def _look_like_objects(layer: Labels, values: list[int]) -> bool:
    named = class_names(layer) or {}
    unnamed = sum(value not in named for value in values)
    return unnamed > MOST_VALUES or (len(values) > 1 and holds_objects(layer))
