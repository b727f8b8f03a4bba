"""What the Metrics dock proposes, what it says of a bad choice, and where it says it."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

TRUTH = np.zeros((40, 60), np.uint8)
TRUTH[5:15, 5:20] = 1
TRUTH[20:30, 30:50] = 1
OBJECTS = np.arange(1, 41, dtype=np.uint8).reshape(4, 10).repeat(10, 0).repeat(6, 1)
"""40 of 60 voxels each."""


@pytest.fixture
def metrics(open_dock):
    return open_dock("Metrics", menu="Layers")


def choices(metrics):
    """Return the names of reference and prediction."""
    layers = metrics.form.reference.layer, metrics.form.prediction.layer
    return tuple(layer and layer.name for layer in layers)


def add_result(viewer, data, name, output="labels"):
    """Add a layer as the Run dock does."""
    made = {"model": "tiny", "options": {"output": output}}
    names = {"index": [0, 1], "class": ["background", "cell"]} if output == "labels" else None
    metadata = {"napari_segzoo": made}
    return viewer.add_labels(data, name=name, metadata=metadata, features=names)


def pick(combo, text):
    """Choose from a drop-down by the keyboard."""
    QTest.keyClick(combo, Qt.Key.Key_Home)
    for _ in range(combo.findText(text)):
        QTest.keyClick(combo, Qt.Key.Key_Down)
    assert combo.currentText() == text


def test_a_run_is_scored_against_what_is_not_drawn(
    viewer, open_dock, metrics, finish, choose, make_model, blobs
):
    viewer.add_image(blobs, name="blobs")
    open_dock("Train").pairs.add_labels()
    assert choices(metrics) == (None, "blobs drawn")
    viewer.add_labels((blobs > 100).astype(np.uint8), name="truth")
    assert choices(metrics) == ("truth", "blobs drawn")

    choose(make_model(task="instances"))
    run = open_dock("Run")
    run.run()
    finish(run)
    assert choices(metrics) == ("truth", "blobs instances")
    assert metrics.form.task.currentText() == "Separate objects"
    run.form.output.setCurrentText("Classes")
    run.run()
    finish(run)
    assert choices(metrics) == ("truth", "blobs labels")
    assert metrics.form.task.currentText() == "Classes"


def test_one_layer_is_never_proposed_for_both(viewer, metrics):
    viewer.add_labels(TRUTH, name="truth")
    assert choices(metrics) == ("truth", None)
    viewer.add_labels(TRUTH, name="mine")
    assert choices(metrics) == ("truth", "mine")
    metrics.form.reference.set_layer(viewer.layers["mine"])
    assert choices(metrics) == ("mine", "truth")


def test_scoring_the_reference_takes_the_result_for_it(viewer, metrics):
    viewer.add_labels(OBJECTS, name="truth")
    add_result(viewer, OBJECTS, "found", output="instances")
    assert choices(metrics) == ("truth", "found")
    pick(metrics.form.prediction, "truth")
    assert choices(metrics) == ("found", "truth")
    assert metrics.form.task.currentText() == "Separate objects"


def test_errors_and_saved_strokes_are_not_proposed(viewer, metrics, finish):
    strokes = viewer.add_labels(TRUTH, name="from a file")
    strokes.metadata["napari_segzoo_file"] = "/images/cells.tif.strokes.tif"
    viewer.add_labels(TRUTH, name="cells drawn [1]")
    viewer.add_labels(TRUTH, name="hand-drawn truth")
    add_result(viewer, TRUTH, "found")
    assert choices(metrics) == ("hand-drawn truth", "found")
    metrics.measure()
    finish(metrics)
    metrics.show_errors()
    finish(metrics)
    assert "found errors" in viewer.layers
    assert choices(metrics) == ("hand-drawn truth", "found")


def test_what_was_chosen_by_hand_stays(viewer, metrics):
    viewer.add_labels(TRUTH, name="truth")
    viewer.add_labels(TRUTH, name="mine")
    viewer.add_labels(TRUTH, name="other")
    assert choices(metrics) == ("truth", "other")
    pick(metrics.form.prediction, "mine")
    pick(metrics.form.task, "Separate objects")
    pick(metrics.form.task, "Classes")
    add_result(viewer, OBJECTS, "found", output="instances")
    assert choices(metrics) == ("truth", "mine")
    viewer.layers.move(0, 3)
    assert choices(metrics) == ("truth", "mine")
    viewer.layers.remove("mine")
    assert choices(metrics)[1] == "found"
    assert metrics.form.task.currentText() == "Classes"


def test_the_task_follows_a_preview_of_objects(viewer, metrics):
    viewer.add_labels(TRUTH, name="truth")
    made = {"napari_segzoo": {"preview": True}}
    viewer.add_labels(OBJECTS, name="preview", metadata=made)
    assert metrics.form.task.currentData() == "instances"
    viewer.layers.remove("preview")
    assert metrics.form.task.currentData() == "semantic"


HINTS = {
    "two layers of objects": (OBJECTS, OBJECTS, "semantic", "look like object numbers; compare"),
    "the same as objects": (OBJECTS, OBJECTS, "instances", ""),
    "objects and a few classes": (TRUTH * 2 + 1, OBJECTS, "semantic", "of prediction look like"),
    "a mask and objects": (TRUTH, OBJECTS, "semantic", "choose a reference that numbers"),
    "a mask and objects as objects": (TRUTH, OBJECTS, "instances", "choose a reference that"),
    "objects and a mask": (OBJECTS, TRUTH, "semantic", "run the model again for Separate objects"),
    "classes": (TRUTH, TRUTH, "semantic", ""),
    "sixteen classes": (OBJECTS % 17, OBJECTS % 17, "semantic", ""),
}


@pytest.mark.parametrize("case", HINTS)
def test_object_numbers_are_told_beside_the_scores(viewer, metrics, finish, case):
    reference, prediction, task, sentence = HINTS[case]
    metrics.form.reference.set_layer(viewer.add_labels(reference, name="reference"))
    metrics.form.prediction.set_layer(viewer.add_labels(prediction, name="prediction"))
    metrics.form.task.setCurrentIndex(metrics.form.task.findData(task))
    metrics.measure()
    finish(metrics)
    assert metrics.panel.hint.isVisible() == bool(sentence)
    assert sentence in metrics.panel.hint.text()


def test_named_classes_are_no_objects_and_few_objects_are(viewer, metrics, finish):
    layer = viewer.add_labels(OBJECTS, name="organs")
    layer.features = {"index": range(41), "class": [f"organ {n}" for n in range(41)]}
    found = viewer.add_labels(OBJECTS, name="found", features=layer.features)
    metrics.measure()
    finish(metrics)
    assert not metrics.panel.hint.isVisible()
    viewer.layers.remove(found)
    add_result(viewer, OBJECTS % 4, "nuclei", output="instances")
    pick(metrics.form.task, "Classes")
    metrics.measure()
    finish(metrics)
    assert "of nuclei look like object numbers" in metrics.panel.hint.text()


def test_an_error_goes_when_what_it_speaks_of_changes(viewer, metrics, finish, qtbot):
    form, status = metrics.form, metrics.status
    viewer.add_labels(TRUTH, name="truth")
    metrics.measure()
    assert "two different labels layers" in status.text()
    small = viewer.add_labels(TRUTH[:20], name="small")
    assert status.text() == ""

    metrics.measure()
    finish(metrics)
    assert "(20, 60)" in status.text()
    form.fit.setCurrentText("Crop to what both cover")
    assert status.text() == ""
    form.fit.setCurrentText("Voxel by voxel")
    metrics.measure()
    finish(metrics)
    assert "(20, 60)" in status.text()
    small.data = TRUTH.copy()
    assert status.text() == ""

    form.region.setCurrentText("Inside shapes")
    metrics.measure()
    assert "no shapes layer" in status.text()
    shapes = viewer.add_shapes([[0.0, 0.0], [3.0, 3.0]], shape_type="line", name="lines")
    assert status.text() == ""
    metrics.measure()
    assert "no shape with an inside" in status.text()
    shapes.add_rectangles([[2.0, 2.0], [9.0, 9.0]])
    qtbot.waitUntil(lambda: status.text() == "", timeout=20_000)

    metrics.measure()
    finish(metrics)
    metrics.copy_command()
    said = status.text()
    assert said.startswith("Copied.")
    form.ignore.setValue(3)
    assert status.text() == said


def test_an_error_of_the_view_goes_when_it_moves(viewer, metrics, qtbot):
    viewer.add_labels(TRUTH, name="truth")
    viewer.add_labels(TRUTH, name="mine")
    metrics.form.region.setCurrentText("Visible region")
    viewer.scene.camera.center = (0, 1e6, 1e6)
    qtbot.wait(300)
    metrics.measure()
    assert "move it into view" in metrics.status.text()
    viewer.scene.camera.center = (0, 20, 30)
    qtbot.waitUntil(lambda: metrics.status.text() == "", timeout=20_000)


def test_messages_move_no_button(viewer, metrics, finish, qtbot, tmp_path):
    viewer.add_labels(TRUTH, name="truth")
    viewer.add_labels(TRUTH, name="mine")
    metrics.measure()
    finish(metrics)
    qtbot.wait(100)
    buttons = [b for b in metrics.findChildren(QPushButton) if b.isVisible()]
    places = [b.mapToGlobal(QPoint()) for b in buttons]
    assert metrics.status.text() == ""
    assert metrics.footer.height() < metrics.height() / 6

    for text in ("Copy table", "Copy text", "Copy command"):
        button = next(b for b in buttons if b.text() == text)
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        qtbot.wait(50)
        assert metrics.status.isVisible()
        assert [b.mapToGlobal(QPoint()) for b in buttons] == places
    metrics.panel.save(tmp_path / "a folder with a long name" / "that is not there" / "scores.csv")
    metrics.progress.show()
    qtbot.wait(50)
    assert "does not exist" in metrics.status.text()
    assert [b.mapToGlobal(QPoint()) for b in buttons] == places
