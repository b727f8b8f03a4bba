"""Plots in the colours of the napari theme."""

from __future__ import annotations

import pyqtgraph as pg
from napari.utils.theme import get_theme


def make_plot(theme: str, x_title: str, y_title: str) -> pg.PlotWidget:
    """Return an empty plot."""
    colors = get_theme(theme)
    plot = pg.PlotWidget(background=colors.background.as_hex())
    for side, title in (("left", y_title), ("bottom", x_title)):
        axis = plot.getAxis(side)
        axis.setPen(colors.secondary.as_hex())
        axis.setTextPen(colors.text.as_hex())
        axis.setLabel(title)
        axis.enableAutoSIPrefix(False)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    return plot
