"""How a training goes: a bar, the loss curve, and the last score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from ..training import Scored, StepDone
from .forms import make_text

if TYPE_CHECKING:
    import napari


class TrainProgress(QWidget):
    """Shows what the events of a training tell in numbers.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose theme the curve follows.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.hide()
        self.plot: Any = None
        self.score = make_text()
        self.score.hide()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self._bar)
        self._column.addWidget(self.score)

    def begin(self) -> None:
        """Show an empty bar."""
        self.fill(0)
        self._bar.show()

    def begin_curve(self) -> None:
        """Show an empty curve, and no score."""
        if self.plot is None:
            from .loss_plot import LossPlot

            self.plot = LossPlot(self._viewer)
            self._column.insertWidget(1, self.plot)
        self.forget()

    def forget(self) -> None:
        """Show an empty curve, if there is one, and no score."""
        if self.plot is not None:
            self.plot.clear()
        self.score.hide()

    def fill(self, share: float) -> None:
        """Fill the bar up to a share in [0, 1]."""
        self._bar.setValue(round(1000 * share))

    def add_step(self, event: StepDone) -> None:
        """Show one step more."""
        self.plot.add(event.loss)
        self.fill(event.progress)

    def add_score(self, event: Scored) -> None:
        """Show a score in place of the last one."""
        self.score.setText(f"Dice on the {event.on}: {event.mean_dice:.2f}, at step {event.step}")
        self.score.show()

    def end(self) -> None:
        """Hide the bar; the curve and the score stay."""
        self._bar.hide()
