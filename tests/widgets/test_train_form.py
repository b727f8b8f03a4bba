"""What the Train dock offers fits what it is to train, and reaches the training."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_segzoo.errors import RunError
from napari_segzoo.io import Image, open_image
from napari_segzoo.model import default_classes
from napari_segzoo.training.job import TUNES
from napari_segzoo.widgets.results import class_colors
from napari_segzoo.widgets.train_run import Drawing, LaterStrokes, StrokesSaved


def dashes(shape, count):
    """Separate strokes: `count` of the background, and as many of the class."""
    drawn = np.zeros(shape, np.uint16)
    for n in range(count):
        drawn[3, 9 * n : 9 * n + 6] = 1
        drawn[20, 10 + 5 * n : 13 + 5 * n] = 2
    return drawn


@pytest.fixture
def train(viewer, open_dock, choose, make_model, blobs):
    """The Train dock with a trained model and strokes, some steps ahead."""
    viewer.add_image(blobs, name="blobs")
    viewer.add_labels(dashes(blobs.shape, 6), name="drawn")
    choose(make_model())
    dock = open_dock("Train")
    dock.form.unit.setCurrentIndex(dock.form.unit.findData("steps"))
    dock.form.amount.setValue(2)
    return dock


def test_only_what_has_an_effect_can_be_chosen(train, qtbot):
    form = train.form
    assert form.tune.isEnabled()
    assert not form.network.isEnabled()
    form.tune.setCurrentIndex(form.tune.findData("decoder"))
    assert form.options().tune == "decoder"
    form.start.choose("unet")
    assert not form.tune.isEnabled()
    assert form.options().tune == "all"
    assert form.network.isEnabled()
    form.network.setText("widths=[4, 8]  norm=group")
    assert form.options().architecture_options == {"widths": (4, 8), "norm": "group"}
    form.start.choose("segnet")
    assert form.options().architecture_options == {}, "they were those of another network"
    form.task.setCurrentIndex(form.task.findData("instances"))
    assert not form.hold_out.isEnabled()
    assert form.options().hold_out == 0
    train.classes.watch([], form.labelling())
    qtbot.waitUntil(lambda: train.classes.table.rowCount() == 1, timeout=30_000)
    cell = train.classes.table.item(0, 1)
    assert cell.text() == "0 objects"
    assert not cell.flags() & Qt.ItemFlag.ItemIsEditable


def test_what_is_typed_is_taken_or_taken_back(train, qtbot):
    start = train.form.start
    start.choose("unet")

    def type_into_it(text):
        start.window().activateWindow()
        train.form.amount.setFocus()
        start.setFocus()
        qtbot.waitUntil(start.lineEdit().hasSelectedText, timeout=30_000)
        QTest.keyClicks(start.lineEdit(), text)

    type_into_it("transformer")
    train.form.amount.setFocus()
    assert start.currentText() == "new U-Net"
    for typed in ("milletari", "transformer"):
        type_into_it(typed)
        QTest.keyClick(start.lineEdit(), Qt.Key.Key_Return)
        assert start.currentText() == "new V-Net"
        assert train.form.options().architecture == "vnet"


def test_options_of_a_network_that_cannot_be_read(train):
    train.form.start.choose("unet")
    train.form.network.setText("widths")
    train.train()
    assert "takes key=value" in train.status.text()
    assert not train.running


@pytest.mark.parametrize(
    "tune", [pytest.param(t, marks=[pytest.mark.slow] * (t != "norm")) for t in TUNES]
)
def test_what_may_change_of_the_model_is_kept(train, finish, tune):
    before = {
        name: value.clone()
        for name, value in train._shared.choice.model.network.state_dict().items()
    }
    train.form.tune.setCurrentIndex(train.form.tune.findData(tune))
    train.train()
    finish(train)
    assert "Done: 2 steps" in train.status.text()
    model = train._shared.choice.model
    assert model.info.provenance["tune"] == tune
    after = model.network.state_dict()
    first = next(name for name in before if before[name].ndim == 4)
    assert np.array_equal(before[first], after[first]) == (tune in ("decoder", "norm"))
    train.copy_command()
    assert (f"--tune {tune}" in QApplication.clipboard().text()) == (tune != "all")


def test_the_score_on_held_out_strokes_is_shown(viewer, train, finish):
    assert not train.progress.score.isVisibleTo(train)
    train.train()
    finish(train)
    assert train.progress.score.isVisibleTo(train)
    held_out = train._shared.choice.info.provenance["held_out_dice"]
    expected = f"Dice on the held-out strokes: {held_out:.2f}, at step 2"
    assert train.progress.score.text() == expected
    viewer.layers["drawn"].data = dashes(viewer.layers["drawn"].data.shape, 3)
    train.train()
    finish(train)
    assert not train.progress.score.isVisibleTo(train)
    assert "needs 5 separate strokes of each class, but label 1 has 3" in train.status.text()
    train.form.hold_out.setChecked(False)
    train.train()
    finish(train)
    assert "separate strokes" not in train.status.text()


def test_all_images_for_validation(train, finish):
    train.pairs.add_pair()
    for row in train.pairs.rows:
        row.validation.setChecked(True)
    train.train()
    assert "train on at least one" in train.status.text()
    train.pairs.remove_pair()
    train.train()
    finish(train)
    assert "Done: 2 steps" in train.status.text(), "a single image is trained on"


@pytest.fixture
def later(blobs):
    """Two images, and what was drawn on them later."""
    images = [Image(blobs, "YX", source=name) for name in "ab"]
    more = iter([[dashes(blobs.shape, 3), dashes(blobs.shape, 4)]] * 3)
    return LaterStrokes(
        [Drawing(i, None, dashes(blobs.shape, 2)) for i in images], lambda: next(more, None)
    )


def test_later_strokes_are_saved_once_and_not_all_the_time(later, strokes_folder):
    assert not later.due
    assert not list(later.save())
    labels = later.take()
    assert later.due
    saved = list(later.save())
    assert [type(s) for s in saved] == [StrokesSaved] * 2
    assert len(list(strokes_folder.iterdir())) == 2
    assert not later.due
    assert np.array_equal(later.take()[0], labels[0])
    assert not later.due, "saving takes a small part of the time only"
    assert len(list(later.save())) == 2
    assert later.take() is not None
    assert later.take() is None


def test_later_strokes_are_saved_if_the_training_fails(
    viewer, train, stroke, finish, monkeypatch, strokes_folder
):
    def failing(images, labels, *, more, **options):
        yield from ()
        more()
        raise RunError("The GPU went away.")

    drawn = viewer.layers["drawn"]
    monkeypatch.setattr("napari_segzoo.widgets.train_run.finetune", failing)
    monkeypatch.setattr(train._more, "take", lambda: [dashes(drawn.data.shape, 7)])
    train.train()
    finish(train)
    train.classes.counted.emit()
    train.status.note("a note that comes late")
    assert "The GPU went away" in train.status.text(), "a count or note took the error away"
    (saved,) = strokes_folder.iterdir()
    found = open_image(saved, labels=True).data[...]
    assert np.array_equal(found, dashes(found.shape, 7))


def test_a_bundled_model_is_suggested_until_another_is_chosen(
    viewer, open_dock, choose, make_model, blobs
):
    plane = viewer.add_image(blobs, name="plane")
    stack = viewer.add_image(np.stack([blobs] * 4), name="stack")
    train = open_dock("Train")
    form, image = train.form, train.pairs.rows[0].image
    image.set_layer(plane)
    assert form.choice().info.name == form.start.currentText() == "generalist-2d"
    assert form.tune.isEnabled() and not form.ndim.isEnabled()
    image.set_layer(stack)
    train.pairs.axes.setCurrentIndex(train.pairs.axes.findText("ZYX"))
    assert form.choice().info.name == "generalist-3d"
    image.set_layer(plane)
    form.task.setCurrentIndex(form.task.findData("instances"))
    assert form.choice().info.name == "nuclei"
    form.start.choose("vnet")
    form.task.setCurrentIndex(form.task.findData("semantic"))
    assert form.choice() is None
    assert form.options().architecture == "vnet" and form.ndim.isEnabled()
    choose(make_model())
    assert form.choice() is train._shared.choice
    form.task.setCurrentIndex(form.task.findData("instances"))
    assert form.choice().info.name == "nuclei", "a model of classes knows no objects"
    form.task.setCurrentIndex(form.task.findData("semantic"))
    assert form.choice() is train._shared.choice
    train._shared.choose(None)
    assert form.choice().info.name == "generalist-2d"


def test_strokes_have_the_colours_of_the_classes_they_become(viewer, open_dock, blobs):
    viewer.add_image(blobs, name="blobs")
    drawn = open_dock("Train").pairs.add_labels()
    classes = class_colors(default_classes(4))
    for label in (2, 3, 4):
        np.testing.assert_allclose(drawn.get_color(label), classes.map(label - 1), atol=0.01)
    assert drawn.get_color(1)[3] == 1, "the background's strokes are seen"
    colors = {tuple(drawn.get_color(label)) for label in range(1, 9)}
    assert len(colors) == 8


def test_names_of_classes_outlive_the_dock(viewer, train, open_dock, qtbot):
    qtbot.waitUntil(lambda: len(train.classes.counts) == 2, timeout=30_000)
    train.classes.table.item(1, 1).setText("cell")
    viewer.window.remove_dock_widget(viewer.window._wrapped_dock_widgets["Train (napari-segzoo)"])
    again = open_dock("Train")
    assert again is not train
    qtbot.waitUntil(lambda: len(again.classes.counts) == 2, timeout=30_000)
    assert again.classes.class_names() == ["background", "cell"]


def test_objects_stay_objects_when_the_dock_is_opened_again(viewer, train, open_dock):
    train.form.task.setCurrentIndex(train.form.task.findData("instances"))
    viewer.window.remove_dock_widget(viewer.window._wrapped_dock_widgets["Train (napari-segzoo)"])
    assert open_dock("Train").form.labelling().task == "instances"
