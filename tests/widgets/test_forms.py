"""What all docks have in common: wheel, width, tooltips, and text that shows as it is."""

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QPushButton,
    QScrollArea,
)

from napari_segzoo.widgets.forms import NOTE_COLOR, StatusLine
from napari_segzoo.widgets.layer_combo import topmost_drawn
from napari_segzoo.widgets.search_combo import SearchCombo


@pytest.fixture
def docks(open_dock):
    return {name: open_dock(name) for name in ("Model", "Run", "Train", "Metrics")}


def turn_wheel(field):
    """Turn the wheel over a field by one notch; whether the field took it for itself."""
    here, where = QPointF(5, 5), QPointF(field.mapToGlobal(QPoint(5, 5)))
    event = QWheelEvent(
        here, where, QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(field, event)
    return event.isAccepted()


def shown(field):
    return field.currentIndex() if isinstance(field, QComboBox) else field.value()


def test_the_wheel_is_left_to_the_dock(docks, qtbot):
    docks["Train"].pairs.add_pair()
    for dock in docks.values():
        fields = dock.findChildren(QComboBox) + dock.findChildren(QAbstractSpinBox)
        assert {field.focusPolicy() for field in fields} == {Qt.FocusPolicy.StrongFocus}
    form = docks["Train"].form
    fields = form.amount, form.unit, form.start, docks["Run"].form.device
    before = [shown(field) for field in fields]
    assert not any(turn_wheel(field) for field in fields)
    assert before == [shown(field) for field in fields]
    form.unit.window().activateWindow()
    form.unit.setFocus()
    qtbot.waitUntil(form.unit.hasFocus, timeout=30_000)
    assert turn_wheel(form.unit)
    assert form.unit.currentIndex() == 1


def test_buttons_have_tooltips_and_what_is_too_wide_can_be_scrolled_to(docks):
    for name, dock in docks.items():
        for button in dock.findChildren(QPushButton):
            assert button.toolTip(), f"{button.text()} in {name}"
    assert docks["Train"].preview_switch.toolTip()

    run = docks["Run"]
    bar = run.findChild(QScrollArea).horizontalScrollBar()
    assert bar.maximum() == 0
    run.setStyleSheet("* { font-size: 30pt; }")
    QApplication.processEvents()
    assert bar.maximum() > 0
    assert bar.isVisible()


def test_names_show_as_they_are(qtbot):
    line = StatusLine()
    qtbot.addWidget(line)
    line.begin("Reading CD3<high> & more.")
    line.note("It's b<c.")
    line.say("Saved CD3<high>.")
    note = f'<span style="color: {NOTE_COLOR}">It\'s b&lt;c.</span>'
    assert line.text() == f"Saved CD3&lt;high&gt;.<br>{note}"


def test_an_error_goes_when_what_it_speaks_of_changes(qtbot):
    line = StatusLine()
    qtbot.addWidget(line)
    line.say("Ready.")
    line.forgive()
    assert line.text() == "Ready."
    line.note("Mind this.")
    line.complain("There is no image.")
    line.forgive()
    assert "no image" not in line.text() and "Mind this." in line.text()


def test_a_hidden_layer_is_not_proposed_as_the_drawing():
    seen, hidden = (Labels(np.zeros((4, 4), int)) for _ in range(2))
    hidden.visible = False
    assert topmost_drawn([seen, hidden]) is seen
    assert topmost_drawn([hidden]) is None


def test_what_was_typed_into_a_search_and_left_is_not_shown(qtbot):
    combo = SearchCombo()
    qtbot.addWidget(combo)
    for name in ("nuclei", "generalist"):
        combo.offer(name, name)
    combo.show()
    qtbot.mouseClick(combo.lineEdit(), Qt.MouseButton.LeftButton)
    assert combo.completer().popup().isVisible(), "a click lists what there is"
    assert combo.completer().completionCount() == 2
    combo.completer().popup().hide()
    qtbot.keyClicks(combo.lineEdit(), "gene")
    combo.completer().popup().hide()
    qtbot.keyClick(combo, Qt.Key.Key_Escape)
    assert combo.currentText() == combo.currentData() == "nuclei"


def test_a_search_takes_the_name_that_was_typed_before_others_that_tell_of_it(qtbot):
    combo = SearchCombo()
    qtbot.addWidget(combo)
    combo.offer("generalist-2d (trained)", 1, "nuclei and cells")
    combo.offer("nuclei (trained)", 2, "nuclei")
    combo.lineEdit().clear()
    qtbot.keyClicks(combo.lineEdit(), "nuclei")
    qtbot.keyClick(combo.lineEdit(), Qt.Key.Key_Return)
    assert combo.currentData() == 2


def test_docks_lie_over_each_other_as_tabs(viewer, open_dock, qtbot):
    """One below the other, none would be high enough to work in."""
    docks = [open_dock(name) for name in ("Model", "Run", "Train")]
    qtbot.waitUntil(docks[-1].isVisible)
    window = viewer.window._qt_window
    frames = [
        viewer.window._wrapped_dock_widgets[f"{name} (napari-segzoo)"]
        for name in ("Model", "Run", "Train")
    ]
    assert set(window.tabifiedDockWidgets(frames[2])) >= set(frames[:2])
    qtbot.waitUntil(lambda: docks[2].height() > window.height() / 2)
