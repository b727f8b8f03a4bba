"""Tables of scores that sort by number."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

from ..metrics import DEFINITIONS
from ..metrics.report import Row

ROW_HEIGHT = 24
"""Pixels."""


class ScoreTable(QTableWidget):
    """One row per class, threshold or object; a click on a heading sorts.

    Parameters
    ----------
    shown_rows : int
        So many are seen at once, the others by scrolling.

    Signals
    -------
    row_chosen(object)
        A row was clicked, or reached by the arrow keys.
    """

    row_chosen = Signal(object)

    def __init__(self, shown_rows: int) -> None:
        super().__init__()
        self._shown_rows = shown_rows
        self._rows: list[Row] = []
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.setVerticalScrollMode(QTableWidget.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QTableWidget.ScrollMode.ScrollPerPixel)
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.setSortingEnabled(True)
        self.itemSelectionChanged.connect(self._announce)
        self.cellClicked.connect(self._announce)

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show `rows`, all with the same keys; columns without any value are left out."""
        self._rows = list(rows)
        sorted_by, order = self._sorting()
        columns = [
            name
            for name in (rows[0] if rows else {})
            if name != "position" and any(row[name] not in (None, "") for row in rows)
        ]
        self.clearSelection()
        self.setSortingEnabled(False)
        self.setColumnCount(len(columns))
        self.setRowCount(len(rows))
        for c, name in enumerate(columns):
            heading = QTableWidgetItem(name.replace("_", " "))
            heading.setToolTip(DEFINITIONS.get(name, ""))
            self.setHorizontalHeaderItem(c, heading)
            for r, row in enumerate(rows):
                self.setItem(r, c, _Cell(row[name], r))
        self.setSortingEnabled(True)
        column = columns.index(sorted_by) if sorted_by in columns else -1
        self.horizontalHeader().setSortIndicator(column, order)
        header = self.horizontalHeader().sizeHint().height()
        lines = min(len(rows), self._shown_rows)
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(header + lines * ROW_HEIGHT + bar + 4)

    def _sorting(self) -> tuple[str, Qt.SortOrder]:
        """Return the name of the column that the table is sorted by, if any, and how."""
        header = self.horizontalHeader()
        heading = self.horizontalHeaderItem(header.sortIndicatorSection())
        return heading.text().replace(" ", "_") if heading else "", header.sortIndicatorOrder()

    def as_text(self) -> str:
        """Return the table, as sorted, with tabs between its columns."""
        columns = range(self.columnCount())
        lines = [[self.horizontalHeaderItem(c).text() for c in columns]]
        lines += [
            [self.item(r, c).data(Qt.ItemDataRole.UserRole) for c in columns]
            for r in range(self.rowCount())
        ]
        return "\n".join("\t".join(line) for line in lines)

    def _announce(self, *_: object) -> None:
        rows = self.selectionModel().selectedRows()
        if len(rows) == 1:
            self.row_chosen.emit(self._rows[self.item(rows[0].row(), 0).number])


class _Cell(QTableWidgetItem):
    """Shows a value shortly and sorts by it; `number` is the row it came from."""

    def __init__(self, value: Any, number: int) -> None:
        super().__init__(short(value))
        self.value = value
        self.number = number
        self.setData(Qt.ItemDataRole.UserRole, "" if value is None else str(value))
        if isinstance(value, int | float):
            self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: _Cell) -> bool:
        return _order(self.value) < _order(other.value)


def short(value: Any) -> str:
    """Return a value in a few characters."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        if isnan(value):
            return "–"
        return f"{value:.4g}" if isfinite(value) else "∞"
    return str(value)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers first, in order; then undefined ones; then text."""
    if isinstance(value, int | float):
        return (1, 0.0, "") if isnan(value) else (0, float(value), "")
    return (2, 0.0, str(value or ""))
