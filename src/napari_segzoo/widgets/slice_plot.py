"""Dice along the slices of a stack; a click shows the slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..model import PALETTE
from .plots import make_plot


class SlicePlot(QWidget):
    """One curve per class.

    Signals
    -------
    slice_clicked(int)
        Index of the slice nearest to a click.
    """

    slice_clicked = Signal(int)

    def __init__(self, theme: str) -> None:
        super().__init__()
        self._plot = make_plot(theme, "slice", "Dice")
        self._plot.setYRange(0, 1)
        self._plot.setToolTip("Click to go to a slice")
        self._plot.addLegend(offset=(-5, -5), labelTextSize="8pt")
        self._plot.scene().sigMouseClicked.connect(self._on_click)
        self._slices = 0
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._plot)
        self.setFixedHeight(160)

    def show_scores(self, dice: Mapping[str, Sequence[float]], names: Mapping[int, str]) -> None:
        """Show the Dice of each class but the background, one value per slice."""
        self._plot.clear()
        for label, values in dice.items():
            if label == "0":
                continue
            self._slices = len(values)
            pen = pg.mkPen(PALETTE[int(label) % len(PALETTE)], width=2)
            name = names.get(int(label), f"class {label}")
            self._plot.plot(np.arange(len(values)), np.asarray(values, float), pen=pen, name=name)

    def go_to(self, position: float) -> None:
        """Announce the slice nearest to a position on the axis."""
        if self._slices:
            self.slice_clicked.emit(int(np.clip(round(position), 0, self._slices - 1)))

    def _on_click(self, event: object) -> None:
        self.go_to(self._plot.plotItem.vb.mapSceneToView(event.scenePos()).x())
