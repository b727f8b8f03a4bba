"""The scores of the session: what was compared, and model against model as bars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QApplication,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..errors import SegzooError
from ..metrics import DEFINITIONS, BatchReport, Comparison, Entry, as_batch, with_entry
from .forms import add_row, as_html, make_button, make_choice, make_form, make_row, make_text
from .save_dialog import ask_target, with_ending
from .score_table import ROW_HEIGHT, short

if TYPE_CHECKING:
    import napari

    from .score_bars import ScoreBars

FIRST_METRIC = {"semantic": "mean_dice", "instances": "f1 0.5"}
KINDS = {"CSV": ".csv", "Markdown": ".md"}
SHOWN_ROWS = 6


class History(QObject):
    """What was scored in one viewer, whichever dock did it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Add an entry, see `with_entry`."""
        self.set_entries(with_entry(self.entries, entry))

    def set_entries(self, entries: list[Entry]) -> None:
        """Replace all entries."""
        self.entries = entries
        self.changed.emit()


_BY_VIEWER: WeakKeyDictionary[napari.viewer.Viewer, History] = WeakKeyDictionary()


def session_history(viewer: napari.viewer.Viewer) -> History:
    """Return the one history of a viewer."""
    return _BY_VIEWER.setdefault(viewer, History())


class HistoryPanel(QWidget):
    """Shows the entries of one task; hidden while there is none.

    Signals
    -------
    said(str), complained(str)
        Something to show the user.
    """

    said = Signal(str)
    complained = Signal(str)

    def __init__(self, history: History, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._history = history
        self._task = "semantic"
        self.table = _make_table()
        self.metric = make_choice(())
        self.bars: ScoreBars | None = None
        self._viewer = viewer
        self._bars_place = QVBoxLayout()
        self.comparison = make_text()
        self._lay_out()
        self.table.itemChanged.connect(self._rename)
        self.metric.currentIndexChanged.connect(self._show_metric)
        history.changed.connect(self.refresh)

    @property
    def entries(self) -> list[Entry]:
        """What is shown, one by one."""
        return [e for e in self._history.entries if e.report.task == self._task]

    @property
    def batch(self) -> BatchReport:
        """What is shown, by image and prediction."""
        return as_batch(self._history.entries, self._task)

    def show_task(self, task: str) -> None:
        """Show the entries of a task."""
        self._task = task
        self.refresh()

    def refresh(self) -> None:
        """Show what the history holds."""
        names = self.batch.metrics()
        chosen = self.metric.currentText() or FIRST_METRIC[self._task]
        if names != [self.metric.itemText(n) for n in range(self.metric.count())]:
            with QSignalBlocker(self.metric):
                self.metric.clear()
                self.metric.addItems(names)
                for n, name in enumerate(names):
                    tip = DEFINITIONS.get(name.partition(" ")[0], "")
                    self.metric.setItemData(n, tip, Qt.ItemDataRole.ToolTipRole)
                place = self.metric.findText(chosen)
                first = self.metric.findText(FIRST_METRIC[self._task])
                self.metric.setCurrentIndex(place if place >= 0 else max(first, 0))
        self._show_metric()
        if self.parent() is not None:
            self.setVisible(bool(self.entries))

    def save(self, path: str | Path) -> None:
        """Write all scores as CSV, or the main ones as Markdown if `path` ends so."""
        path = with_ending(Path(path), tuple(KINDS.values()))
        try:
            (self.batch.to_csv if path.suffix.lower() == ".csv" else self.batch.to_markdown)(path)
        except SegzooError as error:
            self.complained.emit(str(error))
            return
        self.said.emit(f"Saved as {path}.")

    def copy(self) -> None:
        """Copy means, intervals and comparisons as Markdown."""
        QApplication.clipboard().setText(self.batch.to_markdown())
        self.said.emit("The history is in the clipboard, as Markdown.")

    def remove_selected(self) -> None:
        """Take the selected entries out, or all if none is selected."""
        rows = {index.row() for index in self.table.selectedIndexes()}
        shown = self.entries
        gone = [shown[r] for r in rows] or shown
        kept = [e for e in self._history.entries if not any(e is g for g in gone)]
        self._history.set_entries(kept)

    def _show_metric(self) -> None:
        name, batch = self.metric.currentText(), self.batch
        self._fill_table(name)
        self._show_bars(batch, name)
        lines = [_sentence(c) for c in batch.comparisons(name) if c.images]
        self.comparison.setText("<br>".join(lines))
        self.comparison.setVisible(bool(lines))

    def _show_bars(self, batch: BatchReport, metric: str) -> None:
        if self.bars is None:
            if not self.entries:
                return
            from .score_bars import ScoreBars

            self.bars = ScoreBars(self._viewer)
            self._bars_place.addWidget(self.bars)
        self.bars.show_scores(batch.values(metric), batch.overall(metric))

    def _fill_table(self, metric: str) -> None:
        shown = self.entries
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(shown))
            self.table.setHorizontalHeaderLabels(["Image", "Prediction", metric.replace("_", " ")])
            for r, entry in enumerate(shown):
                value = as_batch([entry], self._task).values(metric)[entry.prediction][0]
                for c, text in enumerate((entry.image, entry.prediction, short(value))):
                    item = QTableWidgetItem(text)
                    item.setToolTip(f"{entry.image}: {entry.source}")
                    if c != 1:
                        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                    self.table.setItem(r, c, item)
        lines = min(max(len(shown), 1), SHOWN_ROWS)
        header = self.table.horizontalHeader().sizeHint().height()
        self.table.setFixedHeight(header + lines * ROW_HEIGHT + 4)

    def _rename(self, item: QTableWidgetItem) -> None:
        renamed = self.entries[item.row()]
        self._history.set_entries(
            [
                replace(e, prediction=item.text() or e.prediction) if e is renamed else e
                for e in self._history.entries
            ]
        )

    def _lay_out(self) -> None:
        form = make_form()
        add_row(form, "Score", self.metric, "What the bars show")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.addWidget(make_text("<b>Scores of this session</b>"))
        column.addWidget(self.table)
        column.addLayout(form)
        column.addLayout(self._bars_place)
        column.addWidget(self.comparison)
        column.addLayout(
            make_row(
                make_button("Save…", "All scores as CSV or Markdown", self._ask_target),
                make_button("Copy", "Means, intervals and tests as Markdown", self.copy),
                make_button("Remove", "The selected lines, or all", self.remove_selected),
            )
        )

    def _ask_target(self) -> None:
        path = ask_target(self, "Save the history", "history.csv", KINDS)
        if path is not None:
            self.save(path)


def _make_table() -> QTableWidget:
    table = QTableWidget(0, 3)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
    table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
    table.setToolTip("Predictions of one name are summarised; double-click a name to change it")
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
    return table


def _sentence(found: Comparison) -> str:
    """Say how two predictions differ."""
    text = f"{as_html(found.first)} − {as_html(found.second)}: <b>{found.difference:+.3g}</b>"
    if found.images < 2:
        return f"{text} on one image"
    return (
        f"{text} (95%: {found.low:+.3g} to {found.high:+.3g}), p = {found.p_holm:.2g}, "
        f"{found.images} images"
    )
