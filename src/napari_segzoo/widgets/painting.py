"""Changes in what is drawn, those that are taken back included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Labels
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal


class Painting(QObject):
    """Tells of each change of some labels layers.

    Signals
    -------
    changed()
        Something was drawn or erased, undone or redone, or a layer has got other data.
    """

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.layers: list[Labels] = []
        self._strokes: dict[Labels, tuple[int, int]] = {}

    def watch(self, layers: Sequence[Labels]) -> None:
        """Tell of these layers from now on."""
        for layer in self.layers:
            for event in _events(layer):
                event.disconnect(self._on_change)
            layer.events.set_data.disconnect(self._on_refresh)
        self.layers = list(dict.fromkeys(layers))
        self._strokes = {layer: _strokes(layer) for layer in self.layers}
        for layer in self.layers:
            for event in _events(layer):
                event.connect(self._on_change)
            layer.events.set_data.connect(self._on_refresh)

    def _on_change(self, event: Any) -> None:
        if isalive(self):
            self.changed.emit()

    def _on_refresh(self, event: Any) -> None:
        """See whether strokes were undone or redone, after which napari only draws anew."""
        layer = event.source
        before, self._strokes[layer] = self._strokes.get(layer), _strokes(layer)
        if before != self._strokes[layer]:
            self._on_change(event)


def _events(layer: Labels) -> tuple[Any, ...]:
    return (layer.events.paint, layer.events.data, layer.events.labels_update)


def _strokes(layer: Labels) -> tuple[int, int]:
    """How many strokes can be undone, and how many redone, as far as napari tells."""
    undone, redone = (getattr(layer, f"_{way}_history", ()) for way in ("undo", "redo"))
    return len(undone), len(redone)
