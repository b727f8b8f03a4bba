"""Layers become arrays with axes, and results find their place."""

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels

import napari_segzoo as segzoo
from napari_segzoo.io import open_image
from napari_segzoo.model import SegmentClass
from napari_segzoo.widgets.layers import (
    add_image_file,
    core_image,
    file_of,
    label_shape,
    possible_axes,
    result_transform,
    same_place,
)
from napari_segzoo.widgets.preview import LARGEST, visible_region
from napari_segzoo.widgets.results import class_colors


@pytest.mark.parametrize(
    ("shape", "options", "first"),
    [
        ((8, 9), {}, "YX"),
        ((7, 8, 9), {}, "ZYX"),
        ((7, 8, 9), {"axis_labels": ("t", "y", "x")}, "TYX"),
        ((7, 8, 9), {"axis_labels": ("C", "Y", "X")}, "CYX"),
        ((7, 8, 9), {"axis_labels": ("depth", "row", "column")}, "ZYX"),
        ((8, 9, 3), {"rgb": True}, "YXC"),
        ((7, 8, 9, 3), {"rgb": True, "axis_labels": ("t", "y", "x")}, "TYXC"),
        ((6, 7, 8, 9), {}, "TZYX"),
    ],
)
def test_likeliest_axes(shape, options, first):
    layer = Image(np.zeros(shape, np.uint8), **options)
    assert possible_axes(layer)[0] == first


def test_a_stack_can_be_read_in_every_usual_way():
    assert possible_axes(Image(np.zeros((3, 8, 9)))) == ["ZYX", "TYX", "CYX", "YXC"]


def test_the_core_learns_size_and_unit():
    layer = Image(np.zeros((4, 8, 9)), scale=(-2, 0.5, 0.5), units=("um",) * 3)
    image = core_image(layer, "ZYX")
    assert (image.axes, image.voxel_size, image.unit) == ("ZYX", (2, 0.5, 0.5), "micrometer")
    colour = core_image(Image(np.zeros((8, 9, 3), np.uint8), rgb=True, scale=(3, 4)), "YXC")
    assert (colour.voxel_size, colour.unit) == ((3, 4), "pixel")


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX", "ZYXC", "TZYX"])
def test_a_result_lies_where_its_source_lies(axes):
    rng = np.random.default_rng(0)
    image = Image(
        np.zeros((3, 4, 5, 6)),
        scale=(1, 2, 3, 4),
        translate=(0, 10, 20, 30),
        affine=np.block([[np.diag([1, 1, 2, 1]), rng.random((4, 1))], [np.zeros((1, 4)), 1]]),
    )
    labels = Labels(np.zeros(label_shape(image, axes), int), **result_transform(image, axes))
    kept = [n for n, a in enumerate(axes) if a != "C"]
    for voxel in ((0, 0, 0, 0), (2, 1, 3, 5)):
        expected = np.array(image.data_to_world(voxel))[kept]
        assert np.allclose(labels.data_to_world(np.array(voxel)[kept]), expected)
    assert labels.axis_labels == tuple(image.axis_labels[n] for n in kept)


def test_same_place():
    first = Image(np.zeros((8, 9)), scale=(2, 2))
    assert same_place(first, Labels(np.zeros((8, 9), int), scale=(2, 2)))
    assert not same_place(first, Labels(np.zeros((8, 9), int), scale=(2, 3)))
    assert not same_place(first, Labels(np.zeros((8, 9), int), scale=(2, 2), translate=(0, 1)))


def test_a_layer_has_a_file_only_if_it_is_the_whole_of_it(make_napari_viewer, tmp_path):
    path = tmp_path / "stack.tif"
    segzoo.save_image(path, np.zeros((5, 8, 9), np.uint8), "ZYX")
    (layer,) = make_napari_viewer().open(path, plugin="napari")
    assert file_of(layer, "ZYX") == str(path)
    layer.data = layer.data[:2]
    assert file_of(layer, "ZYX") is None
    assert file_of(Image(np.zeros((8, 9))), "YX") is None


def test_the_visible_region_follows_slider_and_size():
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((40, 600, 700), np.uint8), scale=(3, 1, 1))
    viewer.dims.set_current_step(0, 30)
    plane = visible_region(viewer, layer, "ZYX", 2)
    assert plane.leading == (30,)
    stack = visible_region(viewer, layer, "ZYX", 3)
    assert stack.leading == ()
    depth = stack.window[0]
    assert (depth.stop - depth.start, depth.start <= 30 < depth.stop) == (LARGEST[3][0], True)
    for part, size in zip((*plane.window, *stack.window), (600, 700, 40, 600, 700), strict=True):
        assert 0 <= part.start < part.stop <= size


def test_each_class_has_its_colour_and_the_background_none():
    red, blue = SegmentClass("red", "#ff0000"), SegmentClass("blue", "#0000ff")
    colors = class_colors([SegmentClass("background", "#808080"), red, blue]).map([0, 1, 2])
    assert colors[:, 3].tolist() == [0, 1, 1]
    assert colors[1:, :3].tolist() == [[1, 0, 0], [0, 0, 1]]


def test_what_a_run_finds_is_not_taken_for_a_drawing(
    viewer, open_dock, choose, make_model, finish, blobs
):
    viewer.add_image(blobs, name="blobs")
    choose(make_model())
    run, train = open_dock("Run"), open_dock("Train")
    run.run()
    finish(run)
    row = train.pairs.rows[0]
    assert "blobs labels" in viewer.layers and row.labels.layer is None
    drawn = viewer.add_labels(np.zeros(blobs.shape, np.uint8), name="corrections")
    assert row.labels.layer is drawn
    row.labels.set_layer(viewer.layers["blobs labels"])
    viewer.add_labels(np.zeros(blobs.shape, np.uint8), name="others")
    assert row.labels.layer is viewer.layers["blobs labels"], "the user's choice stays"


def test_axes_are_read_from_the_file_of_a_layer(viewer, tmp_path):
    data = np.zeros((2, 32, 32), np.uint8)
    for axes in ("CYX", "TYX"):
        path = tmp_path / f"{axes}.tif"
        tifffile.imwrite(path, data, imagej=True, metadata={"axes": axes})
        (layer,) = viewer.open(path, plugin="napari")
        assert possible_axes(layer)[0] == axes
    tifffile.imwrite(tmp_path / "plain.tif", data)
    (layer,) = viewer.open(tmp_path / "plain.tif", plugin="napari")
    assert possible_axes(layer)[0] == "ZYX"


def test_an_open_file_is_found_again_by_a_relative_path(viewer, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "cells.tif", np.zeros((32, 32), np.uint8))
    monkeypatch.chdir(tmp_path)
    (layer,) = viewer.open("cells.tif", plugin="napari")
    assert add_image_file(viewer, open_image(tmp_path / "cells.tif")) is layer
