"""What all docks have in common: wheel, width, tooltips, and text that shows as it is."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QPushButton,
    QScrollArea,
)

from napari_segzoo.widgets.forms import StatusLine


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
    assert line.text() == "Saved CD3&lt;high&gt;.<br>It's b&lt;c."
