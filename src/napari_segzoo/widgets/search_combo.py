"""A drop-down in which typed words are looked for."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QFocusEvent, QKeyEvent
from superqt import QSearchableComboBox

from .forms import narrow

SEARCHED = Qt.ItemDataRole.UserRole + 1
"""Role of the text of an entry in which typed words are looked for."""


class SearchCombo(QSearchableComboBox):
    """Takes what is typed for the first entry in which it occurs, and shows what it takes.

    A click into the text selects it, so that what is typed takes its place, and lists all entries.
    Whoever leaves it or presses Escape gets back what is taken.

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
        self.lineEdit().installEventFilter(self)

    def offer(self, title: str, entry: object, about: str = "") -> None:
        """Add an entry that is found by its title and by what is told about it."""
        self.addItem(title, entry)
        self.setItemData(self.count() - 1, f"{title} {about}", SEARCHED)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Select the text once the click that brought the focus is over."""
        super().focusInEvent(event)
        QTimer.singleShot(0, self.lineEdit().selectAll)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show what is taken, unless it is only the list that opens."""
        super().focusOutEvent(event)
        if event.reason() != Qt.FocusReason.PopupFocusReason:
            self.setEditText(self.itemText(self.currentIndex()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Show what is taken on Escape."""
        super().keyPressEvent(event)
        if event.key() == Qt.Key.Key_Escape:
            self.setEditText(self.itemText(self.currentIndex()))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """List all entries when the text is clicked."""
        if watched is self.lineEdit() and event.type() == QEvent.Type.MouseButtonRelease:
            self.lineEdit().selectAll()
            self.completer().setCompletionPrefix("")
            self.completer().complete()
        return super().eventFilter(watched, event)

    def _take_first_match(self) -> None:
        completer, typed = self.completer(), self.lineEdit().text()
        if completer.popup().currentIndex().isValid() or self.findText(typed) >= 0:
            return
        if typed and completer.completionCount():
            model = completer.completionModel()
            found = [model.index(n, 0).data() for n in range(completer.completionCount())]
            self.setCurrentIndex(self.findText(min(found, key=partial(_distance, typed))))
            self.activated.emit(self.currentIndex())
            return
        self.nothing_found.emit(typed)

    def _show_what_is_taken(self) -> None:
        if not self.completer().popup().isVisible():
            self.setEditText(self.itemText(self.currentIndex()))


def _distance(typed: str, title: str) -> tuple[bool, bool]:
    """Put titles that begin with what was typed first, then those in which it occurs."""
    begun, held = title.lower().startswith(typed.lower()), typed.lower() in title.lower()
    return not begun, not held
