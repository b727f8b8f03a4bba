"""Strokes are saved before every training and offered when the image is opened again."""

import threading

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_segzoo.errors import RunError
from napari_segzoo.io import Image, open_image, save_image, save_strokes


def drawing(shape):
    drawn = np.zeros(shape, np.uint16)
    drawn[..., 2:5, :], drawn[..., 18:22, 12:38] = 1, 2
    return drawn


@pytest.fixture
def offers(qtbot):
    """Whether the line with Restore shows wherever the dock does, once strokes were looked for."""

    def look(dock):
        qtbot.waitUntil(lambda: not dock.saved.running, timeout=30_000)
        return dock.saved.isVisibleTo(dock)

    return look


@pytest.fixture
def file(tmp_path, blobs):
    """An image file."""
    return save_image(tmp_path / "blobs.tif", blobs, "YX")


@pytest.fixture
def train_once(viewer, open_dock, choose, make_model, finish):
    """Train for one step."""

    def go(dock):
        choose(make_model())
        dock.form.unit.setCurrentIndex(dock.form.unit.findData("steps"))
        dock.form.amount.setValue(1)
        dock.train()
        finish(dock)

    return go


def test_a_training_saves_what_is_drawn_beside_the_image(
    viewer, open_dock, train_once, file, blobs, offers
):
    viewer.open(file)
    drawn = viewer.add_labels(drawing(blobs.shape), name="drawn")
    train = open_dock("Train")
    train_once(train)
    saved = file.with_name("blobs.tif.strokes.tif")
    assert np.array_equal(open_image(saved, labels=True).data[...], drawn.data)
    assert "saved as blobs.tif.strokes.tif" in train.status.text()
    assert "Done: 1 steps" in train.status.text()

    train.copy_command()
    assert f"--labels {saved} " in QApplication.clipboard().text()
    assert "the layer drawn" not in train.status.text(), "the strokes are saved already"
    drawn.data[30, 30] = 2
    train.copy_command()
    drawn.data[30, 30] = 0
    assert "--labels drawn.tif" in QApplication.clipboard().text()
    assert "save the layer drawn as drawn.tif" in train.status.text()

    train.pairs.add_labels()
    assert not offers(train), "what this session has drawn is offered to it"
    train_once(train)
    assert "Nothing is drawn" in train.status.text()
    assert np.array_equal(open_image(saved, labels=True).data[...], drawn.data)


def test_saved_strokes_are_offered_and_come_back_in_place(
    viewer, open_dock, tmp_path, qtbot, offers
):
    stack = np.random.default_rng(0).integers(0, 99, (1, 4, 48, 64)).astype(np.uint8)
    source = Image(stack, "TZYX", (1.0, 2.0, 0.5, 0.5), "micrometer", source="stack")
    drawn = drawing((1, 4, 48, 64))
    save_strokes(drawn, source)
    train = open_dock("Train")
    assert not offers(train)
    placement = {"scale": (1, 2.0, 0.5, 0.5), "translate": (0, 3, 5, 7), "units": ("um",) * 4}
    image = viewer.add_image(stack, name="stack", **placement)
    train.pairs.axes.setCurrentIndex(train.pairs.axes.findText("TZYX"))
    assert offers(train)
    assert "Strokes on stack" in train.saved.text.text()

    train.saved.button.click()
    layer = train.pairs.rows[0].labels.layer
    assert layer is viewer.layers["stack drawn"]
    assert np.array_equal(layer.data, drawn)
    for name in ("scale", "translate", "units"):
        assert np.array_equal(getattr(layer, name), getattr(image, name)), name
    assert layer.mode == "paint"
    assert not offers(train)
    qtbot.waitUntil(lambda: set(train.classes.counts) == {1, 2}, timeout=30_000)
    layer.data[0, 2, 30, 5] = 3
    assert layer.data[0, 2, 30, 5] == 3


def test_nothing_is_offered_where_something_is_drawn(
    viewer, open_dock, stroke, blobs, qtbot, offers
):
    save_strokes(drawing(blobs.shape), Image(blobs, "YX", source="blobs"))
    viewer.add_image(blobs, name="blobs")
    viewer.add_labels(drawing(blobs.shape), name="drawn already")
    train = open_dock("Train")
    assert not offers(train)
    train.pairs.add_labels()
    assert offers(train)
    stroke(1, (45, 8), (45, 50))
    qtbot.waitUntil(lambda: not train.saved.isVisibleTo(train), timeout=30_000)


def test_each_of_several_images_is_offered_its_own(viewer, open_dock, blobs, offers):
    images = {"a": blobs, "b": blobs[::-1].copy()}
    for name, data in images.items():
        drawn = drawing(blobs.shape) * (2 if name == "b" else 1)
        save_strokes(drawn, Image(data, "YX", source=name))
        viewer.add_image(data, name=name)
    train = open_dock("Train")
    train.pairs.add_pair()
    for row, name in zip(train.pairs.rows, images, strict=True):
        row.image.set_layer(viewer.layers[name])
    assert offers(train)
    train.saved.restore()
    assert offers(train)
    train.saved.restore()
    assert not offers(train)
    assert [row.labels.layer.name for row in train.pairs.rows] == ["a drawn", "b drawn"]
    assert viewer.layers["b drawn"].data.max() == 2 * viewer.layers["a drawn"].data.max()


def test_strokes_that_cannot_be_saved_do_not_hold_up_the_training(
    viewer, open_dock, train_once, blobs, monkeypatch
):
    def failing(*args):
        raise RunError("strokes.tif could not be written: No space left on device.")

    monkeypatch.setattr("napari_segzoo.widgets.train_run.save_strokes", failing)
    viewer.add_image(blobs, name="blobs")
    viewer.add_labels(drawing(blobs.shape), name="drawn")
    train = open_dock("Train")
    train_once(train)
    assert "Done: 1 steps" in train.status.text()
    assert "drawn on blobs is not saved" in train.status.text()
    assert "No space left on device" in train.status.text()


def test_a_training_that_fails_has_saved_before(
    viewer, open_dock, train_once, file, blobs, monkeypatch
):
    def failing(*args, **kwargs):
        raise RuntimeError("CUDA error: the GPU went away")
        yield

    monkeypatch.setattr("napari_segzoo.widgets.train_run.finetune", failing)
    viewer.open(file)
    drawn = viewer.add_labels(drawing(blobs.shape), name="drawn")
    train_once(open_dock("Train"))
    saved = file.with_name("blobs.tif.strokes.tif")
    assert np.array_equal(open_image(saved, labels=True).data[...], drawn.data)


def test_a_file_that_broke_meanwhile(viewer, open_dock, blobs, offers):
    path = save_strokes(drawing(blobs.shape), Image(blobs, "YX", source="blobs"))
    viewer.add_image(blobs, name="blobs")
    train = open_dock("Train")
    assert offers(train)
    path.write_bytes(b"no TIFF at all")
    assert train.saved.restore() is None
    assert not offers(train)
    assert len(viewer.layers) == 1


class LazyStack:
    """A stack that notes who reads more than one plane of it, and can fail to."""

    def __init__(self, stack):
        self._stack, self.readers, self.broken = stack, [], False
        self.shape, self.dtype, self.ndim = stack.shape, stack.dtype, stack.ndim

    def __getitem__(self, key):
        part = self._stack[key]
        if part.ndim > 2 and len(part) > 1:
            self.readers.append(threading.current_thread())
            if self.broken:
                raise OSError("The server is gone.")
        return part


def test_a_lazy_image_is_read_in_the_background(viewer, open_dock, offers):
    stack = np.random.default_rng(0).integers(0, 99, (6, 48, 64)).astype(np.uint8)
    lazy = LazyStack(stack)
    viewer.add_image(lazy, name="stack", contrast_limits=(0, 99))
    train = open_dock("Train")
    assert not offers(train)
    assert not lazy.readers, "it is read although no strokes are saved"

    save_strokes(drawing(stack.shape), Image(stack, "ZYX", source="stack"))
    train.saved.look()
    assert offers(train)
    lazy.broken = True
    train.saved.look()
    assert not offers(train)
    assert lazy.readers
    assert threading.main_thread() not in lazy.readers
