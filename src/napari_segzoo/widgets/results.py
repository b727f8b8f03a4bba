"""Result layers: in the place of their source, filled while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.colormaps import Colormap, CyclicLabelColormap
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from ..model import SegmentClass

if TYPE_CHECKING:
    import napari

REFRESH_SHARE = 0.2
"""Part of the GUI's time that live updates may take."""
LARGEST_PLANE = 16384
"""Side of a plane in pixels, above which napari draws Labels coarsened on most graphics cards."""
COARSEST_PLANE = 2048
"""Such planes are shown as a pyramid down to this side."""


def in_levels(labels: NDArray[Any]) -> NDArray[Any] | list[NDArray[Any]]:
    """Return a label image as a Labels layer shows it sharply: large planes with coarser views."""
    levels = [labels]
    if max(labels.shape[-2:]) > LARGEST_PLANE:
        while max(levels[-1].shape[-2:]) > COARSEST_PLANE:
            levels.append(levels[-1][..., ::2, ::2])
    return levels if len(levels) > 1 else labels


def class_colors(classes: Sequence[SegmentClass]) -> CyclicLabelColormap:
    """Return the colours of the classes for a Labels layer; the background is transparent.

    A cycle of as many colours as classes: napari maps colours one by one with code that takes
    two seconds to load.
    """
    return CyclicLabelColormap(colors=["transparent", *(c.color for c in classes[1:])])


def add_class_layer(
    viewer: napari.viewer.Viewer,
    data: Any,
    classes: Sequence[SegmentClass],
    name: str,
    placement: dict[str, Any],
) -> Layer:
    """Add a label image in which value k is class k."""
    names = {"index": range(len(classes)), "class": [c.name for c in classes]}
    return viewer.add_labels(
        data, name=name, colormap=class_colors(classes), features=names, **placement
    )


def add_probability_layers(
    viewer: napari.viewer.Viewer,
    data: Any,
    channel_axis: int,
    classes: Sequence[SegmentClass],
    name: str,
    placement: dict[str, Any],
) -> list[Layer]:
    """Add one image per class in its colour; the background is hidden."""
    before = (slice(None),) * channel_axis
    return [
        viewer.add_image(
            data[(*before, n)],
            name=f"{name} {c.name}",
            colormap=Colormap(["black", c.color if n else "white"], name=f"segzoo {c.name}"),
            contrast_limits=(0, 1),
            blending="additive",
            visible=n > 0,
            **placement,
        )
        for n, c in enumerate(classes)
    ]


class LiveLayers(QObject):
    """Redraws layers whose data changes, seldom enough that the viewer stays responsive.

    Parameters
    ----------
    parent : QObject
        The dock.
    viewer : napari.viewer.Viewer
        Whose layers; those that the user has removed are left alone.
    """

    def __init__(self, parent: QObject, viewer: napari.viewer.Viewer) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.redraw)
        self._pause = 0.0

    def watch(self, layers: Sequence[Layer]) -> None:
        """Redraw these layers from now on."""
        self._layers = list(layers)

    @property
    def layers(self) -> list[Layer]:
        """Those of the watched layers that are still in the viewer."""
        return [layer for layer in self._layers if layer in self._viewer.layers]

    def changed(self) -> None:
        """Say that data has changed."""
        if not self._timer.isActive():
            self._timer.start(int(1000 * max(0.1, self._pause)))

    def redraw(self) -> None:
        """Redraw now."""
        self._timer.stop()
        begin = time.perf_counter()
        for layer in self.layers:
            layer.refresh(extent=False)
        self._pause = (time.perf_counter() - begin) / REFRESH_SHARE
