"""Tables of scores that sort by number."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, isnan
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QHeaderView, QTableWidget, QTableWidgetItem

from ..metrics import DEFINITIONS
from ..metrics.report import Row

SHOWN_ROWS = 8


class ScoreTable(QTableWidget):
    """One row per class, threshold or object; a click on a heading sorts."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row] = []
        self.verticalHeader().hide()
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.setSortingEnabled(True)

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show `rows`, all with the same keys; columns without any value are left out."""
        self._rows = list(rows)
        columns = [
            name
            for name in (rows[0] if rows else {})
            if name != "position" and any(row[name] not in (None, "") for row in rows)
        ]
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
        self.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header = self.horizontalHeader().height()
        lines = min(len(rows), SHOWN_ROWS)
        bar = self.horizontalScrollBar().sizeHint().height()
        self.setFixedHeight(header + lines * self.rowHeight(0) + bar)

    def selected_row(self) -> Row | None:
        """Return the row the user has selected."""
        item = self.item(self.currentRow(), 0)
        return None if item is None else self._rows[item.number]

    def copy(self) -> None:
        """Copy the table, as sorted, for a spreadsheet."""
        columns = range(self.columnCount())
        lines = [[self.horizontalHeaderItem(c).text() for c in columns]]
        lines += [
            [self.item(r, c).data(Qt.ItemDataRole.UserRole) for c in columns]
            for r in range(self.rowCount())
        ]
        QApplication.clipboard().setText("\n".join("\t".join(line) for line in lines))


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
