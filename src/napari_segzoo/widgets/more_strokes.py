"""Strokes that are drawn during a training, on their way to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer

from .layers import full_array
from .painting import Painting

PAUSE = 500
"""Milliseconds after a stroke before it is handed over."""


class MoreStrokes(QObject):
    """Hands over what is drawn in the labels layers of a training while it goes on."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layers: list[Labels] = []
        self._latest: deque[list[Any]] = deque(maxlen=1)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE)
        self._timer.timeout.connect(self._hand_over)
        self._painting = Painting(self)
        self._painting.changed.connect(self._timer.start)

    def begin(self, layers: Sequence[Labels]) -> None:
        """Watch these layers, one per image."""
        self._layers = list(layers)
        self._latest.clear()
        self._painting.watch(layers)

    def end(self) -> None:
        """Watch nothing any more."""
        self._painting.watch(())
        self._layers = []
        self._timer.stop()

    def take(self) -> list[Any] | None:
        """Return all labels if something was drawn since the last call; called by the worker."""
        try:
            return self._latest.pop()
        except IndexError:
            return None

    def _hand_over(self) -> None:
        self._latest.append([full_array(layer) for layer in self._layers])
