"""An image to test and to show a model on."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..model import PALETTE, ModelInfo
from ..synthetic import nuclei

SIDES = {2: (256, 256), 3: (32, 96, 96)}
NUCLEI = {2: 60, 3: 40}
DIAMETER = {2: 24.0, 3: 14.0}
PANEL = 256
"""Pixels of the cover's height, and half of its width."""


def sample_image(info: ModelInfo, divisor: Sequence[int]) -> NDArray[Any]:
    """Draw nuclei in the intensities that a model expects.

    Parameters
    ----------
    info : ModelInfo
        A model of any kind of structure.
    divisor : sequence of int
        What the sides must be multiples of.

    Returns
    -------
    ndarray
        (C, [Z,] Y, X), all channels alike: uint8 where the model was made for integers that are
        scaled by the limit of their type, else float32.
    """
    sides = [ceil(n / step) * step for n, step in zip(SIDES[info.ndim], divisor, strict=True)]
    drawn, _ = nuclei(sides, count=NUCLEI[info.ndim], diameter=DIAMETER[info.ndim], blur=1.0)
    image = drawn.astype(np.float32)
    scaling = info.normalization
    if scaling.kind == "fixed":
        image = np.rint(255 * _stretch(image)).astype(np.uint8)
    elif scaling.kind == "range":
        image = scaling.low + (scaling.high - scaling.low) * _stretch(image)
    return np.repeat(image[None], info.in_channels, axis=0)


def draw_cover(info: ModelInfo, image: NDArray[Any], found: NDArray[Any]) -> Image.Image:
    """Draw an image and what is found in it side by side.

    Parameters
    ----------
    info : ModelInfo
        Whose classes have colours.
    image : ndarray
        (C, [Z,] Y, X).
    found : ndarray of float
        Probabilities or logits, (K, [Z,] Y, X).
    """
    labels = found.argmax(axis=0)
    if labels.ndim == 3:
        image, labels = image[:, image.shape[1] // 2], labels[len(labels) // 2]
    grey = np.rint(255 * _stretch(image.mean(axis=0))).astype(np.uint8)
    semantic = info.task == "semantic"
    palette = [c.color for c in info.classes] if semantic else PALETTE[: info.num_outputs]
    colors = np.asarray([list(bytes.fromhex(c[1:])) for c in palette], np.uint8)[labels]
    cover = Image.new("RGB", (2 * PANEL, PANEL))
    for n, panel in enumerate((np.stack([grey] * 3, axis=-1), colors)):
        drawn = Image.fromarray(panel).resize((PANEL, PANEL), Image.Resampling.NEAREST)
        cover.paste(drawn, (n * PANEL, 0))
    return cover


def _stretch(image: NDArray[Any]) -> NDArray[np.float32]:
    """Bring the 1st and 99.8th percentiles to 0 and 1, and cut off what lies beyond."""
    low, high = np.percentile(image, [1, 99.8])
    stretched: NDArray[np.float32] = np.clip((image - low) / (high - low), 0, 1, dtype=np.float32)
    return stretched
