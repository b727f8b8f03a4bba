"""What a measurement found: scores, curves along slices, objects, and their export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from ..metrics import DEFINITIONS
from .forms import make_button, make_row, make_text
from .score_table import ScoreTable, short

if TYPE_CHECKING:
    from ..metrics import Report

FIRST_SUMMARY = {
    "semantic": ("mean_dice", "mean_iou", "pixel_accuracy"),
    "instances": ("n_reference", "n_prediction", "n_matched", "f1", "mean_ap", "panoptic_quality"),
}


class ScorePanel(QWidget):
    """Shows one report; empty and hidden before the first.

    Signals
    -------
    slice_clicked(int)
        A slice was chosen in the plot.
    object_clicked(object)
        An object was chosen in the table: index of one of its voxels.
    errors_wanted()
        The error map was asked for.
    said(str), complained(str)
        Something to show the user.
    """

    slice_clicked = Signal(int)
    object_clicked = Signal(object)
    errors_wanted = Signal()
    said = Signal(str)
    complained = Signal(str)

    def __init__(self, theme: str) -> None:
        super().__init__()
        self._theme = theme
        self.report: Report | None = None
        self.summary = make_text()
        self.scores = ScoreTable()
        self.objects = ScoreTable()
        self.objects.setToolTip("Click an object to see it")
        self.objects.itemSelectionChanged.connect(self._announce_object)
        self.plot: Any = None
        self._plot_place = QVBoxLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.summary)
        column.addWidget(self.scores)
        column.addLayout(self._plot_place)
        column.addWidget(self.objects)
        column.addLayout(
            make_row(
                make_button("Show errors", "Colour right and wrong voxels", self._want_errors),
                make_button("Save CSV…", "All scores, with their definitions", self._ask_target),
                make_button("Copy", "Copy the table for a spreadsheet", self._copy),
            )
        )
        self.hide()

    def show_report(self, report: Report) -> None:
        """Show `report`."""
        self.report = report
        values = report.summary()
        first = [name for name in FIRST_SUMMARY[report.task] if name in values]
        order = [*first, *(name for name in values if name not in first)]
        self.summary.setText(
            " · ".join(f"{n.replace('_', ' ')} <b>{short(values[n])}</b>" for n in order[:6])
        )
        self.summary.setToolTip(
            "\n".join(f"{n}: {short(values[n])}: {DEFINITIONS[n]}" for n in order)
        )
        self.scores.show_rows(report.rows())
        self.objects.show_rows(report.objects)
        self.objects.setVisible(bool(report.objects))
        self._show_slices(report)
        self.show()

    def save_csv(self, path: str | Path) -> None:
        """Write all scores, and those of single objects to a second file beside it."""
        if self.report is None:
            return
        path = Path(path)
        path = path if path.suffix else path.with_suffix(".csv")
        try:
            self.report.to_csv(path)
            if self.report.objects:
                self.report.objects_to_csv(path.with_name(f"{path.stem}_objects.csv"))
        except OSError as error:
            self.complained.emit(f"{path} could not be written: {error.strerror or error}.")
            return
        self.said.emit(f"Saved as {path}.")

    def _show_slices(self, report: Report) -> None:
        curves = report.get("per_slice")
        if curves is None:
            if self.plot is not None:
                self.plot.hide()
            return
        if self.plot is None:
            from .slice_plot import SlicePlot

            self.plot = SlicePlot(self._theme)
            self.plot.slice_clicked.connect(self.slice_clicked)
            self._plot_place.addWidget(self.plot)
        self.plot.show_scores(curves["dice"], report.names)
        self.plot.show()

    def _announce_object(self) -> None:
        row = self.objects.selected_row()
        if row is not None and row["position"] is not None:
            self.object_clicked.emit(row["position"])

    def _want_errors(self) -> None:
        self.errors_wanted.emit()

    def _ask_target(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the scores", "scores.csv", "CSV (*.csv)")
        if path:
            self.save_csv(path)

    def _copy(self) -> None:
        self.scores.copy()
        self.said.emit("The table is in the clipboard.")
