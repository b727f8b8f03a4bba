"""Draw the pictures of docs/images with a real napari window.

On Linux without a display::

    xvfb-run -a -s "-screen 0 1800x1200x24" .venv/bin/python docs/make_screenshots.py
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp()  # no strokes of an earlier run are offered

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

IMAGES = Path(__file__).parent / "images"
VERTICAL, HORIZONTAL = Qt.Orientation.Vertical, Qt.Orientation.Horizontal


def wait(seconds=0.0, busy=None):
    """Let the window live for some seconds, and until a dock no longer runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end or (busy is not None and busy.running):
        QApplication.processEvents()
        time.sleep(0.01)


def open_docks(viewer, names):
    """Open docks by name, one below the other, and return them with their widgets."""
    found = [viewer.window.add_plugin_dock_widget("napari-segzoo", name) for name in names]
    wait(0.5)
    window = viewer.window._qt_window
    for frame, _ in found:
        window.removeDockWidget(frame)
    for frame, _ in found:
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, frame)
        frame.show()
    return dict(zip(names, found, strict=True))


def train(viewer, dock, steps):
    """Train on the layers that the dock proposes."""
    dock.form.unit.setCurrentIndex(dock.form.unit.findData("steps"))
    dock.form.amount.setValue(steps)
    dock.train()
    wait(1, dock)
    for layer in viewer.layers:
        if layer.name.endswith("preview"):
            layer.visible = False


def run(dock, output):
    """Segment the whole image."""
    dock.form.output.setCurrentIndex(dock.form.output.findData(output))
    dock.run()
    wait(0.5, dock)


def measure(dock, reference, prediction, task):
    """Compare two layers."""
    dock.form.reference.set_layer(reference)
    dock.form.prediction.set_layer(prediction)
    dock.form.task.setCurrentIndex(dock.form.task.findData(task))
    dock.measure()
    wait(0.5, dock)


def save(viewer, name):
    """Save the whole window."""
    wait(1)
    viewer.window.screenshot(str(IMAGES / name), canvas_only=False, flash=False)


def draw_coins(steps):
    """The four docks side by side after a run on the coins, and each dock on its own."""
    viewer = napari.Viewer()
    window = viewer.window._qt_window
    window.resize(1780, 1170)
    viewer.open_sample("napari-segzoo", "coins")
    docks = open_docks(viewer, ("Model", "Train", "Run", "Metrics"))
    frames = {name: frame for name, (frame, _) in docks.items()}
    window.splitDockWidget(frames["Model"], frames["Train"], HORIZONTAL)
    window.splitDockWidget(frames["Model"], frames["Run"], VERTICAL)
    window.splitDockWidget(frames["Train"], frames["Metrics"], VERTICAL)
    widgets = {name: widget for name, (_, widget) in docks.items()}
    while not widgets["Train"].classes.counts:
        wait(0.1)
    widgets["Train"].classes.table.item(1, 1).setText("coin")
    train(viewer, widgets["Train"], steps)
    run(widgets["Run"], "instances")
    result = viewer.layers["coins instances"]
    measure(widgets["Metrics"], viewer.layers["coins reference"], result, "instances")
    window.resizeDocks([frames["Model"], frames["Run"]], [640, 480], VERTICAL)
    window.resizeDocks([frames["Train"], frames["Metrics"]], [720, 440], VERTICAL)
    viewer.layers.selection.active = result
    viewer.reset_view()
    save(viewer, "four-docks.png")
    for name, (frame, widget) in docks.items():
        frame.setFloating(True)
        body = widget.layout().itemAt(0).widget().widget()
        height = max(body.sizeHint().height(), body.heightForWidth(350))
        frame.resize(360, height + 50)
        wait(0.5)
        frame.grab().save(str(IMAGES / f"dock-{name.lower()}.png"))
    viewer.close()


def draw_nuclei(steps):
    """A stack with anisotropic voxels, segmented and shown in three dimensions."""
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1500, 950)
    viewer.open_sample("napari-segzoo", "nuclei_3d")
    image, reference = viewer.layers
    drawn = np.zeros(reference.data.shape, np.uint8)
    for plane in (12, 24, 36):
        truth = reference.data[plane] > 0
        drawn[plane, ::24][~truth[::24]] = 1
        drawn[plane, 8::24][truth[8::24]] = 2
    viewer.add_labels(drawn, name="strokes", scale=image.scale, units=image.units)
    docks = open_docks(viewer, ("Train", "Run"))
    widgets = {name: widget for name, (_, widget) in docks.items()}
    frames = [frame for frame, _ in docks.values()]
    viewer.window._qt_window.resizeDocks(frames, [560, 390], VERTICAL)
    train(viewer, widgets["Train"], steps)
    run(widgets["Run"], "instances")
    viewer.layers["strokes"].visible = False
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    viewer.scene.camera.angles = (10, 25, 60)
    save(viewer, "stack-3d.png")
    viewer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="training of each picture")
    arguments = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    draw_coins(arguments.steps)
    draw_nuclei(arguments.steps)
