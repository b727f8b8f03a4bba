"""Tells when layers that are compared, or the view of them, have changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from .painting import Painting

if TYPE_CHECKING:
    import napari

PAUSE = 300
"""Milliseconds after the last change, unless another pause is asked for."""


class Follower(QObject):
    """Watches layers and the view.

    Signals
    -------
    changed()
        A moment after the last of some changes.
    """

    changed = Signal()

    def __init__(self, parent: QObject, viewer: napari.viewer.Viewer, pause: int = PAUSE) -> None:
        super().__init__(parent)
        self._view = [viewer.dims.events.current_step, viewer.dims.events.ndisplay]
        self._view += [viewer.scene.camera.events.center, viewer.scene.camera.events.zoom]
        self._watched: list[Any] = []
        self._painting = Painting(self)
        self._painting.changed.connect(self._on_change)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(pause)
        self._timer.timeout.connect(self.changed)

    def watch(self, layers: Sequence[Layer], view: bool) -> None:
        """Watch these layers, and the view if wanted, instead of what was watched before."""
        for event in self._watched:
            event.disconnect(self._on_change)
        self._watched = list(self._view) if view else []
        for layer in layers:
            events = layer.events
            self._watched += [
                getattr(events, name)
                for name in ("data", "scale", "translate")
                if name in events.emitters
            ]
        self._painting.watch([layer for layer in layers if isinstance(layer, Labels)])
        for event in self._watched:
            event.connect(self._on_change)

    def _on_change(self, event: object = None) -> None:
        if isalive(self):
            self._timer.start()
