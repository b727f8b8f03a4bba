"""Bars of one score: predictions below each other, with interval and single images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg

from ..metrics import Summary
from ..model import PALETTE
from .plots import ThemedPlot

if TYPE_CHECKING:
    import napari

BAR_HEIGHT = 30
AXIS_HEIGHT = 32


class ScoreBars(ThemedPlot):
    """A bar for the mean of each prediction, its bootstrap interval, and a dot per image."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, "", "")
        self._plot.hideAxis("left")
        self._plot.getViewBox().invertY(True)
        self._plot.setToolTip(
            "Mean over the images, its 95% bootstrap interval, and a dot for each image"
        )
        self._text = ""
        self._values: Mapping[str, Sequence[float]] = {}
        self.drawn: dict[str, Summary] = {}
        self._take_theme()

    def show_scores(
        self, values: Mapping[str, Sequence[float]], overall: Mapping[str, Summary]
    ) -> None:
        """Show scores per image, and their summaries, by name of the prediction."""
        self._plot.clear()
        self._values = values
        self.drawn = {n: s for n, s in overall.items() if isfinite(s.mean)}
        for row, (name, summary) in enumerate(self.drawn.items()):
            self._draw(row, name, summary, [v for v in values[name] if isfinite(v)])
        ends = [v for name in self.drawn for v in values[name] if isfinite(v)]
        low, high = min([0.0, *ends]), max([*ends, 0.0])
        high = 1.0 if 0.3 < high <= 1 else high * 1.05 or 1.0
        self._plot.setXRange(low, high, padding=0.02)
        self._plot.setYRange(-0.5, len(self.drawn) - 0.5, padding=0)
        self.setFixedHeight(AXIS_HEIGHT + BAR_HEIGHT * max(1, len(self.drawn)))
        self.setVisible(bool(self.drawn))

    def _color(self, colors: Any) -> None:
        self._text = colors.text.as_hex()
        self.show_scores(self._values, self.drawn)

    def _draw(self, row: int, name: str, summary: Summary, values: Sequence[float]) -> None:
        colour = PALETTE[1 + row % (len(PALETTE) - 1)]
        faint = pg.mkColor(colour)
        faint.setAlpha(110)
        bar = pg.BarGraphItem(
            x0=[min(0.0, summary.mean)], width=[abs(summary.mean)], y=[row], height=0.7,
            brush=faint, pen=None,
        )  # fmt: skip
        self._plot.addItem(bar)
        if summary.images > 1:
            places = row + np.linspace(-0.2, 0.2, len(values))
            self._plot.plot(
                values, places, pen=None, symbol="o", symbolSize=4, symbolPen=None,
                symbolBrush=colour,
            )  # fmt: skip
            self._plot.addItem(
                pg.ErrorBarItem(
                    x=np.array([summary.mean]),
                    y=np.array([row]),
                    left=np.array([summary.mean - summary.low]),
                    right=np.array([summary.high - summary.mean]),
                    beam=0.3,
                    pen=pg.mkPen(self._text, width=2),
                )
            )
        label = pg.TextItem(f"{name}  {summary.mean:.3g}", color=self._text, anchor=(0, 0.5))
        label.setPos(0, row)
        self._plot.addItem(label)
