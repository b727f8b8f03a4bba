"""What makes a widget a dock: a column that scrolls, and an end when the user closes it."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt, QTimer, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QDockWidget, QFrame, QMainWindow, QScrollArea, QVBoxLayout, QWidget

from .worker import Job

DOCK_WIDTH = 340

_ENDING: set[Dock] = set()
"""Docks that were closed during a run: nothing else keeps them until it has ended."""


class Dock(QWidget):
    """A dock that is told when it is closed.

    The cross in its title bar takes the parent from a dock, which floating and hiding do not.
    napari then forgets the dock, and it is destroyed at some later time.

    Signals
    -------
    closed()
        The user closed the dock.
    """

    closed = Signal()
    _placed = False

    def showEvent(self, event: QShowEvent) -> None:
        """Lie as a tab over a dock of this kind that is there already; four do not fit a screen."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            _lay_over_another(self)

    def changeEvent(self, event: QEvent) -> None:
        """Tell that the dock was closed; it lives as long as its jobs run."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            for job in self._running():
                _ENDING.add(self)
                job.ended.connect(self._let_go)
            self.closed.emit()

    def _let_go(self) -> None:
        if not self._running():
            _ENDING.discard(self)

    def _running(self) -> list[Job]:
        return [job for job in self.findChildren(Job) if job.running]


def _lay_over_another(dock: Dock) -> None:
    """Put a new dock over the one that is seen on the same side, in front."""
    window = dock.window()
    frames = window.findChildren(QDockWidget) if isinstance(window, QMainWindow) else []
    own = next((f for f in frames if f.isAncestorOf(dock)), None)
    seen = [f for f in frames if f is not own and f.isVisible() and not f.isFloating()]
    others = [f for f in seen if f.findChild(Dock)]
    on_side = [f for f in others if own and window.dockWidgetArea(f) == window.dockWidgetArea(own)]
    if on_side:
        window.tabifyDockWidget(on_side[-1], own)
        QTimer.singleShot(0, own.raise_)


def make_dock_body(dock: QWidget) -> QVBoxLayout:
    """Fill `dock` with a scrolled column and return its layout."""
    body = QWidget()
    column = QVBoxLayout()
    column.setSpacing(6)
    whole = QVBoxLayout(body)
    whole.setContentsMargins(6, 6, 6, 6)
    whole.addLayout(column)
    whole.addStretch(1)
    scroll = QScrollArea()
    scroll.setWidget(body)
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
    outer = QVBoxLayout(dock)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll)
    dock.setMinimumWidth(DOCK_WIDTH)
    return column
