"""Show an image that other layers hide, so that what is drawn or found on it lies over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer

from .layer_combo import DRAWN_ON, RESULT

if TYPE_CHECKING:
    import napari

OPAQUE = ("translucent", "translucent_no_depth", "opaque")


def uncover(viewer: napari.viewer.Viewer, image: Image) -> list[Layer]:
    """Show an image layer; hide images that cover it, and what belongs to other images there.

    Channels that are shown together, added up, do not cover each other. Returns what it has hidden.
    """
    hidden = []
    image.visible = True
    position = viewer.layers.index(image)
    for n, layer in enumerate(viewer.layers):
        if layer is not image and layer.visible and _overlap(layer, image):
            covers = n > position and isinstance(layer, Image) and layer.blending in OPAQUE
            if (covers and not _source(layer)) or _belongs_elsewhere(viewer, layer, image):
                layer.visible = False
                hidden.append(layer)
    return hidden


def topmost_visible(viewer: napari.viewer.Viewer, images: Sequence[Image]) -> Image:
    """Return the topmost visible one of some image layers, or the last if all are hidden."""
    seen = [image for image in images if image.visible]
    return max(seen or images[-1:], key=viewer.layers.index)


def _belongs_elsewhere(viewer: napari.viewer.Viewer, layer: Layer, image: Image) -> bool:
    """Whether a layer was drawn on, or found in, another image layer of the viewer."""
    if not isinstance(layer, Labels):
        return False
    others = [x for x in viewer.layers if isinstance(x, Image) and x is not image]
    drawn_on = layer.metadata.get(DRAWN_ON) in [x.unique_id for x in others]
    return drawn_on or _source(layer) in [x.name for x in others]


def _source(layer: Layer) -> str | None:
    """Return the name of the image in which a dock found what a layer shows."""
    found: str | None = layer.metadata.get(RESULT, {}).get("source")
    return found


def _overlap(one: Layer, two: Layer) -> bool:
    (a, b), (c, d) = ((x.extent.world[0][-2:], x.extent.world[1][-2:]) for x in (one, two))
    return bool(np.all(a < d) and np.all(c < b))
