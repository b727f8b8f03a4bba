"""Small pieces that all docks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

LABEL_WIDTH = 68
ERROR_COLOR, NOTE_COLOR = "#e0584f", "#e0b04f"


def make_form() -> QFormLayout:
    """Return an empty form whose fields fill the width."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    form.setSpacing(5)
    return form


def add_row(form: QFormLayout, label: str, field: QWidget, tip: str) -> None:
    """Add a labelled field with one tooltip for both."""
    title = QLabel(label)
    title.setMinimumWidth(LABEL_WIDTH)
    title.setToolTip(tip)
    field.setToolTip(tip)
    for box in (field, *field.findChildren(QAbstractSpinBox)):
        if isinstance(box, QAbstractSpinBox):
            hold_still(box)
    form.addRow(title, field)


def make_collapsible(title: str, form: QFormLayout, tip: str) -> QWidget:
    """Return a form behind a title that unfolds it."""
    content = QWidget()
    content.setLayout(form)
    content.hide()
    toggle = QPushButton(f"▸ {title}")
    toggle.setToolTip(tip)
    toggle.setCheckable(True)
    toggle.setFlat(True)
    toggle.setStyleSheet("text-align: left; background: transparent; padding: 2px;")
    toggle.toggled.connect(content.setVisible)
    toggle.toggled.connect(lambda on: toggle.setText(f"{'▾' if on else '▸'} {title}"))
    section = QWidget()
    column = QVBoxLayout(section)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(3)
    column.addWidget(toggle)
    column.addWidget(content)
    return section


def make_row(*widgets: QWidget) -> QHBoxLayout:
    """Put widgets side by side, equally wide."""
    row = QHBoxLayout()
    row.setSpacing(5)
    for widget in widgets:
        row.addWidget(widget, 1)
    return row


def make_button(text: str, tip: str, slot: Callable[[], object]) -> QPushButton:
    """Return a button that calls `slot()`."""
    button = QPushButton(text)
    button.setToolTip(tip)
    button.clicked.connect(lambda: slot())
    return button


def make_copy_row(command: Callable[[], object], script: Callable[[], object]) -> QHBoxLayout:
    """Return the two buttons with which every run can be written down."""
    return make_row(
        make_button("Copy command", "Command line that repeats this run", command),
        make_button("Copy script", "Python script that repeats this run", script),
    )


def make_choice(items: Sequence[tuple[str, str]]) -> QComboBox:
    """Return a drop-down; `items` are pairs of what is shown and what it stands for."""
    combo = QComboBox()
    narrow(combo)
    for text, value in items:
        combo.addItem(text, value)
    return combo


def narrow(combo: QComboBox) -> None:
    """Let a drop-down shrink with the dock, whatever the length of its items."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(8)
    hold_still(combo)


class _WheelGuard(QObject):
    """Leaves the mouse wheel to what lies around a field that has not the focus."""

    def eventFilter(self, field: QWidget, event: QEvent) -> bool:
        away = event.type() == QEvent.Type.Wheel and not field.hasFocus()
        if away:
            event.ignore()
        return away


def hold_still(field: QWidget) -> None:
    """Let the mouse wheel, which scrolls the dock, change a field only after a click on it."""
    field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    field.installEventFilter(_WheelGuard(field))


def color_icon(color: str, size: int = 12) -> QIcon:
    """Return a square of one colour."""
    pixmap = QPixmap(QSize(size, size))
    pixmap.fill(QColor(color))
    return QIcon(pixmap)


def make_text(html: str = "") -> QLabel:
    """Return wrapped text that can be selected, with links that open."""
    label = QLabel(html)
    label.setWordWrap(True)
    label.setOpenExternalLinks(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
    return label


class StatusLine(QLabel):
    """What goes on, or what went wrong, in one sentence; notes stay below it."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._notes: list[str] = []
        self._complains = False
        self._sentence = ""

    def begin(self, sentence: str) -> None:
        """Show information at the start of a run, and drop the notes of the last one."""
        self._notes = []
        self.say(sentence)

    def say(self, sentence: str) -> None:
        """Show information."""
        self._complains = False
        self._show(as_html(sentence))

    def note(self, sentence: str) -> None:
        """Keep a sentence below what is said, until the next run; an error stays above it."""
        line = f'<span style="color: {NOTE_COLOR}">{as_html(sentence)}</span>'
        if line not in self._notes:
            self._notes.append(line)
        self._show(self._sentence if self._complains else "")

    def complain(self, sentence: str) -> None:
        """Show an error."""
        self._complains = True
        self._show(f'<span style="color: {ERROR_COLOR}">{as_html(sentence)}</span>')

    def forgive(self) -> None:
        """Take an error away, since what it speaks of may have changed."""
        if self._complains:
            self.say("")

    def _show(self, html: str) -> None:
        self._sentence = html
        self.setText("<br>".join(line for line in (html, *self._notes) if line))
        if self.parent() is not None:
            self.setVisible(bool(self.text()))


def as_html(text: str) -> str:
    """Return text that shows as it is, whatever the names in it."""
    return escape(text, quote=False)
