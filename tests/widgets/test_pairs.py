"""Which image a dock begins with, and which labels belong to it."""

import numpy as np
import pytest


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
