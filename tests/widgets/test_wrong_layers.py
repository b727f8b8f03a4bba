"""Layers that cannot be worked on: one sentence, and the docks are ready again."""

import numpy as np
import pytest

from napari_segzoo.inference.region import Region
from napari_segzoo.model import default_classes


@pytest.fixture
def run(open_dock):
    return open_dock("Run")


@pytest.fixture
def train(open_dock):
    return open_dock("Train")


def test_axes_follow_the_data_of_a_layer(viewer, run, train, blobs):
    layer = viewer.add_image(blobs, name="blobs")
    axes = run.form.axes, train.pairs.axes
    assert [a.currentText() for a in axes] == ["YX", "YX"]
    layer.data = np.stack([blobs] * 3)
    assert [a.currentText() for a in axes] == ["ZYX", "ZYX"]
    drawn = train.pairs.add_labels()
    assert drawn.data.shape == layer.data.shape

    layer.data = np.zeros((1, 1, 1, 3, 8, 8), np.uint8)
    run.plan.setText("the plan of another run")
    run.run_button.click()
    assert "blobs has 6 dimensions, but an image needs 2 to 5" in run.status.text()
    assert not run.plan.text()
    assert run.run_button.isEnabled()
    for act in (train.train, train.draw_next, train.pairs.add_labels):
        train.status.say("")
        act()
        assert "2 to 5" in train.status.text()
        assert train.train_button.isEnabled()


def test_images_of_other_dimensions_are_refused_together(viewer, train, choose, make_model, blobs):
    choose(make_model())
    assert train.pairs.add_labels() is None
    assert "There is no image layer" in train.status.text()
    train.pairs.add_pair()
    for row, data in zip(train.pairs.rows, (blobs, np.stack([blobs] * 3)), strict=True):
        row.image.set_layer(viewer.add_image(data, name=f"{data.ndim}D"))
        row.labels.set_layer(viewer.add_labels(np.ones(data.shape, np.uint8)))
    for button in (train.train_button, train.next_button):
        train.status.say("")
        button.click()
        assert "3D has 3 dimensions, which the axes YX do not fit" in train.status.text()
        assert train.train_button.isEnabled()
        assert not train.stop_button.isEnabled()


def test_an_image_larger_than_memory(viewer, train):
    endless = np.broadcast_to(np.uint8(0), (1 << 20, 1 << 20, 8, 8))
    image = viewer.add_image(endless, name="endless", contrast_limits=(0, 1))
    assert train.pairs.add_labels() is None
    assert "do not fit into memory; save a part of the image" in train.status.text()
    live, block = train._live, np.ones((8, 8), np.uint8)
    live.start(image, "TZYX")
    assert live.visible[2] is not None
    region = Region((0, 0), (slice(0, 8), slice(0, 8)))
    assert "too large for a live preview" in live.show(region, block, default_classes(2))
    live.look()
    assert set(live.visible.values()) == {None}
    assert len(viewer.layers) == 1
