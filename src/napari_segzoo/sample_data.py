"""Sample images: real ones that scikit-image's package carries, and generated nuclei.

`load_coins`, `coins_strokes`, `load_tissue`, `load_retina` and `load_nuclei` return arrays; the
others return layers for napari's *File > Open Sample* menu.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .io import open_image
from .model import DRAWING_PALETTE
from .synthetic import nuclei

LayerData = tuple[Any, dict[str, Any], str]
Polyline = Sequence[tuple[int, int]]

NUCLEI_SHAPES = {2: (512, 512), 3: (48, 256, 256)}
NUCLEI_VOXEL_SIZES = {2: (0.25, 0.25), 3: (1.0, 0.25, 0.25)}
"""In micrometers."""

_BACKGROUND_STROKES: tuple[Polyline, ...] = (
    ((14, 40), (18, 95)),
    ((87, 180), (85, 250)),
    ((95, 307), (145, 309)),
    ((170, 12), (222, 14), (224, 80)),
    ((235, 210), (285, 212)),
)
_COIN_STROKES: tuple[Polyline, ...] = (
    ((48, 27), (60, 61)),
    ((22, 322), (58, 346)),
    ((118, 140), (138, 164)),
    ((170, 325), (205, 368)),
    ((262, 148), (256, 172), (268, 195)),
)


def load_coins() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a photograph of 24 Greek coins and a reference segmentation.

    The outlines were found by following the steepest descent of brightness around each coin (a
    closed shortest path in polar coordinates, started from a threshold over the background),
    and checked by eye at eightfold enlargement.

    Returns
    -------
    image : uint8 array (303, 384)
        `skimage.data.coins`, from Pompeii, by the Brooklyn Museum Collection.
    reference : uint8 array (303, 384)
        0 is background, 1 to 24 are the coins in reading order.
    """
    from skimage.data import coins as photograph

    path = Path(str(files("napari_segzoo") / "data" / "coins_reference.png"))
    return photograph(), np.asarray(open_image(path, labels=True).data)


def coins_strokes() -> NDArray[np.uint8]:
    """Return what a user might draw on the coins: five strokes per class, 3 pixels wide.

    Returns
    -------
    uint8 array (303, 384)
        0 is not drawn, 1 background, 2 coin.
    """
    strokes = np.zeros((303, 384), np.uint8)
    for value, lines in ((1, _BACKGROUND_STROKES), (2, _COIN_STROKES)):
        for line in lines:
            for start, end in pairwise(line):
                strokes[_near_segment(strokes.shape, start, end, 1.5)] = value
    return strokes


def load_tissue() -> NDArray[np.uint8]:
    """Return colon tissue, stained brown for FHL2 and blue for nuclei: uint8 (512, 512, 3), YXC."""
    from skimage.data import immunohistochemistry

    image: NDArray[np.uint8] = immunohistochemistry()
    return image


def load_retina() -> NDArray[np.uint8]:
    """Return a photograph of a retina and its vessels: uint8 (1411, 1411, 3), YXC."""
    from skimage.data import retina as photograph

    image: NDArray[np.uint8] = photograph()
    return image


def load_nuclei(ndim: int = 2, seed: int = 0) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Return generated nuclei and their exact labels, see `napari_segzoo.synthetic.nuclei`.

    Parameters
    ----------
    ndim : {2, 3}
        (512, 512) with pixels of 0.25 micrometers, or (48, 256, 256) with planes 1 micrometer
        apart.
    seed : int
        Another seed gives other nuclei.
    """
    return nuclei(NUCLEI_SHAPES[ndim], voxel_size=NUCLEI_VOXEL_SIZES[ndim], count=60, seed=seed)


def coins() -> list[LayerData]:
    """Return coins, reference and strokes as napari layers."""
    from napari.utils.colormaps import CyclicLabelColormap

    image, reference = load_coins()
    colors = CyclicLabelColormap(colors=DRAWING_PALETTE)
    drawn = {**_metadata("coins strokes", "yx"), "colormap": colors}
    return [
        (image, _metadata("coins", "yx"), "image"),
        (reference, {**_metadata("coins reference", "yx"), "visible": False}, "labels"),
        (coins_strokes(), drawn, "labels"),
    ]


def tissue() -> list[LayerData]:
    """Return stained tissue as a napari layer."""
    return [(load_tissue(), {**_metadata("tissue", "yx"), "rgb": True}, "image")]


def retina() -> list[LayerData]:
    """Return a retina as a napari layer."""
    return [(load_retina(), {**_metadata("retina", "yx"), "rgb": True}, "image")]


def nuclei_2d() -> list[LayerData]:
    """Return generated nuclei in a plane, with reference, as napari layers."""
    return _nuclei_layers(2)


def nuclei_3d() -> list[LayerData]:
    """Return generated nuclei in a stack, with reference, as napari layers."""
    return _nuclei_layers(3)


def _nuclei_layers(ndim: int) -> list[LayerData]:
    image, labels = load_nuclei(ndim)
    axes, scale = "zyx"[-ndim:], NUCLEI_VOXEL_SIZES[ndim]
    reference = _metadata(f"nuclei {ndim}D reference", axes, scale, "micrometer")
    return [
        (image, _metadata(f"nuclei {ndim}D", axes, scale, "micrometer"), "image"),
        (labels, {**reference, "visible": False}, "labels"),
    ]


def _metadata(
    name: str, axes: str, scale: tuple[float, ...] | None = None, unit: str = "pixel"
) -> dict[str, Any]:
    return {
        "name": name,
        "axis_labels": tuple(axes),
        "scale": scale or (1.0,) * len(axes),
        "units": (unit,) * len(axes),
    }


def _near_segment(
    shape: tuple[int, ...], start: tuple[int, int], end: tuple[int, int], distance: float
) -> NDArray[np.bool_]:
    """Tell which pixels are at most `distance` from the straight line between two points."""
    points = np.moveaxis(np.indices(shape, float), 0, -1)
    along = np.subtract(end, start).astype(float)
    position = np.clip((points - start) @ along / (along @ along), 0, 1)
    gap = np.linalg.norm(points - start - position[..., None] * along, axis=-1)
    return np.asarray(gap <= distance)
