"""What is painted while a training goes on is taken in by it."""

import numpy as np
import pytest

from napari_segzoo.io import open_image
from napari_segzoo.widgets.more_strokes import PAUSE


@pytest.fixture
def training(viewer, open_dock, choose, make_model, blobs, qtbot, finish):
    """The Train dock in the midst of a long training from scratch on labels 1 and 3."""
    viewer.add_image(blobs, name="blobs")
    train = open_dock("Train")
    drawn = np.zeros(blobs.shape, np.uint16)
    drawn[2:5], drawn[18:22, 12:38] = 1, 3
    train.pairs.add_drawing(train.pairs.rows[0], drawn)
    train.preview_switch.setChecked(False)
    train.form.start.choose("unet")
    train.form.unit.setCurrentIndex(train.form.unit.findData("steps"))
    train.form.amount.setValue(100_000)
    train.train()
    qtbot.waitUntil(lambda: train.plot is not None and len(train.plot.losses) > 1, timeout=60_000)
    yield train
    train.stop()
    finish(train)


def wait_for(qtbot, train, sentence):
    qtbot.waitUntil(lambda: sentence in train.status.text(), timeout=60_000)


def test_strokes_join_the_training(viewer, training, stroke, qtbot, finish, strokes_folder):
    drawn = viewer.layers["blobs drawn"]
    before = drawn.data.copy()
    assert "Label 2 is not drawn" in training.status.text()
    stroke(2, (46, 64), (46, 82))
    wait_for(qtbot, training, "drawn meanwhile counts from step")
    (saved,) = strokes_folder.iterdir()
    on_disk = open_image(saved, labels=True).data[...]
    assert np.array_equal(on_disk, drawn.data), "what is taken in is saved at once"
    assert "Label 2 is not drawn" not in training.status.text()
    steps = len(training.plot.losses)
    qtbot.waitUntil(lambda: len(training.plot.losses) > steps, timeout=60_000)
    counts = {str(n): int((drawn.data == n).sum()) for n in (1, 2, 3)}
    assert counts["2"] > 0
    expected = {int(n): c for n, c in counts.items()}
    qtbot.waitUntil(lambda: training.classes.counts == expected, timeout=30_000)
    training.stop()
    finish(training)
    assert "Done:" in training.status.text()
    info = training._shared.choice.info
    assert info.provenance["labelled_voxels"] == counts
    assert not np.array_equal(drawn.data, before)
    stroke(1, (60, 8), (60, 50))
    qtbot.wait(PAUSE + 100)
    assert training._more.take() is None, "a training that is over takes nothing"


def test_a_new_class_asks_for_a_new_training(training, stroke, qtbot):
    stroke(4, (46, 64), (46, 82))
    wait_for(qtbot, training, "Label 4 is new")
    assert "stop and train again" in training.status.text()
    assert training.running


def test_the_erased_drawing_is_not_taken(viewer, training, qtbot):
    drawn = viewer.layers["blobs drawn"]
    drawn.data = np.zeros_like(drawn.data)
    wait_for(qtbot, training, "goes on without what is drawn now: Nothing is drawn")
    assert training.running


def test_a_stroke_that_is_undone_is_taken_back(viewer, training, stroke, qtbot, strokes_folder):
    """napari tells of an undo by no event of its own."""
    drawn = viewer.layers["blobs drawn"]
    before = drawn.data.copy()
    stroke(2, (46, 64), (46, 82))
    wait_for(qtbot, training, "drawn meanwhile counts from step")
    qtbot.waitUntil(lambda: 2 in training.classes.counts, timeout=30_000)
    drawn.undo()
    assert np.array_equal(drawn.data, before)
    qtbot.waitUntil(lambda: 2 not in training.classes.counts, timeout=30_000)
    wait_for(qtbot, training, "Label 2 is not drawn")
    (saved,) = strokes_folder.iterdir()

    def as_before():
        return np.array_equal(open_image(saved, labels=True).data[...], before)

    qtbot.waitUntil(as_before, timeout=60_000)
