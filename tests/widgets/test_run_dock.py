"""The Run dock: results in the right place, in every form, and never a lost one."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea

import napari_segzoo as segzoo
from napari_segzoo.errors import RunError
from napari_segzoo.inference import Prediction
from napari_segzoo.widgets.dock import DOCK_WIDTH
from napari_segzoo.widgets.shared_model import Choice, shared_model


@pytest.fixture
def run(open_dock):
    return open_dock("Run", menu="Layers")


def show_options(run, **values):
    for name, value in values.items():
        field = getattr(run.form, name)
        if name in ("tile",):
            field.setText(value)
        elif name in ("overlap",):
            field.setValue(value)
        else:
            field.setCurrentText(value)


def test_result_equals_the_core_and_lies_on_the_image(
    viewer, run, choose, make_model, finish, blobs
):
    affine = np.array([[1, 0.1, 5], [-0.1, 1, 2], [0, 0, 1]])
    image = viewer.add_image(
        blobs,
        name="blobs",
        scale=(0.3, 0.6),
        translate=(4, -2),
        rotate=20,
        shear=[0.2],
        affine=affine,
        units=("nm", "nm"),
        axis_labels=("y", "x"),
    )
    model = make_model()
    choose(model)
    run.run()
    finish(run)
    result = viewer.layers["blobs labels"]
    assert np.array_equal(result.data, segzoo.predict(model, blobs))
    for corner in ((0, 0), (63, 0), (10, 95)):
        assert np.allclose(result.data_to_world(corner), image.data_to_world(corner))
    for name in ("scale", "translate", "rotate", "shear", "units", "axis_labels"):
        assert np.array_equal(getattr(result, name), getattr(image, name)), name
    assert np.array_equal(result.affine.affine_matrix, affine)
    made = result.metadata["napari_segzoo"]
    assert made["model"] == "tiny"
    assert made["options"]["output"] == "labels"
    assert not made["partial"]
    assert list(result.features["class"]) == ["background", "cell"]


def test_colour_image(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image(np.stack([blobs] * 3, axis=-1), name="colour", rgb=True, scale=(2, 3))
    choose(make_model(in_channels=3))
    assert run.form.axes.currentText() == "YXC"
    run.run()
    finish(run)
    result = viewer.layers["colour labels"]
    assert result.data.shape == blobs.shape
    assert tuple(result.scale) == (2, 3)


def test_channel_axis_is_left_out_of_the_result(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image(np.stack([blobs] * 2), name="two", scale=(1, 2, 3), translate=(0, 5, 6))
    choose(make_model(in_channels=2))
    run.form.axes.setCurrentText("CYX")
    run.run()
    finish(run)
    result = viewer.layers["two labels"]
    assert result.data.shape == blobs.shape
    assert (tuple(result.scale), tuple(result.translate)) == ((2, 3), (5, 6))


def test_multiscale_image(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image([blobs, blobs[::2, ::2]], name="pyramid", multiscale=True)
    model = make_model()
    choose(model)
    run.run()
    finish(run)
    assert np.array_equal(viewer.layers["pyramid labels"].data, segzoo.predict(model, blobs))


def test_probabilities_are_one_layer_per_class(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image(blobs, name="blobs", scale=(2, 2))
    choose(make_model())
    run.form.output.setCurrentText("Probabilities")
    run.run()
    finish(run)
    background = viewer.layers["blobs probabilities background"]
    cell = viewer.layers["blobs probabilities cell"]
    assert np.allclose(background.data + cell.data, 1, atol=1e-5)
    assert tuple(cell.scale) == (2, 2)
    assert cell.visible
    assert not background.visible


def test_crf_draws_borders_to_the_edges(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image(blobs, name="blobs")
    model = make_model()
    choose(model)
    run.form.output.setCurrentText("Probabilities")
    run.form.crf.setChecked(True)
    run.copy_command()
    assert QApplication.clipboard().text().endswith("--output probabilities --crf")
    run.run()
    finish(run)
    assert "refined by a CRF" in run.plan.text()
    result = viewer.layers["blobs probabilities cell"]
    _, refined = segzoo.predict(model, blobs, output="probabilities", crf=True)
    _, plain = segzoo.predict(model, blobs, output="probabilities")
    assert np.array_equal(result.data, refined)
    assert not np.array_equal(result.data, plain)
    assert result.metadata["napari_segzoo"]["options"]["crf"]


def test_objects_are_the_default_of_a_model_of_objects(
    viewer, run, choose, make_model, finish, blobs
):
    viewer.add_image(blobs, name="blobs")
    choose(make_model(task="instances"))
    assert run.form.output.currentData() == "instances"
    run.form.output.setCurrentText("Probabilities")
    choose(make_model(task="instances"))
    assert run.form.output.currentData() == "probabilities", "the user's choice is lost"
    choose(make_model())
    assert run.form.output.currentData() == "labels"
    choose(make_model(task="instances"))
    run.run()
    finish(run)
    found = viewer.layers["blobs instances"].data
    assert found.dtype == np.uint32
    assert f"{len(np.unique(found[found > 0]))} object(s) found." in run.status.text()


def test_check_says_what_would_be_done(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image(blobs, name="blobs")
    choose(make_model())
    show_options(run, tile="32, 48", device="cpu")
    run.check()
    finish(run)
    assert "tile(s) of 32×48 YX" in run.plan.text()
    assert "cpu, torch, float32" in run.plan.text()
    assert len(viewer.layers) == 1


def test_all_fields_fit_into_the_dock(viewer, run, qtbot):
    body = run.findChild(QScrollArea)
    toggle = next(b for b in run.findChildren(QPushButton) if b.text().endswith("Options"))
    qtbot.mouseClick(toggle, Qt.MouseButton.LeftButton)
    assert run.form.crf.isVisibleTo(run)
    assert body.widget().minimumSizeHint().width() <= DOCK_WIDTH - 16  # of a scroll bar


def start_slow_run(viewer, run, choose, make_model, qtbot, name="big"):
    """Start a run of some thousand tiles and wait for the first ones."""
    viewer.add_image(np.random.default_rng(0).random((1024, 1024), np.float32), name=name)
    choose(make_model())
    show_options(run, tile="16")
    run.run()
    qtbot.waitUntil(lambda: run.progress.value() > 2, timeout=60_000)


def test_cancel_keeps_a_partial_layer(viewer, run, choose, make_model, finish, qtbot):
    start_slow_run(viewer, run, choose, make_model, qtbot)
    run.cancel()
    done = run.progress.value()
    finish(run)
    assert "Cancelled" in run.status.text()
    layer = viewer.layers["big labels (partial)"]
    assert layer.metadata["napari_segzoo"]["partial"]
    assert done < run.progress.maximum()


def test_removing_the_result_stops_the_run(viewer, run, choose, make_model, finish, qtbot):
    start_slow_run(viewer, run, choose, make_model, qtbot)
    viewer.layers.remove("big labels")
    finish(run)
    assert "Cancelled" in run.status.text()
    assert len(viewer.layers) == 1


def test_hiding_the_dock_does_not_stop_the_run(
    viewer, run, open_dock, choose, make_model, finish, qtbot
):
    start_slow_run(viewer, run, choose, make_model, qtbot)
    open_dock("Run")
    qtbot.waitUntil(lambda: not run.isVisible(), timeout=30_000)
    before = run.progress.value()
    qtbot.waitUntil(lambda: run.progress.value() > before, timeout=60_000)
    run.cancel()
    finish(run)


@pytest.mark.parametrize("value", [7, np.nan])
def test_images_without_content_are_background(viewer, run, choose, make_model, finish, value):
    viewer.add_image(np.full((40, 40), value, np.float32), contrast_limits=(0, 1))
    choose(make_model())
    run.run()
    finish(run)
    assert "so all of it is background" in run.status.text()
    assert not np.asarray(viewer.layers[1].data).any()


def test_some_nan_is_noted(viewer, run, choose, make_model, finish, blobs):
    data = blobs.astype(np.float32)
    data[5, 5] = np.nan
    viewer.add_image(data, name="holes", contrast_limits=(0, 255))
    choose(make_model())
    run.run()
    finish(run)
    assert "Done" in run.status.text()
    assert "NaN" in run.status.text()


def test_missing_gpu(viewer, run, choose, make_model, finish, blobs, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    viewer.add_image(blobs)
    choose(make_model())
    show_options(run, device="cuda")
    run.run()
    finish(run)
    assert "No CUDA GPU was found" in run.status.text()


def test_stack_for_a_plane_without_slices(viewer, run, choose, make_model, finish, blobs):
    viewer.add_image(blobs)
    choose(make_model(ndim=3))
    run.run()
    finish(run)
    assert "The model is 3D and needs the axes ZYX" in run.status.text()


def test_without_image_or_model(viewer, run, finish, blobs):
    run.run()
    assert "no image layer" in run.status.text()
    viewer.add_image(blobs)
    run.run()
    finish(run)
    assert "No model is chosen" in run.status.text()
    shared_model(viewer).choose(Choice("U-Net", "unet"))
    assert "not trained yet" in run.model.text()
    run.run()
    finish(run)
    assert "has not been trained yet" in run.status.text()


def test_wrong_tile(viewer, run, choose, make_model, blobs):
    viewer.add_image(blobs)
    choose(make_model())
    show_options(run, tile="huge")
    run.run()
    assert "tile must be auto" in run.status.text()


def test_running_out_of_memory_is_told(viewer, run, choose, make_model, finish, blobs, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr("napari_segzoo.widgets.run_work.prepare", fail)
    viewer.add_image(blobs)
    choose(make_model())
    run.run()
    finish(run)
    assert "not enough memory" in run.status.text()


def test_command_and_script_name_what_has_to_be_saved(viewer, run, choose, make_model, blobs):
    viewer.add_image(blobs, name="my blobs")
    choose(make_model())
    show_options(run, tile="32", device="cpu")
    run.copy_command()
    assert QApplication.clipboard().text() == (
        "napari-segzoo predict model.safetensors 'my blobs.tif' 'my blobs labels.tif' "
        "--axes YX --tile 32 --device cpu"
    )
    assert "save the model as model.safetensors" in run.status.text()
    assert "the layer my blobs as my blobs.tif" in run.status.text()
    run.copy_script()
    assert "out='my blobs labels.tif'" in QApplication.clipboard().text()


def test_a_new_result_takes_the_place_of_the_last_and_leaves_the_brush_where_it_was(
    viewer, run, choose, make_model, finish, blobs
):
    viewer.add_image(blobs, name="blobs")
    drawn = viewer.add_labels(np.zeros(blobs.shape, int), name="drawn")
    choose(make_model())
    for _ in range(2):
        run.run()
        finish(run)
    shown = {layer.name: layer.visible for layer in viewer.layers if "labels" in layer.name}
    assert list(shown.values()) == [False, True]
    assert viewer.layers.selection.active is drawn


def test_a_run_that_fails_gives_back_the_result_before_it(
    viewer, run, choose, make_model, finish, blobs, monkeypatch
):
    viewer.add_image(blobs, name="blobs")
    choose(make_model())
    run.run()
    finish(run)

    def fail(self):
        raise RunError("The disk is full.")
        yield

    monkeypatch.setattr(Prediction, "run", fail)
    above = viewer.add_image(blobs, name="above")
    run.run()
    finish(run)
    assert "The disk is full." in run.status.text()
    assert above.visible
    assert [x.visible for x in viewer.layers if "labels" in x.name] == [True]
