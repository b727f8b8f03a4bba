"""Which image a dock begins with, and which labels belong to it."""

import numpy as np
import pytest

from napari_segzoo.widgets.uncover import topmost_visible


@pytest.fixture
def plates(viewer):
    return [viewer.add_image(np.zeros((64, 64)), name=f"plate {n}") for n in range(3)]


def test_a_dock_begins_with_the_selected_image(viewer, open_dock, plates):
    viewer.layers.selection.active = plates[1]
    assert open_dock("Run").form.image.layer is plates[1]
    assert open_dock("Train").pairs.rows[0].image.layer is plates[1]


def test_without_a_selected_image_a_dock_begins_with_the_lowest(viewer, open_dock, plates):
    viewer.layers.selection.active = viewer.add_points([[1, 1]])
    assert open_dock("Run").form.image.layer is plates[0]


def test_labels_follow_the_image_that_they_were_drawn_on(viewer, open_dock, plates):
    viewer.layers.selection.active = plates[0]
    pairs = open_dock("Train").pairs
    row = pairs.rows[0]
    first = pairs.add_labels()
    row.image.set_layer(plates[1])
    assert row.labels.layer is None
    viewer.add_image(np.zeros((64, 64)), name="one more")
    assert row.labels.layer is None
    second = pairs.add_labels()
    row.image.set_layer(plates[0])
    assert row.labels.layer is first
    row.image.set_layer(plates[1])
    assert row.labels.layer is second


def test_labels_from_elsewhere_stay_when_another_image_is_shown(viewer, open_dock, plates):
    labels = viewer.add_labels(np.ones((64, 64), int))
    row = open_dock("Train").pairs.rows[0]
    row.image.set_layer(plates[2])
    assert row.labels.layer is labels


def test_a_drawing_outlives_its_image(viewer, open_dock, plates):
    viewer.layers.selection.active = plates[0]
    pairs = open_dock("Train").pairs
    drawn = pairs.add_labels()
    viewer.layers.remove(plates[0])
    assert pairs.rows[0].labels.layer is drawn


def test_one_more_pair_shows_one_more_image(viewer, open_dock, plates):
    viewer.layers.selection.active = plates[1]
    pairs = open_dock("Train").pairs
    pairs.add_labels()
    for _ in range(3):
        pairs.add_pair()
    shown = [row.image.layer for row in pairs.rows]
    assert shown[:3] == [plates[1], plates[0], plates[2]]
    assert shown[3] in plates
    assert [row.labels.layer for row in pairs.rows[1:3]] == [None, None]


def test_new_labels_bring_their_image_to_sight(viewer, open_dock, plates):
    viewer.layers.selection.active = plates[2]
    pairs = open_dock("Train").pairs
    above = pairs.add_labels()
    aside = viewer.add_image(np.zeros((64, 64)), name="aside", translate=(0, 100))
    channel = viewer.add_image(np.zeros((64, 64)), name="channel", blending="additive")
    pairs.rows[0].image.set_layer(plates[0])
    drawn = pairs.add_labels()
    assert [layer.visible for layer in plates] == [True, False, False]
    assert not above.visible and drawn.visible
    assert aside.visible and channel.visible


def test_new_labels_are_not_added_twice(viewer, open_dock, plates):
    pairs = open_dock("Train").pairs
    first = pairs.add_labels()
    assert pairs.add_labels() is first
    first.data[3, 3] = 1
    assert pairs.add_labels() is not first


def test_a_drawing_is_shown_where_something_is_drawn(viewer, open_dock):
    viewer.add_image(np.zeros((9, 64, 64)))
    pairs = open_dock("Train").pairs
    drawn = np.zeros((9, 64, 64), np.uint8)
    drawn[7, 4] = 2
    pairs.add_drawing(pairs.rows[0], drawn)
    assert viewer.dims.current_step[0] == 7


def test_the_preview_is_of_the_topmost_visible_image(viewer, plates):
    plates[2].visible = False
    assert topmost_visible(viewer, [plates[2], plates[1], plates[0]]) is plates[1]
    for plate in plates:
        plate.visible = False
    assert topmost_visible(viewer, plates[:2]) is plates[1]
