"""Dice along the slices of a stack; a click shows the slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Signal

from ..model import PALETTE
from .plots import ThemedPlot

if TYPE_CHECKING:
    import napari


class SlicePlot(ThemedPlot):
    """One curve per class.

    Signals
    -------
    slice_clicked(int)
        Index of the slice nearest to a click.
    """

    slice_clicked = Signal(int)

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, "slice", "Dice")
        self._plot.setYRange(0, 1)
        self._plot.setToolTip("Click to go to a slice")
        self._plot.addLegend(offset=(-5, -5), labelTextSize="8pt")
        self._plot.scene().sigMouseClicked.connect(self._on_click)
        self._first = 0
        self._slices = 0
        self._here = pg.InfiniteLine()
        self._take_theme()
        self.setFixedHeight(160)

    def show_scores(
        self, dice: Mapping[str, Sequence[float]], names: Mapping[int, str], first: int = 0
    ) -> None:
        """Show the Dice of each class but the background, one value per slice from `first` on."""
        self._plot.clear()
        self._first = first
        self._plot.addItem(self._here)
        for label, values in dice.items():
            if label == "0":
                continue
            self._slices = len(values)
            pen = pg.mkPen(PALETTE[int(label) % len(PALETTE)], width=2)
            name = names.get(int(label), f"class {label}")
            slices = first + np.arange(len(values))
            self._plot.plot(slices, np.asarray(values, float), pen=pen, name=name)

    @property
    def marked(self) -> int:
        """The slice with a line."""
        return int(self._here.value())

    def mark(self, number: int) -> None:
        """Draw a line at the slice that is seen."""
        self._here.setValue(number)

    def go_to(self, position: float) -> None:
        """Announce the slice nearest to a position on the axis."""
        if self._slices:
            last = self._first + self._slices - 1
            self.slice_clicked.emit(int(np.clip(round(position), self._first, last)))

    def _color(self, colors: Any) -> None:
        self._here.setPen(pg.mkPen(colors.text.as_hex(), width=1))

    def _on_click(self, event: object) -> None:
        self.go_to(self._plot.plotItem.vb.mapSceneToView(event.scenePos()).x())
