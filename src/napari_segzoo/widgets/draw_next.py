"""From one place where the model is unsure to the next, in the viewer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels

from ..inference import Note as InferenceNote
from ..io import Image
from ..training import Note, Place, Places, where_to_draw
from .layers import full_array
from .shared_model import Choice, load_choice
from .visible import go_to

if TYPE_CHECKING:
    import napari
    from numpy.typing import NDArray

SHARE_OF_VIEW = 1 / 3
"""How much of the canvas a place takes."""


@dataclass(frozen=True)
class SearchRun:
    """The search for places, called in the worker."""

    image: Image
    labels: NDArray
    choice: Choice
    device: str
    stop: Callable[[], bool]

    def __call__(self) -> Iterator[object]:
        if "torch" not in sys.modules:
            yield "Loading PyTorch…"
        model = load_choice(self.choice)
        yield "Looking for where the model is least sure…"
        for event in where_to_draw(model, self.image, self.labels, device=self.device):
            if self.stop():
                yield "Stopped before the whole image was looked at."
                return
            yield Note(event.message) if isinstance(event, InferenceNote) else event


class DrawNext:
    """Shows places one after the other, leaving out those that were drawn on meanwhile.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where to show them.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self._layer: Labels | None = None
        self._axes = ""
        self._places: list[Place] | None = None

    @property
    def known(self) -> bool:
        """Whether the places were looked for, and are those of the present model and image."""
        return self._places is not None

    def begin(self, layer: Labels) -> None:
        """Note which labels the places are looked for."""
        self._layer, self._places = layer, None

    def forget(self) -> None:
        """Drop the places, since the model or the image is another one."""
        self._layer, self._places = None, None

    def keep(self, found: Places) -> None:
        """Take the places found, unless they were forgotten meanwhile."""
        if self._layer is not None:
            self._axes, self._places = found.axes, list(found.places)

    def go_on(self) -> str:
        """Show the next place and return a sentence on it."""
        if self._layer is None or self._layer not in self._viewer.layers:
            self.forget()
            return "The model or the layers changed meanwhile; press the button again."
        drawn = full_array(self._layer)
        free = [p for p in self._places if not np.any(drawn[p.window])]
        if not free:
            self._places = []
            return "No unsure place is left without strokes; train, then look again."
        place, *rest = free
        self._places = [*rest, place]
        show_place(self._viewer, self._layer, place)
        where = ", ".join(f"{a} {n}" for a, n in zip(self._axes, place.center, strict=True))
        return f"Draw here, at {where}: the model is unsure ({place.uncertainty:.2f} of 1)."


def show_place(viewer: napari.viewer.Viewer, layer: Labels, place: Place) -> None:
    """Move sliders and camera to a place of `layer`, so that it fills a third of the canvas."""
    go_to(viewer, layer, place.center)
    first = viewer.dims.ndim - layer.ndim
    shown = [d - first for d in viewer.dims.displayed if d >= first]
    length = max((place.window[d].stop - place.window[d].start) * layer.scale[d] for d in shown)
    viewer.scene.camera.zoom = SHARE_OF_VIEW * min(viewer.canvas.size) / float(length)
