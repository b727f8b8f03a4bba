"""Which part of an image the Run dock segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..errors import InputError
from .forms import make_choice
from .layer_combo import LayerCombo
from .layers import full_array
from .visible import ranges_seen

if TYPE_CHECKING:
    import napari

PARTS = (("Whole image", "whole"), ("What is visible", "visible"), ("Around shapes", "shapes"))
Ranges = dict[str, tuple[int, int]]


class RegionChoice(QWidget):
    """Asks for the whole image, what the canvas shows, or the surroundings of shapes."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.part = make_choice(PARTS)
        self.shapes = LayerCombo(viewer, Shapes)
        self.shapes.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.part)
        column.addWidget(self.shapes)
        self.part.currentIndexChanged.connect(
            lambda: self.shapes.setVisible(self.part.currentData() == "shapes")
        )

    def ranges(self, image: Image, axes: str) -> Ranges:
        """Return start and stop along the axes of `image` that are cut.

        Raises
        ------
        InputError
            If nothing of the image is visible or inside the shapes.
        """
        part = self.part.currentData()
        if part == "whole":
            return {}
        cut = self.visible(image, axes) if part == "visible" else self._around_shapes(image, axes)
        if any(start >= stop for start, stop in cut.values()):
            where = "visible" if part == "visible" else f"inside {self.shapes.currentText()}"
            raise InputError(f"Nothing of {image.name} is {where}; choose another part of it.")
        return cut

    def visible(self, image: Image, axes: str) -> Ranges:
        """Return start and stop of what the canvas shows, equal where it shows nothing."""
        seen = ranges_seen(self._viewer, image)
        return {a: span for a, span in zip(axes, seen, strict=False) if a != "C"}

    def _around_shapes(self, image: Image, axes: str) -> Ranges:
        """Bounding box of the shapes, along the axes in which they have an extent."""
        layer = self.shapes.layer
        if layer is None or not layer.data:
            raise InputError("There are no shapes; draw a rectangle in a Shapes layer first.")
        first = max(0, image.ndim - layer.ndim)
        point = np.zeros(image.ndim)
        corners = []
        for vertex in np.concatenate(layer.data):
            point[first:] = np.asarray(layer.data_to_world(vertex))[-(image.ndim - first) :]
            corners.append(image.world_to_data(point))
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        sizes = full_array(image).shape
        return {
            axes[n]: (max(0, round(low[n])), min(sizes[n], max(round(high[n]), round(low[n]) + 1)))
            for n in range(first, image.ndim)
            if high[n] - low[n] > 1e-3 and axes[n] != "C"
        }


def in_words(ranges: Ranges, axes: str) -> str:
    """Return which voxels are cut, such as "all z, y 10 to 49, x 0 to 9"; "" for the whole."""
    if not ranges:
        return ""
    spans = {a: f"{a.lower()} {start} to {stop - 1}" for a, (start, stop) in ranges.items()}
    return ", ".join(spans.get(a, f"all {a.lower()}") for a in axes if a != "C")


def moved(placement: dict[str, Any], offset: tuple[int, ...]) -> dict[str, Any]:
    """Return the placement of a layer whose data begin at the voxel `offset`."""
    step = placement["rotate"] @ placement["shear"] @ (placement["scale"] * np.asarray(offset))
    return {**placement, "translate": placement["translate"] + step}
