"""The Run dock with a 2D model in three planes of a volume."""

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication
from tiny import tiny_model

import napari_segzoo as segzoo
from napari_segzoo.preprocess import Normalization


@pytest.fixture
def run(open_dock):
    return open_dock("Run", menu="Layers")


@pytest.fixture
def volume(blobs):
    return np.stack([np.roll(blobs, 3 * n, axis=1) for n in range(10)])


def average_planes(run):
    run.form.planes.setCurrentText("Mean of slices along Z, Y and X")


@pytest.mark.parametrize(
    ("task", "output"),
    [("semantic", "labels"), pytest.param("instances", "instances", marks=pytest.mark.slow)],
)
def test_result_equals_the_core(viewer, run, choose, finish, volume, task, output):
    viewer.add_image(volume, name="volume", scale=(2, 1, 1))
    model = tiny_model(task=task, normalization=Normalization())
    choose(model)
    run.form.axes.setCurrentText("ZYX")
    average_planes(run)
    run.copy_command()
    assert QApplication.clipboard().text().endswith("--planes zyx")
    run.run()
    finish(run)
    assert run.status.text().startswith("Done")
    assert "Planes" not in run.status.text()
    assert "mean of slices along Z, Y and X" in run.plan.text()
    result = viewer.layers[f"volume {output}"]
    image = segzoo.Image(volume, "ZYX", (2, 1, 1))
    expected = segzoo.predict(model, image, output=output, planes="zyx")
    np.testing.assert_array_equal(result.data, expected)
    assert not np.array_equal(expected, segzoo.predict(model, image, output=output))
    assert tuple(result.scale) == (2, 1, 1)
    assert result.metadata["napari_segzoo"]["options"]["planes"] == "zyx"


def test_offered_for_2d_models_in_volumes_only(viewer, run, choose, make_model, blobs, volume):
    planes = run.form.planes
    viewer.add_image(volume, name="volume")
    choose(make_model())
    run.form.axes.setCurrentText("ZYX")
    average_planes(run)
    assert run.form.options().planes == "zyx"
    run.form.axes.setCurrentText("TYX")
    assert not planes.isEnabled()
    assert "no axis Z" in planes.toolTip()
    assert run.form.options().planes == "z"
    run.form.axes.setCurrentText("ZYX")
    assert run.form.options().planes == "zyx"
    choose(make_model(ndim=3))
    assert not planes.isEnabled()
    assert "2D models only" in planes.toolTip()
    assert run.form.options().planes == "z"
    choose(make_model())
    run.form.image.set_layer(viewer.add_image(blobs, name="plane"))
    assert not planes.isEnabled()
    assert run.form.options().planes == "z"


def test_the_crf_has_to_wait(viewer, run, choose, make_model, volume):
    viewer.add_image(volume, name="volume")
    choose(make_model())
    run.form.axes.setCurrentText("ZYX")
    run.form.crf.setChecked(True)
    average_planes(run)
    assert not run.form.crf.isEnabled()
    assert "CRF refines slices along Z only" in run.form.crf.toolTip()
    assert not run.form.options().crf
    run.form.planes.setCurrentIndex(0)
    assert run.form.crf.isEnabled()
    assert run.form.options().crf


def test_cancelled_before_the_mean_leaves_no_layer(viewer, run, choose, make_model, finish, qtbot):
    viewer.add_image(np.random.default_rng(0).random((64, 128, 128), np.float32), name="volume")
    choose(make_model())
    run.form.axes.setCurrentText("ZYX")
    run.form.tile.setText("16")
    average_planes(run)
    run.run()
    qtbot.waitUntil(lambda: run.progress.value() > 2, timeout=60_000)
    assert "Planes YX, 1 of 3" in run.status.text()
    run.cancel()
    finish(run)
    assert run.status.text().startswith("Cancelled")
    assert "kept" not in run.status.text()
    assert [layer.name for layer in viewer.layers] == ["volume"]
