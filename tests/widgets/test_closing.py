"""Closing a dock ends what it does, at once and in order; floating it does not."""

import gc
import threading

import numpy as np
import pytest

from napari_segzoo.training import Finished, Started
from napari_segzoo.widgets import dock as docks
from napari_segzoo.widgets import train_dock
from napari_segzoo.widgets.shared_model import shared_model

WAIT = 30_000


@pytest.fixture
def frame(viewer):
    """What napari puts around a dock."""
    return lambda name: viewer.window._wrapped_dock_widgets[f"{name} (napari-segzoo)"]


def start_run(run, frame, qtbot):
    """Start a run of some thousand tiles that goes on while its dock floats and comes back."""

    def goes_on():
        before = run.progress.value()
        qtbot.waitUntil(lambda: run.progress.value() > max(before, 2), timeout=WAIT)

    run.form.tile.setText("16")
    run.run()
    goes_on()
    for floating in (True, False):
        frame("Run").setFloating(floating)
        goes_on()


def test_run_keeps_a_partial_layer(viewer, open_dock, frame, choose, make_model, qtbot):
    image = np.random.default_rng(0).random((1024, 1024), np.float32)
    viewer.add_image(image, name="big")
    choose(make_model())
    start_run(open_dock("Run"), frame, qtbot)
    frame("Run").destroyOnClose()
    gc.collect()
    qtbot.waitUntil(lambda: "big labels (partial)" in viewer.layers, timeout=WAIT)
    assert viewer.layers["big labels (partial)"].metadata["napari_segzoo"]["partial"]
    assert not docks._ENDING


def start_training(train, qtbot):
    train.train()
    assert not train.project.open_button.isEnabled()
    qtbot.waitUntil(lambda: "Training" in train.status.text(), timeout=WAIT)


def test_train_leaves_the_model_as_it_was(
    viewer, open_dock, frame, choose, make_model, blobs, qtbot, monkeypatch
):
    model, go_on, said = make_model(), threading.Event(), []

    def finetune(*args, **options):
        yield Started({1: 1, 2: 1}, "cpu", 1, (8, 8))
        go_on.wait(30)
        yield Finished(model, 3, 1.0, 0.5, None, {1: 1, 2: 1}, "cpu")

    monkeypatch.setattr("napari_segzoo.widgets.train_run.finetune", finetune)
    monkeypatch.setattr(train_dock, "show_info", said.append)
    viewer.add_image(blobs, name="blobs")
    viewer.add_labels(np.ones(blobs.shape, np.uint8), name="drawn")
    choose(model)
    before, metrics = shared_model(viewer).choice, open_dock("Metrics")
    start_training(open_dock("Train"), qtbot)
    frame("Train").destroyOnClose()
    assert "the model is as it was" in said[0]
    gc.collect()
    assert docks._ENDING, "the dock is gone before its training has ended"
    go_on.set()
    qtbot.waitUntil(lambda: not docks._ENDING, timeout=WAIT)
    assert shared_model(viewer).choice is before
    assert [layer.name for layer in viewer.layers] == ["blobs", "drawn"]
    metrics.form.follow.setChecked(True)
    frame("Metrics").destroyOnClose()
    assert not metrics.form.follow.isChecked()
