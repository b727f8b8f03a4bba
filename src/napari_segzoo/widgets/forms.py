"""Small pieces that all docks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, Qt, Signal
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

if TYPE_CHECKING:
    import napari

LABEL_WIDTH = 68
ERROR_COLOR, NOTE_COLOR = "#e0584f", "#e0b04f"
RESULT = "napari_segzoo"
"""Under this name the metadata of a layer that a dock made tell how, from its beginning on."""


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

    def begin(self, sentence: str) -> None:
        """Show information at the start of a run, and drop the notes of the last one."""
        self._notes = []
        self.say(sentence)

    def say(self, sentence: str) -> None:
        """Show information."""
        self._complains = False
        self._show(as_html(sentence))

    def note(self, sentence: str) -> None:
        """Keep a sentence below what is said, until the next run."""
        line = f'<span style="color: {NOTE_COLOR}">{as_html(sentence)}</span>'
        if line not in self._notes:
            self._notes.append(line)
        self._show("")

    def complain(self, sentence: str) -> None:
        """Show an error."""
        self._complains = True
        self._show(f'<span style="color: {ERROR_COLOR}">{as_html(sentence)}</span>')

    def forgive(self) -> None:
        """Take an error away, since what it speaks of may have changed."""
        if self._complains:
            self.say("")

    def _show(self, html: str) -> None:
        self.setText("<br>".join(line for line in (html, *self._notes) if line))
        if self.parent() is not None:
            self.setVisible(bool(self.text()))


def as_html(text: str) -> str:
    """Return text that shows as it is, whatever the names in it."""
    return escape(text, quote=False)


def is_result(layer: Layer) -> bool:
    """Whether a dock made this layer."""
    return RESULT in layer.metadata


def lowest(layers: Sequence[Layer]) -> Layer:
    """Return the lowest layer, one that no dock made if there is one."""
    return next((layer for layer in layers if not is_result(layer)), layers[0])


def topmost_drawn(layers: Sequence[Layer]) -> Layer | None:
    """Return the topmost visible layer that no dock made, if there is one."""
    drawn = (layer for layer in reversed(layers) if layer.visible and not is_result(layer))
    return next(drawn, None)


def topmost(layers: Sequence[Layer]) -> Layer:
    """Return the topmost layer."""
    return layers[-1]


class LayerCombo(QComboBox):
    """Drop-down of the viewer's layers of one type; follows the layer list.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Whose layers.
    kind : type
        Type of the layers offered.
    prefer : callable
        Chooses among the layers offered, or none of them, when none is shown yet. By default the
        selected one, or else the lowest that no dock made.

    Signals
    -------
    layer_changed()
        Another layer is shown, or the one shown has got data of another number of dimensions.
    """

    layer_changed = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        kind: type[Layer],
        prefer: Callable[[Sequence[Layer]], Layer | None] | None = None,
    ) -> None:
        super().__init__()
        narrow(self)
        self._viewer = viewer
        self._kind = kind
        self._prefer = prefer or self._selected_or_lowest
        self._offered: list[Layer] = []
        self._shown: tuple[Layer | None, int] = (None, 0)
        self.refresh()
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self.refresh)
        self.currentIndexChanged.connect(self._announce)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers offered, from the lowest up."""
        return tuple(self._offered)

    @property
    def layer(self) -> Layer | None:
        """The layer shown."""
        n = self.currentIndex()
        return self._offered[n] if 0 <= n < len(self._offered) else None

    def set_layer(self, layer: Layer | None) -> None:
        """Show `layer`."""
        self.setCurrentIndex(-1 if layer is None else self._offered.index(layer))

    def refresh(self, event: object = None) -> None:
        """Take over layers that came or went; the one shown stays if it can."""
        if not isalive(self):
            return
        shown = self.layer
        self.blockSignals(True)
        self.clear()
        self._offered = [x for x in self._viewer.layers if isinstance(x, self._kind)]
        for layer in self._offered:
            self.addItem(layer.name)
            layer.events.name.connect(self._rename)
            layer.events.data.connect(self._announce)
        if self._offered:
            kept = shown if shown in self._offered else self._prefer(self._offered)
            self.setCurrentIndex(-1 if kept is None else self._offered.index(kept))
        self.blockSignals(False)
        self._announce()

    def _selected_or_lowest(self, layers: Sequence[Layer]) -> Layer:
        selected = self._viewer.layers.selection.active
        return selected if selected in layers and not is_result(selected) else lowest(layers)

    def _rename(self, event: object = None) -> None:
        if isalive(self):
            for n, layer in enumerate(self._offered):
                self.setItemText(n, layer.name)

    def _announce(self, event: object = None) -> None:
        if not isalive(self):
            return
        shown = self.layer, 0 if self.layer is None else self.layer.ndim
        if shown != self._shown:
            self._shown = shown
            self.layer_changed.emit()
