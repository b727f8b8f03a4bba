"""Scans of bodies, which all lie in the same direction and at about the same scale."""

from __future__ import annotations

from collections.abc import Iterable

from ..io import Image
from ..io.units import PIXEL, length_factor

SMALLEST_VOXEL = 0.1
"""Length in millimetres of the smallest voxels that a scanner of whole bodies makes."""
RESIZE = 1.35
"""Most by which they are enlarged or reduced in training."""


def are_body_scans(images: Iterable[Image], ndim: int) -> bool:
    """Whether images are volumes of a body, so that left and right may be classes."""
    return ndim == 3 and all(_is_body_scan(image) for image in images)


def _is_body_scan(image: Image) -> bool:
    millimetres = [n * length_factor(image.unit, "millimeter") for n in image.voxel_size]
    return image.unit != PIXEL and min(millimetres) >= SMALLEST_VOXEL
