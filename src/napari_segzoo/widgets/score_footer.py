"""Progress and messages at the lower end of the Metrics dock, where they move no button."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QProgressBar, QSizePolicy, QVBoxLayout, QWidget

from .forms import StatusLine

LINES = 3
"""Lines of text that fit before the footer grows."""


class ScoreFooter(QWidget):
    """Stays below what scrolls in a dock, as high when it is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = QProgressBar()
        self.progress.hide()
        self.status = StatusLine()
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 0, 6, 6)
        column.addWidget(self.progress)
        column.addWidget(self.status)
        column.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setMinimumHeight(LINES * self.fontMetrics().lineSpacing() + 6)
