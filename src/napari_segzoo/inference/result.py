"""The array that a run fills: its axes, shape, type, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .crop import Crop
from .device import free_memory
from .plan import Plan

if TYPE_CHECKING:
    from ..model import SegmentationModel
    from .prediction import Prediction


def probabilities_of(plan: Plan) -> Plan:
    """Return the same plan with probabilities as its output."""
    return replace(plan, output="probabilities")


def result_shape(
    model: SegmentationModel, plan: Plan
) -> tuple[str, tuple[int, ...], np.dtype[Any]]:
    """Return axes, shape and dtype of the result of a plan.

    Labels have the axes of the image without C, and the smallest unsigned type that holds
    them; instances are uint32; probabilities are float32 with C before the spatial axes.
    """
    layout = plan.layout
    spatial = tuple(stop - start for start, stop in plan.tiling.wanted)
    if plan.output == "probabilities":
        axes = layout.leading_axes + "C" + layout.model_axes
        shape = (*layout.leading_shape, model.info.num_outputs, *spatial)
        return axes, shape, np.dtype(np.float32)
    small = np.uint8 if model.info.num_outputs <= 256 else np.uint16
    dtype = np.uint32 if plan.output == "instances" else small
    return layout.label_axes, layout.leading_shape + spatial, np.dtype(dtype)


def make_result(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of zeros; raise `InputError` if memory cannot hold it."""
    import torch

    needed, free = prod(shape) * dtype.itemsize, free_memory(torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"The result takes {needed / 2**30:.1f} GiB and {free / 2**30:.1f} GiB of memory are "
            "free; segment a part of the image, or let the command line or out write a file."
        )
    return np.zeros(shape, dtype)


@dataclass(frozen=True)
class Place:
    """Where a result lies in space and time; see `Image`."""

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    unit: str
    affine: tuple[tuple[float, ...], ...] | None


def find_place(image: Any, run: Prediction) -> Place:
    """Return where the result of a run lies, from the image given: at the region it is about."""
    axes = run.plan.layout.axes
    scale = dict(zip(axes, getattr(image, "scale", ()), strict=False))
    translate = dict(zip(axes, getattr(image, "translate", ()), strict=False))
    first = dict.fromkeys(axes, 0) | dict(zip(run.plan.layout.model_axes, run.origin, strict=False))
    if isinstance(run.image, Crop):
        first |= {
            a: start
            for a, (start, _) in zip(axes, run.image.ranges, strict=True)
            if a in run.plan.layout.leading_axes
        }
    return Place(
        tuple(scale.get(a, 1.0) for a in run.axes),
        tuple(translate.get(a, 0.0) + first.get(a, 0) * scale.get(a, 1.0) for a in run.axes),
        getattr(image, "unit", "pixel"),
        _shifted(getattr(image, "affine", None), first),
    )


def _shifted(affine: Any, first: Mapping[str, int]) -> tuple[tuple[float, ...], ...] | None:
    """Return the affine of a part of an image that begins at a voxel given by axis letters."""
    if affine is None or not any(first.get(a) for a in "XYZ"):
        return affine  # type: ignore[no-any-return]
    matrix = np.array(affine, float)
    matrix[:, 3] = matrix @ [*(first.get(a, 0) for a in "XYZ"), 1]
    return tuple(tuple(row) for row in matrix.tolist())
