"""The Run dock on a part of an image: the same result, in the right place."""

import dask.array as da
import numpy as np
import pytest

import napari_segzoo as segzoo


@pytest.fixture
def run(open_dock):
    return open_dock("Run", menu="Layers")


def choose_part(run, text):
    run.form.region.part.setCurrentText(text)


def lies_at(result, image, first):
    return all(
        np.allclose(result.data_to_world(c), image.data_to_world(np.add(c, first)))
        for c in (np.zeros(result.ndim), np.eye(result.ndim)[0], np.ones(result.ndim))
    )


def test_around_shapes(viewer, run, choose, make_model, finish, blobs):
    image = viewer.add_image(blobs, name="blobs", scale=(2, 0.5), translate=(7, 3), rotate=30)
    box = np.array([[10.2, 20], [10.2, 60], [50, 60], [50, 20]])
    viewer.add_shapes([[image.data_to_world(p) for p in box]], name="box")
    choose(make_model())
    choose_part(run, "Around shapes")
    assert run.form.region.shapes.isVisibleTo(run)
    run.run()
    finish(run)
    result = viewer.layers["blobs labels"]
    np.testing.assert_array_equal(result.data, segzoo.predict(make_model(), blobs)[10:50, 20:60])
    assert lies_at(result, image, (10, 20))
    assert result.metadata["napari_segzoo"]["options"]["region"] == "y=10:50,x=20:60"


def test_shapes_on_one_slice_stand_for_all_slices(viewer, run, choose, make_model, finish, blobs):
    stack = np.stack([blobs, blobs[::-1], blobs])
    viewer.add_image(stack, name="stack", axis_labels=("z", "y", "x"))
    viewer.add_shapes([[[1, 5, 5], [1, 5, 50], [1, 40, 50], [1, 40, 5]]], name="box")
    choose(make_model())
    choose_part(run, "Around shapes")
    run.check()
    finish(run)
    assert run.status.text() == "Ready to run on all z, y 5 to 39, x 5 to 49."
    run.run()
    finish(run)
    whole = segzoo.predict(make_model(), stack, axes="ZYX")
    np.testing.assert_array_equal(viewer.layers["stack labels"].data, whole[:, 5:40, 5:50])


@pytest.mark.parametrize("multiscale", [False, True])
def test_what_is_visible_of_a_lazily_loaded_stack(
    viewer, run, choose, make_model, finish, qtbot, multiscale
):
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 255, (4, 300, 400)).astype(np.uint8)
    levels = [da.from_array(stack, chunks=(1, 100, 100))]
    levels += [levels[0][:, ::2, ::2]] * multiscale
    image = viewer.add_image(
        levels if multiscale else levels[0],
        name="lazy",
        multiscale=multiscale,
        axis_labels=("z", "y", "x"),
        scale=(3, 1, 1),
    )
    choose(make_model())
    viewer.dims.set_point(0, 6)
    viewer.scene.camera.zoom = 8
    viewer.scene.camera.center = (150, 200)
    qtbot.wait(300)
    choose_part(run, "What is visible")
    run.run()
    finish(run)
    ranges = run.form.cut()
    assert ranges["Z"] == (2, 3)
    (y0, y1), (x0, x1) = ranges["Y"], ranges["X"]
    assert 0 <= y0 < 150 < y1 <= 300
    assert 0 <= x0 < 200 < x1 <= 400
    assert y1 - y0 < 150
    assert x1 - x0 < 200
    result = viewer.layers["lazy labels"]
    whole = segzoo.predict(make_model(), stack, axes="ZYX")
    np.testing.assert_array_equal(result.data, whole[2:3, y0:y1, x0:x1])
    assert lies_at(result, image, (2, y0, x0))


def test_a_part_that_is_not_there_is_told(viewer, run, choose, make_model, blobs):
    viewer.add_image(blobs, name="blobs")
    choose(make_model())
    choose_part(run, "Around shapes")
    run.run()
    assert "draw a rectangle in a Shapes layer" in run.status.text()
    viewer.add_shapes([[[-50, -50], [-50, -20], [-20, -20], [-20, -50]]], name="far away")
    run.run()
    assert "Nothing of blobs is inside far away" in run.status.text()
    assert len(viewer.layers) == 2
