"""A project saved in one viewer goes on in another."""

import shutil

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_segzoo.io import Image, LazyArray, open_image, save_image
from napari_segzoo.project import open_project, save_project
from napari_segzoo.widgets.layers import add_image_file, path_of
from napari_segzoo.widgets.shared_model import shared_model

PLACEMENT = {"scale": (2.0, 0.5, 0.5), "units": ("um", "um", "um")}


def drawing(shape):
    drawn = np.zeros(shape, np.uint16)
    drawn[..., 2:5, :], drawn[..., 18:22, 12:38] = 1, 2
    return drawn


@pytest.fixture
def save(finish):
    """Save a project and wait for it."""

    def go(train, path):
        train.project.save(path)
        finish(train.project)

    return go


def set_options(train):
    for combo, value in (
        (train.form.unit, "steps"),
        (train.form.unlabeled, "background"),
        (train.form.ndim, 2),
        (train.form.loss, "focal"),
        (train.form.tune, "norm"),
    ):
        combo.setCurrentIndex(combo.findData(value))
    train.form.amount.setValue(3)
    train.form.seed.setValue(11)
    train.form.device.setCurrentText("cpu")


def test_all_that_was_there_comes_back(
    viewer, open_dock, choose, make_model, finish, save, qtbot, tmp_path
):
    folder = tmp_path / "monday"
    folder.mkdir()
    stack = np.random.default_rng(0).integers(0, 99, (4, 48, 64)).astype(np.uint8)
    save_image(folder / "from file.tif", stack, "ZYX")
    viewer.open(folder / "from file.tif")
    from_file = viewer.layers[0]
    from_file.scale = PLACEMENT["scale"]
    viewer.add_image(stack[::-1].copy(), name="generated", **PLACEMENT)
    choose(make_model())
    train = open_dock("Train")
    train.pairs.add_pair()
    for row, layer in zip(train.pairs.rows, tuple(viewer.layers), strict=True):
        row.image.set_layer(layer)
        train.pairs.add_drawing(row, drawing(stack.shape))
    qtbot.waitUntil(lambda: set(train.classes.counts) == {1, 2}, timeout=30_000)
    set_options(train)
    train.classes.set_class_names(["ground", "axon", "myelin"])
    options = train.form.options()
    save(train, folder / "work")
    assert "Saved as work.json" in train.status.text()
    assert shared_model(viewer).choice.path == folder / "work.safetensors"

    moved = tmp_path / "tuesday"
    shutil.move(folder, moved)
    shared_model(viewer).choose(None)
    train.form.amount.setValue(60)
    train.project.open(moved / "work.json")
    assert "Opened work.json" in train.status.text()
    assert train.form.choice().path == moved / "work.safetensors"
    assert train.form.options() == options
    assert (options.loss, options.tune, options.steps) == ("focal", "norm", 3)
    names = ["background", "axon", "myelin"]
    qtbot.waitUntil(lambda: train.classes.class_names() == names, timeout=30_000)
    assert train.pairs.axes.currentText() == "ZYX"
    (first, drawn), (second, _) = train.pairs.pairs()
    assert first is not from_file
    assert np.array_equal(first.data, stack)
    assert np.array_equal(second.data, stack[::-1])
    assert np.array_equal(drawn.data, drawing(stack.shape))
    assert tuple(first.scale) == tuple(second.scale) == tuple(drawn.scale) == PLACEMENT["scale"]
    assert [str(u) for u in second.units] == ["micrometer"] * 3
    finish(train.saved)
    assert not train.saved.isVisibleTo(train), "opened strokes are offered once more"

    train.train()
    finish(train)
    assert "Done: 3 steps" in train.status.text()
    train.copy_command()
    assert "Copied." in train.status.text(), "the layers know their files"

    assert train.plot.losses and train.undo_button.isEnabled()
    train.project.open(moved / "work.json")
    assert not train.plot.losses and not train.undo_button.isEnabled(), "that was another project"


def test_validation_images_and_held_out_strokes_come_back(
    viewer, open_dock, choose, make_model, finish, save, tmp_path, blobs
):
    for name, data in (("a", blobs), ("b", blobs[::-1].copy())):
        viewer.add_image(data, name=name)
    choose(make_model())
    train = open_dock("Train")
    assert train.form.options().hold_out == 0.2
    train.pairs.add_pair()
    for row, name in zip(train.pairs.rows, "ab", strict=True):
        row.image.set_layer(viewer.layers[name])
        train.pairs.add_drawing(row, drawing(blobs.shape))
    train.pairs.rows[1].validation.setChecked(True)
    assert not train.form.hold_out.isEnabled()
    save(train, tmp_path / "work.json")
    project = open_project(tmp_path / "work.json")
    assert project.images == (str(tmp_path / "a.tif"),)
    assert project.validation_images == (str(tmp_path / "b.tif"),)
    assert project.options.hold_out == 0

    train.pairs.remove_pair()
    assert train.form.hold_out.isEnabled()
    train.project.open(tmp_path / "work.json")
    assert [row.validation.isChecked() for row in train.pairs.rows] == [False, True]
    train.form.unit.setCurrentIndex(train.form.unit.findData("steps"))
    train.form.amount.setValue(2)
    train.train()
    finish(train)
    assert "Done: 2 steps" in train.status.text()
    assert "Dice on the validation images" in train.progress.score.text()
    assert train._shared.choice.info.provenance["images"] == 1
    assert train._shared.choice.info.provenance["validation_dice"] is not None
    train.copy_command()
    assert "--val-image" in QApplication.clipboard().text()

    path = tmp_path / "held.json"
    save_project(
        path, project.changed({"hold_out": 0.25, "steps": 2, "loss": "dice"}), overwrite=True
    )
    train.project.open(path)
    assert train.form.hold_out.isEnabled()
    assert train.form.options().hold_out == 0.25
    assert train.form.hold_out.toolTip().startswith("25% of the strokes")
    assert train.form.options().loss == "dice"
    train.form.hold_out.setChecked(False)
    assert train.form.options().hold_out == 0
    train.form.hold_out.setChecked(True)
    objects = project.changed({"hold_out": 0.0, "task": "instances", "validation_images": ()})
    save_project(path, objects, overwrite=True)
    train.project.open(path)
    train.form.task.setCurrentIndex(train.form.task.findData("semantic"))
    assert train.form.hold_out.isChecked(), "of objects none are held out, which says nothing"


def test_saving_again_keeps_files_and_takes_new_strokes(
    viewer, open_dock, choose, make_model, save, tmp_path, blobs
):
    viewer.add_image(blobs, name="blobs")
    choose(make_model())
    train = open_dock("Train")
    drawn = train.pairs.add_drawing(train.pairs.rows[0], drawing(blobs.shape))
    save(train, tmp_path / "work.json")
    before = sorted(p.name for p in tmp_path.iterdir())
    drawn.data[40:43] = 1
    save(train, tmp_path / "work.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    project = open_project(tmp_path / "work.json")
    ((_, labels),) = project.read()
    assert np.array_equal(labels[...], drawn.data)


def test_a_network_that_is_not_trained_and_a_bundled_model(
    viewer, open_dock, save, tmp_path, blobs
):
    viewer.add_image(blobs, name="blobs")
    train = open_dock("Train")
    train.pairs.add_drawing(train.pairs.rows[0], drawing(blobs.shape))
    train.form.start.choose("segnet")
    train.form.network.setText("width=8")
    save(train, tmp_path / "new.json")
    open_dock("Model").choose("nuclei (trained)")
    train.form.start.setCurrentIndex(0)
    save(train, tmp_path / "base.json")
    assert open_project(tmp_path / "base.json").model == "nuclei"

    train.project.open(tmp_path / "new.json")
    assert train.form.choice() is None
    assert train.form.options().architecture == "segnet"
    assert train.form.options().architecture_options == {"width": 8}
    train.project.open(tmp_path / "base.json")
    assert train.form.choice().info.name == "nuclei"
    images = [layer for layer in viewer.layers if layer._type_string == "image"]
    assert [image.name for image in images] == ["blobs"], "an image that is there is taken"


def test_what_is_missing_is_told(viewer, open_dock, save, tmp_path, blobs):
    train = open_dock("Train")
    train.project.save(tmp_path / "work.json")
    assert "no image layer" in train.status.text()
    viewer.add_image(blobs, name="blobs")
    train.pairs.add_labels()
    save(train, tmp_path / "work.json")
    assert "Nothing is drawn on blobs" in train.status.text()
    assert not list(tmp_path.iterdir()), "something was saved"
    train.project.open(tmp_path / "work.json")
    assert "work.json could not be read" in train.status.text()
    assert len(viewer.layers) == 2


def test_a_broken_project_changes_nothing(viewer, open_dock, save, tmp_path, blobs):
    viewer.add_image(blobs, name="blobs")
    train = open_dock("Train")
    train.pairs.add_drawing(train.pairs.rows[0], drawing(blobs.shape))
    save(train, tmp_path / "work.json")
    (tmp_path / "blobs.tif").unlink()
    layers = list(viewer.layers)
    train.project.open(tmp_path / "work.json")
    assert "There is no file or folder" in train.status.text()
    assert list(viewer.layers) == layers


def test_colours_and_large_images(viewer, tmp_path, blobs, monkeypatch):
    colors = np.repeat(blobs[..., None], 3, axis=-1)
    save_image(tmp_path / "colors.tif", colors, "YXC")
    layer = add_image_file(viewer, open_image(tmp_path / "colors.tif", axes="YXC"))
    assert layer.rgb
    assert path_of(layer) == str(tmp_path / "colors.tif")
    monkeypatch.setattr("napari_segzoo.reader.LARGEST_IN_MEMORY", 100)
    stack = np.stack([blobs, blobs // 2])
    save_image(tmp_path / "stack.tif", stack, "ZYX")
    layer = add_image_file(viewer, open_image(tmp_path / "stack.tif"))
    assert isinstance(layer.data, LazyArray)
    viewer.dims.set_current_step(0, 1)
    assert layer.get_value((1, 20, 20), world=False) == stack[1, 20, 20]
    assert isinstance(open_image(tmp_path / "stack.tif"), Image)
