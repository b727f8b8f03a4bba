"""What the network makes of the visible part of the image while it is being trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from ..axes import Layout
from ..inference.region import Region
from ..model import SegmentClass
from .layer_combo import RESULT
from .layers import full_array, label_shape, result_transform
from .results import add_class_layer
from .visible import position_in, ranges_seen

if TYPE_CHECKING:
    import napari

LARGEST = {2: (512, 512), 3: (16, 192, 192)}
"""Voxels of a preview along the axes of the model; a larger view is previewed in its middle."""


def visible_region(viewer: napari.viewer.Viewer, layer: Image, axes: str, ndim: int) -> Region:
    """Return the part of `layer` that the viewer shows, as far as one preview goes.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Says which slice and which part of it is seen.
    layer : Image
        The image.
    axes : str
        Axes of its data.
    ndim : int
        Spatial dimensions of the model.
    """
    layout = Layout(axes, tuple(full_array(layer).shape), ndim, 1)
    here, seen = position_in(viewer, layer), ranges_seen(viewer, layer)
    window = []
    for letter, size, most in zip(
        layout.model_axes, layout.spatial_shape, LARGEST[ndim], strict=True
    ):
        low, high = seen[axes.index(letter)]
        window.append(_around((low + high) // 2, min(most, size), size))
    leading = tuple(here[axes.index(a)] for a in layout.leading_axes)
    return Region(leading, tuple(window))


class Preview:
    """A labels layer that shows the latest preview.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to show it.
    image : Image
        What is previewed.
    axes : str
        Axes of its data.
    """

    def __init__(self, viewer: napari.viewer.Viewer, image: Image, axes: str) -> None:
        self._viewer = viewer
        self._image = image
        self._axes = axes
        self._put_away = False
        self.layer: Labels | None = None

    def show(self, region: Region, block: NDArray, classes: tuple[SegmentClass, ...]) -> None:
        """Write a block of labels into the layer, unless the user has removed it."""
        if self.layer is None:
            self.layer = self._add_layer(block, classes)
        if self.layer not in self._viewer.layers:
            return
        self.layer.data[region.index] = block
        self.layer.refresh(extent=False)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        self._put_away = self.layer in self._viewer.layers
        if self._put_away:
            self._viewer.layers.remove(self.layer)

    def put_back(self) -> None:
        """Show the layer again that `remove` took out, if the image is still there."""
        if self._put_away and self._image in self._viewer.layers:
            active = self._viewer.layers.selection.active
            self._viewer.layers.append(self.layer)
            self._viewer.layers.selection.active = active

    def _add_layer(self, block: NDArray, classes: tuple[SegmentClass, ...]) -> Labels:
        data = np.zeros(label_shape(self._image, self._axes), block.dtype)
        name = f"{self._image.name} preview"
        placement = result_transform(self._image, self._axes)
        placement["metadata"] = {RESULT: {"preview": True, "source": self._image.name}}
        active = self._viewer.layers.selection.active
        if block.dtype == np.uint8:
            layer = add_class_layer(self._viewer, data, classes, name, placement)
        else:
            layer = self._viewer.add_labels(data, name=name, **placement)
        layer.opacity = 0.4
        self._viewer.layers.selection.active = active
        return layer


class LivePreview:
    """The preview of the last training, and the part of the image that it is made of.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to show it.
    wanted : callable
        Whether the user wants a preview now.
    """

    def __init__(self, viewer: napari.viewer.Viewer, wanted: Callable[[], bool]) -> None:
        self._viewer = viewer
        self._wanted = wanted
        self._image: Image | None = None
        self._axes = ""
        self._fits = True
        self.preview: Preview | None = None
        self.visible: dict[int, Region | None] = {}
        """What a model of 2 and of 3 dimensions is to preview, read by the worker."""

    def start(self, image: Image, axes: str) -> None:
        """Take out the preview of the training before, and begin one of `image`."""
        self._image, self._axes, self._fits = image, axes, True
        if self.preview is not None:
            self.preview.remove()
        self.preview = Preview(self._viewer, image, axes)
        self.look()

    def look(self) -> None:
        """Note what is visible now."""
        wanted = self._fits and self._wanted() and self._image in self._viewer.layers
        for ndim in (2, 3) if "Z" in self._axes else (2,):
            self.visible[ndim] = (
                visible_region(self._viewer, self._image, self._axes, ndim) if wanted else None
            )

    def show(self, region: Region, block: NDArray, classes: tuple[SegmentClass, ...]) -> str:
        """Write a block of labels into the layer, or return why there will be none."""
        try:
            self.preview.show(region, block, classes)
        except MemoryError:
            self._fits = False
            return f"{self._image.name} is too large for a live preview; the training goes on."
        return ""

    def go_back(self, preview: Preview | None) -> None:
        """Show the layer of an earlier preview instead of the last one."""
        if self.preview is not None:
            self.preview.remove()
        self.preview = preview
        if preview is not None:
            preview.put_back()


def hide_earlier(viewer: napari.viewer.Viewer, source: str) -> list[Layer]:
    """Make room for a result of the image layer of this name: hide previews and its results.

    Returns those that were visible.
    """
    hidden = []
    for layer in viewer.layers:
        made = layer.metadata.get(RESULT, {})
        if layer.visible and ("preview" in made or made.get("source") == source):
            layer.visible = False
            hidden.append(layer)
    return hidden


def _around(middle: int, length: int, size: int) -> slice:
    start = min(max(middle - length // 2, 0), size - length)
    return slice(start, start + length)
