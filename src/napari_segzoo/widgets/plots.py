"""Plots in the colours of the napari theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtWidgets import QVBoxLayout, QWidget

if TYPE_CHECKING:
    import napari


class ThemedPlot(QWidget):
    """An empty plot that follows the theme of a viewer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose theme.
    x_title, y_title : str
        What the axes show.
    """

    def __init__(self, viewer: napari.viewer.Viewer, x_title: str, y_title: str) -> None:
        super().__init__()
        self._viewer = viewer
        self._plot = pg.PlotWidget()
        for side, title in (("left", y_title), ("bottom", x_title)):
            axis = self._plot.getAxis(side)
            axis.setLabel(title)
            axis.enableAutoSIPrefix(False)
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(x=False, y=False)
        self._plot.hideButtons()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._plot)
        viewer.events.theme.connect(self._take_theme)

    def _take_theme(self, event: object = None) -> None:
        if not isalive(self):
            return
        colors = get_theme(self._viewer.theme)
        self._plot.setBackground(colors.background.as_hex())
        for side in ("left", "bottom"):
            axis = self._plot.getAxis(side)
            axis.setPen(colors.secondary.as_hex())
            axis.setTextPen(colors.text.as_hex())
        self._color(colors)

    def _color(self, colors: Any) -> None:
        """Take over the colours of the theme for what is drawn."""
