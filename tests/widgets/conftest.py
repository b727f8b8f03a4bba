"""A real viewer with the plugin, and what a user does with menus and mouse."""

from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segzoo.model import ModelInfo, SegmentationModel, default_classes

WAIT = 60_000
"""Milliseconds within which any run of these tests ends, also on a busy machine."""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.viewer)


class Clipboard:
    """Holds a text for one process."""

    def __init__(self):
        self._text = ""

    def setText(self, text):
        self._text = text

    def text(self):
        return self._text


@pytest.fixture(autouse=True)
def clipboard(monkeypatch):
    """Keep tests that run at once on one display from changing each other's clipboard."""
    own = Clipboard()
    monkeypatch.setattr(QApplication, "clipboard", staticmethod(lambda: own))


@pytest.fixture(autouse=True)
def strokes_folder(tmp_path, monkeypatch):
    """Where strokes on images without a file are saved, apart from the user's own."""
    folder = tmp_path / "strokes"
    monkeypatch.setattr("napari_segzoo.io.strokes.strokes_folder", lambda: folder)
    return folder


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def open_dock(viewer):
    """Open a dock by its menu action, as a user does, and return the widget in it."""

    def open_one(name, menu="Plugins"):
        title = f"{name} (napari-segzoo)"
        _action(viewer, menu, title).trigger()
        dock = viewer.window._wrapped_dock_widgets[title]
        return dock.inner_widget()

    return open_one


def _action(viewer, menu, title):
    for top in viewer.window._qt_window.menuBar().actions():
        if top.text().replace("&", "") == menu:
            found = _search(top.menu(), title)
            assert found is not None, f"{title} is not in the menu {menu}"
            return found
    raise AssertionError(f"there is no menu {menu}")


def _search(menu, title):
    menu.aboutToShow.emit()
    for action in menu.actions():
        if action.text() == title:
            return action
        if action.menu() is not None and (found := _search(action.menu(), title)):
            return found
    return None


@pytest.fixture
def finish(qtbot):
    """Wait until a dock no longer runs."""

    def wait(dock):
        qtbot.waitUntil(lambda: not dock.running, timeout=WAIT)

    return wait


@pytest.fixture
def stroke(viewer, qtbot):
    """Paint with the mouse from one voxel of the active labels layer to another."""

    def paint(label, start, end):
        layer = viewer.layers.selection.active
        layer.selected_label, layer.mode = label, "paint"
        qtbot.wait(50)
        canvas = viewer.window._qt_viewer.canvas
        points = [_on_canvas(viewer, layer, canvas, p) for p in (start, end)]
        left = Qt.MouseButton.LeftButton
        QTest.mouseMove(canvas.native, points[0])
        QTest.mousePress(canvas.native, left, pos=points[0])
        for share in (0.5, 1.0):
            x, y = ((1 - share) * a + share * b for a, b in zip(*map(_xy, points), strict=True))
            QTest.mouseMove(canvas.native, QPoint(round(x), round(y)))
        QTest.mouseRelease(canvas.native, left, pos=points[1])
        qtbot.wait(20)

    return paint


def _xy(point):
    return point.x(), point.y()


def _on_canvas(viewer, layer, canvas, position):
    world = layer.data_to_world(position)[-2:]
    center, zoom = viewer.scene.camera.center[-2:], viewer.scene.camera.zoom
    height, width = canvas.size
    y, x = ((w - c) * zoom for w, c in zip(world, center, strict=True))
    return QPoint(round(x + width / 2), round(y + height / 2))


@pytest.fixture
def blobs():
    """Two bright squares on a dim, noisy ground: (64, 96), uint8."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 40, (64, 96)).astype(np.uint8)
    image[10:30, 10:40] += 180
    image[36:56, 60:86] += 180
    return image


@pytest.fixture
def make_model():
    """Make a tiny model with random but fixed weights."""

    def make(ndim=2, in_channels=1, task="semantic", widths=(4, 8)):
        import torch

        torch.manual_seed(0)
        info = ModelInfo(
            "unet",
            ndim,
            in_channels,
            default_classes(2, ("background", "cell")),
            {"widths": widths},
            task=task,
            name="tiny",
            licence="CC0-1.0",
        )
        model = SegmentationModel.create(info)
        model.network.eval()
        return model

    return make


@pytest.fixture
def choose(viewer):
    """Make a model the shared one of the viewer."""
    from napari_segzoo.widgets.shared_model import Choice, shared_model

    def take(model):
        choice = Choice(model.info.name, model.info.architecture, model.info, model=model)
        shared_model(viewer).choose(choice)

    return take
