"""What a measurement found: scores, curves along slices, objects, and their export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QVBoxLayout, QWidget

from ..errors import SegzooError
from ..metrics import DEFINITIONS, LEGENDS
from ..metrics.report import objects_file
from .forms import NOTE_COLOR, as_html, make_button, make_row, make_text
from .save_dialog import ask_target, may_replace, with_ending
from .score_table import ScoreTable, short

if TYPE_CHECKING:
    import napari

    from ..metrics import Report
    from ..metrics.report import Row

FIRST_SUMMARY = {
    "semantic": ("mean_dice", "mean_iou", "pixel_accuracy"),
    "instances": ("n_reference", "n_prediction", "precision", "recall", "f1", "panoptic_quality"),
}
KINDS = {"CSV": ".csv", "Markdown": ".md", "JSON": ".json"}
FIRST_COLUMNS = ("label", "name", "dice", "iou", "hd95", "assd", "nsd", "precision", "recall")
FIRST_OF_OBJECT = ("status", "iou", "reference", "prediction", "split", "merged")


class ScorePanel(QWidget):
    """Shows one report; empty and hidden before the first.

    Signals
    -------
    slice_clicked(int)
        A slice was chosen in the plot.
    object_clicked(object)
        An object, or a class, was chosen in a table: index of one of its voxels, or of the
        border voxel where the class errs most.
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

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.report: Report | None = None
        self.summary = make_text()
        self.hint = make_text()
        self.hint.hide()
        self.scores = ScoreTable(shown_rows=6)
        self.scores.setToolTip("Click a class to see where it errs most; a heading to sort")
        self.scores.row_chosen.connect(self._announce_class)
        self.objects = ScoreTable(shown_rows=8)
        self.objects.setToolTip("Click an object to see it; a heading to sort")
        self.objects.row_chosen.connect(self._announce_object)
        self.legend = make_text()
        self.legend.hide()
        self.plot: Any = None
        self._plot_place = QVBoxLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.summary)
        column.addWidget(self.hint)
        column.addWidget(self.scores)
        column.addLayout(self._plot_place)
        column.addWidget(self.objects)
        column.addLayout(
            make_row(
                make_button("Save…", "CSV, Markdown or JSON, with definitions", self._ask_target),
                make_button("Copy table", "For a spreadsheet", self.copy_table),
                make_button("Copy text", "Markdown with definitions", self.copy_text),
            )
        )
        column.addWidget(
            make_button("Show errors", "Colour right and wrong voxels", self._want_errors)
        )
        column.addWidget(self.legend)
        self.hide()

    def show_report(self, report: Report, first_slice: int = 0, hint: str = "") -> None:
        """Show `report`, and a hint on it; its slices are counted from `first_slice` on."""
        self.report = report
        self.hint.setText(f'<span style="color: {NOTE_COLOR}">{as_html(hint)}</span>')
        self.hint.setVisible(bool(hint))
        self.legend.hide()
        values = report.summary()
        first = [name for name in FIRST_SUMMARY[report.task] if name in values]
        order = [*first, *(name for name in values if name not in first)]
        self.summary.setText(
            " · ".join(f"{n.replace('_', ' ')} <b>{short(values[n])}</b>" for n in order[:6])
        )
        self.summary.setToolTip(
            "\n".join(f"{n}: {short(values[n])}: {DEFINITIONS[n]}" for n in order)
        )
        self.scores.show_rows([_ordered(row, FIRST_COLUMNS) for row in report.rows()])
        self.objects.show_rows([_ordered(row, FIRST_OF_OBJECT) for row in report.objects])
        self.objects.setVisible(bool(report.objects))
        self._show_slices(report, first_slice)
        self.show()

    def show_legend(self, task: str) -> None:
        """Show what the colours of the error layer stand for."""
        self.legend.setText(
            "<br>".join(
                f'<span style="color:{e.colour}">■</span> <b>{e.name}</b>: {e.meaning}'
                for e in LEGENDS[task].values()
            )
        )
        self.legend.show()

    def save(self, path: str | Path) -> None:
        """Write all scores as Markdown, JSON or CSV, by the ending; CSV if it is another."""
        path = with_ending(Path(path), tuple(KINDS.values()))
        try:
            self.report.save(path)
        except SegzooError as error:
            self.complained.emit(str(error))
            return
        more = self._objects_beside(path)
        self.said.emit(f"Saved as {path} and {more.name}." if more else f"Saved as {path}.")

    def copy_table(self) -> None:
        """Copy the table of classes or thresholds, and that of objects, for a spreadsheet."""
        tables = [self.scores, self.objects] if self.report.objects else [self.scores]
        QApplication.clipboard().setText("\n\n".join(table.as_text() for table in tables))
        plural = "s are" if len(tables) > 1 else " is"
        self.said.emit(f"The table{plural} in the clipboard.")

    def copy_text(self) -> None:
        """Copy all scores with their definitions as Markdown."""
        QApplication.clipboard().setText(self.report.to_markdown())
        self.said.emit("The scores are in the clipboard, as Markdown.")

    def _show_slices(self, report: Report, first: int) -> None:
        curves = report.get("per_slice")
        if curves is None:
            if self.plot is not None:
                self.plot.hide()
            return
        if self.plot is None:
            from .slice_plot import SlicePlot

            self.plot = SlicePlot(self._viewer)
            self.plot.slice_clicked.connect(self.slice_clicked)
            self._plot_place.addWidget(self.plot)
        self.plot.show_scores(curves["dice"], report.names, first)
        self.plot.show()

    def _announce_object(self, row: Row) -> None:
        if row["position"] is not None:
            self.object_clicked.emit(row["position"])

    def _announce_class(self, row: Row) -> None:
        place = self.report.positions.get(row.get("label"))
        if place is not None:
            self.object_clicked.emit(place)

    def _want_errors(self) -> None:
        self.errors_wanted.emit()

    def _ask_target(self) -> None:
        title = "Save the scores"
        path = ask_target(self, title, "scores.csv", KINDS)
        if path is None:
            return
        more = self._objects_beside(path)
        if more is None or not more.exists() or may_replace(self, title, more):
            self.save(path)

    def _objects_beside(self, path: Path) -> Path | None:
        """Return where the table of objects goes if the scores go to `path`."""
        in_table = path.suffix.lower() == ".csv" and bool(self.report.objects)
        return objects_file(path) if in_table else None


def _ordered(row: Row, columns: Sequence[str]) -> Row:
    """Put the columns first that are looked at first."""
    first = [name for name in columns if name in row]
    return {name: row[name] for name in (*first, *(n for n in row if n not in first))}
