"""Draw the pictures of the Metrics dock in docs/images with a real napari window.

On Linux without a display::

    xvfb-run -a -s "-screen 0 1800x1200x24" .venv/bin/python docs/make_metrics_screenshots.py
"""

import os
import tempfile
import time
from pathlib import Path

os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")

import napari
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from scipy.ndimage import distance_transform_edt
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.morphology import remove_small_objects
from skimage.segmentation import watershed

import napari_segzoo as segzoo
from napari_segzoo.sample_data import NUCLEI_VOXEL_SIZES, load_coins, load_nuclei

IMAGES = Path(__file__).parent / "images"


def wait(seconds=0.0, busy=None):
    """Let the window live for some seconds, and until a dock no longer runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end or (busy is not None and busy.running):
        QApplication.processEvents()
        time.sleep(0.01)


def open_viewer(height):
    """Return a viewer with the Metrics dock beside it."""
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1420, height)
    frame, dock = viewer.window.add_plugin_dock_widget("napari-segzoo", "Metrics")
    viewer.window._qt_window.resizeDocks([frame], [430], Qt.Orientation.Horizontal)
    wait(0.5)
    return viewer, dock


def measure(dock, reference, prediction, task, errors=True):
    """Compare two layers and mark the errors."""
    dock.form.reference.set_layer(reference)
    dock.form.prediction.set_layer(prediction)
    dock.form.task.setCurrentIndex(dock.form.task.findData(task))
    dock.measure()
    wait(0.3, dock)
    if errors:
        dock.show_errors()
        wait(0.3, dock)


def save(viewer, dock, name):
    """Show only image and errors, and save the window."""
    for layer in viewer.layers:
        layer.visible = isinstance(layer, napari.layers.Image) or layer.name.endswith("errors")
    viewer.reset_view()
    body = dock.layout().itemAt(0).widget().widget()
    print(name, "the dock wants", body.sizeHint().height(), "pixels")
    wait(1)
    viewer.window.screenshot(str(IMAGES / name), canvas_only=False, flash=False)


def above_threshold(image):
    """Return what Otsu's threshold takes for foreground, as 0 and 1."""
    smooth = gaussian(image, 1)
    return (smooth > threshold_otsu(smooth)).astype(np.uint8)


def draw_classes():
    """The bundled model against a threshold on five generated images."""
    model = segzoo.load_model("nuclei")
    scenes = [load_nuclei(2, seed) for seed in range(1, 6)]
    segmented = [np.asarray(segzoo.predict(model, image, axes="YX")) for image, _ in scenes]
    viewer, dock = open_viewer(1100)
    for number, ((image, truth), found) in enumerate(zip(scenes, segmented, strict=True), 1):
        viewer.layers.clear()
        place = {"scale": NUCLEI_VOXEL_SIZES[2], "units": ("um", "um")}
        viewer.add_image(image, name="nuclei", **place)
        reference = viewer.add_labels((truth > 0).astype(np.uint8), name=f"truth {number}", **place)
        found = (found > 0).astype(np.uint8)
        predictions = {"threshold": above_threshold(image), "nuclei model": found}
        for name, prediction in predictions.items():
            layer = viewer.add_labels(prediction, name=name, **place)
            measure(dock, reference, layer, "semantic", errors=False)
    measure(dock, reference, layer, "semantic")
    save(viewer, dock, "metrics-classes.png")
    viewer.close()


def draw_stack():
    """An anisotropic stack with the curve along its slices."""
    viewer, dock = open_viewer(1030)
    image, truth = load_nuclei(3, 0)
    place = {"scale": NUCLEI_VOXEL_SIZES[3], "units": ("um",) * 3}
    viewer.add_image(image, name="stack", **place)
    reference = viewer.add_labels((truth > 0).astype(np.uint8), name="truth", **place)
    prediction = viewer.add_labels(above_threshold(image), name="threshold", **place)
    measure(dock, reference, prediction, "semantic")
    viewer.dims.set_current_step(0, 24)
    save(viewer, dock, "metrics-stack.png")
    viewer.close()


def draw_objects():
    """Coins found by threshold and watershed."""
    viewer, dock = open_viewer(1130)
    image, truth = load_coins()
    viewer.add_image(image, name="coins")
    reference = viewer.add_labels(truth, name="truth")
    mask = above_threshold(image - gaussian(image, 60, preserve_range=True)) > 0
    mask = remove_small_objects(mask, max_size=60)
    depth = distance_transform_edt(mask)
    peaks = peak_local_max(depth, min_distance=9, labels=label(mask))
    seeds = np.zeros(mask.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found = watershed(-depth, seeds, mask=mask)
    prediction = viewer.add_labels(found, name="watershed")
    measure(dock, reference, prediction, "instances")
    save(viewer, dock, "metrics-objects.png")
    viewer.close()


if __name__ == "__main__":
    draw_classes()
    draw_stack()
    draw_objects()
