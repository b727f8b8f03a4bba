"""The map of errors says of each voxel how the prediction fares there."""

import numpy as np
import pytest

from napari_segzoo.errors import InputError
from napari_segzoo.metrics.overlay import error_map

REFERENCE = np.array([[0, 0, 1, 1], [2, 2, 9, 0]])
PREDICTION = np.array([[0, 1, 1, 0], [2, 1, 1, 3]], np.uint8)


def test_every_outcome():
    expected = [[0, 2, 1, 3], [1, 4, 4, 2]]
    assert error_map(REFERENCE, PREDICTION).tolist() == expected


def test_object_numbers_are_not_compared():
    assert error_map(REFERENCE, PREDICTION, task="instances").tolist() == [
        [0, 2, 1, 3],
        [1, 1, 1, 2],
    ]


def test_ignored_voxels_are_left_blank():
    assert error_map(REFERENCE, PREDICTION, ignore=9)[1, 2] == 0


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"\(2, 4\).*\(2, 3\)"):
        error_map(REFERENCE, PREDICTION[:, :3])
