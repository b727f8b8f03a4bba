"""What is drawn: a live count of voxels per class, and names for the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..errors import InputError
from ..training.data import Labelling, check_counts, count_labels
from .forms import StatusLine, color_icon
from .layers import full_array
from .painting import Painting
from .worker import Job

PAUSE = 300
"""Milliseconds after a stroke before voxels are counted."""
COLUMNS = ("Label", "Class", "Voxels")
NAMES = "napari_segzoo_class_names"
"""Under this name the metadata of a drawing tell the classes that its values were called."""


class ClassTable(QWidget):
    """Counts in the background what is drawn in some labels layers.

    Signals
    -------
    painted()
        What is drawn has changed.
    counted()
        Some time after each change of what is drawn.
    """

    painted = Signal()
    counted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._painting = Painting(self)
        self._painting.changed.connect(self._on_paint)
        self._painting.changed.connect(self.painted)
        self._labelling = Labelling()
        self._names: dict[int, str] = {}
        self.counts: dict[int, int] = {}
        self._job = Job(self)
        self._job.yielded.connect(self._show)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._count)
        self.table = _make_table()
        self.table.itemChanged.connect(self._rename)
        self.hint = StatusLine()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addWidget(self.hint)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def watch(self, layers: Sequence[Labels], labelling: Labelling) -> None:
        """Count in these layers from now on, and whenever they are painted."""
        self._painting.watch(layers)
        self._labelling = labelling
        if not self._names:
            known = (layer.metadata.get(NAMES, {}) for layer in layers)
            self._names = dict(next(filter(None, known), {}))
        self._on_paint()

    def class_names(self) -> list[str]:
        """Return the names of the classes, the background first; [] if the user gave none."""
        if not self._names:
            return []
        first = self._first_value()
        last = max([first + 1, *self.counts])
        names = [self._name(value) for value in range(first, last + 1)]
        return names if first == 1 else ["background", *names[1:]]

    def set_class_names(self, names: Sequence[str]) -> None:
        """Name the classes, the background first."""
        self._names = {self._first_value() + n: name for n, name in enumerate(names)}
        self._on_paint()

    def _first_value(self) -> int:
        return 1 if self._labelling.unlabeled == "ignore" else 0

    def _on_paint(self) -> None:
        self._timer.start(PAUSE)

    def _count(self) -> None:
        if self._job.running:
            self._timer.start(PAUSE)
            return
        arrays = [full_array(layer) for layer in self._painting.layers]
        self._job.start(lambda: _count_all(arrays))

    def _show(self, counts: dict[int, int]) -> None:
        self.counts = counts
        try:
            check_counts(counts, self._labelling)
            self.hint.say("")
        except InputError as error:
            self.hint.complain(str(error)) if counts else self.hint.say(str(error))
        self.table.blockSignals(True)
        self._fill()
        self.table.blockSignals(False)
        self.counted.emit()

    def _fill(self) -> None:
        if self._labelling.task == "instances":
            total = sum(self.counts.values())
            rows = [("", f"{len(self.counts)} objects", total, "")]
        else:
            values = range(1, max([2, *self.counts]) + 1)
            rows = [(v, self._name(v), self.counts.get(v, 0), self._color(v)) for v in values]
        self.table.setRowCount(len(rows))
        for n, (value, name, voxels, color) in enumerate(rows):
            cells = [
                QTableWidgetItem(str(value)),
                QTableWidgetItem(name),
                QTableWidgetItem(f"{voxels:,}"),
            ]
            for cell in cells if value == "" else cells[::2]:
                cell.setFlags(Qt.ItemFlag.ItemIsEnabled)
            cells[2].setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if color:
                cells[0].setIcon(color_icon(color))
            for column, cell in enumerate(cells):
                self.table.setItem(n, column, cell)
        shown = min(len(rows), 6)
        height = self.table.horizontalHeader().height() + shown * self.table.rowHeight(0) + 4
        self.table.setFixedHeight(height)

    def _name(self, value: int) -> str:
        first = self._first_value()
        default = "background" if value == first else f"class {value - first}"
        return self._names.get(value, default)

    def _rename(self, item: QTableWidgetItem) -> None:
        if item.column() == 1 and self._labelling.task == "semantic" and item.text().strip():
            self._names[int(self.table.item(item.row(), 0).text())] = item.text().strip()
            for layer in self._painting.layers:
                layer.metadata[NAMES] = dict(self._names)

    def _color(self, value: int) -> str:
        if not self._painting.layers:
            return ""
        color = self._painting.layers[0].get_color(value)
        return "" if color is None else QColor.fromRgbF(*(float(c) for c in color)).name()


def _make_table() -> QTableWidget:
    table = QTableWidget(0, len(COLUMNS))
    table.setHorizontalHeaderLabels(COLUMNS)
    table.verticalHeader().hide()
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
    table.setToolTip("Double-click a name to change it")
    return table


def _count_all(arrays: Sequence[Any]) -> Iterator[dict[int, int]]:
    total: Counter[int] = Counter()
    for array in arrays:
        total.update(count_labels(array))
    yield dict(total)
