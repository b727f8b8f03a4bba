"""A drop-down in which typed words are looked for."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QFocusEvent
from superqt import QSearchableComboBox

from .forms import narrow

SEARCHED = Qt.ItemDataRole.UserRole + 1
"""Role of the text of an entry in which typed words are looked for."""


class SearchCombo(QSearchableComboBox):
    """Takes what is typed for the first entry in which it occurs, and shows what it takes.

    A click into the text selects it, so that what is typed takes its place.

    Signals
    -------
    nothing_found(str)
        What was typed occurs in no entry.
    """

    nothing_found = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        narrow(self)
        self.completer().setCompletionRole(SEARCHED)
        self.lineEdit().returnPressed.connect(self._take_first_match)
        self.lineEdit().editingFinished.connect(self._show_what_is_taken)

    def offer(self, title: str, entry: object, about: str = "") -> None:
        """Add an entry that is found by its title and by what is told about it."""
        self.addItem(title, entry)
        self.setItemData(self.count() - 1, f"{title} {about}", SEARCHED)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Select the text once the click that brought the focus is over."""
        super().focusInEvent(event)
        QTimer.singleShot(0, self.lineEdit().selectAll)

    def _take_first_match(self) -> None:
        completer, typed = self.completer(), self.lineEdit().text()
        if completer.popup().currentIndex().isValid() or self.findText(typed) >= 0:
            return
        if typed and completer.completionCount():
            self.setCurrentIndex(self.findText(completer.completionModel().index(0, 0).data()))
            self.activated.emit(self.currentIndex())
            return
        self.nothing_found.emit(typed)

    def _show_what_is_taken(self) -> None:
        if not self.completer().popup().isVisible():
            self.setEditText(self.itemText(self.currentIndex()))
