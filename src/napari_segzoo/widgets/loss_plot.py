"""The live loss curve, in the colours of the napari theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QTimer

from .plots import ThemedPlot

if TYPE_CHECKING:
    import napari

REDRAW_EVERY = 200
"""Milliseconds."""
SMOOTHING = 0.9
CURVE_COLOR = "#56b4e9"


class LossPlot(ThemedPlot):
    """Loss against steps: every step faintly, and their running mean."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, "step", "loss")
        self._losses: list[float] = []
        self._means: list[float] = []
        self._faint = self._plot.plot()
        self._line = self._plot.plot(pen=pg.mkPen(CURVE_COLOR, width=2))
        self._take_theme()
        self.setFixedHeight(150)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._redraw)

    @property
    def losses(self) -> list[float]:
        """What is drawn, one per step."""
        return list(self._losses)

    def clear(self) -> None:
        """Start a new curve."""
        self._losses, self._means = [], []
        self._redraw()

    def add(self, loss: float) -> None:
        """Add the loss of the next step; it is drawn a moment later."""
        before = self._means[-1] if self._means else loss
        share = min(SMOOTHING, len(self._losses) / (len(self._losses) + 1))
        self._losses.append(loss)
        self._means.append(share * before + (1 - share) * loss)
        if not self._timer.isActive():
            self._timer.start(REDRAW_EVERY)

    def _color(self, colors: Any) -> None:
        self._faint.setPen(pg.mkPen(colors.secondary.as_hex(), width=1))

    def _redraw(self) -> None:
        steps = np.arange(1, len(self._losses) + 1)
        self._faint.setData(steps, self._losses)
        self._line.setData(steps, self._means)
