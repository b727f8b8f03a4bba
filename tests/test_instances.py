import numpy as np
import pytest

from napari_segzoo.postprocess import separate_objects
from napari_segzoo.training.data import interior_and_border


def discs(*centres, radius=10, shape=(60, 80)):
    ids = np.zeros(shape, int)
    grid = np.indices(shape)
    for n, centre in enumerate(centres, 1):
        away = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        ids[(away <= radius**2) & (ids == 0)] = n
    return ids


def agree(found, true):
    """Whether objects are the same, whatever their numbers, up to a tenth of their voxels."""
    for n in np.unique(true[true > 0]):
        overlap = np.bincount(found[true == n])
        best = overlap[1:].argmax() + 1
        union = ((found == best) | (true == n)).sum()
        if overlap[best] / union < 0.9:
            return False
    return found.max() == true.max()


@pytest.mark.parametrize("shape", [(60, 80), (40, 60, 80)])
def test_touching_objects_are_cut_at_their_necks(shape):
    middle = (20,) * (len(shape) - 2)
    true = discs((*middle, 30, 30), (*middle, 30, 48), shape=shape)
    assert agree(separate_objects((true > 0).astype(np.uint8), "semantic"), true)


def test_objects_of_different_classes_are_different_objects():
    true = discs((30, 25), (30, 55))
    assert agree(separate_objects(true, "semantic"), true)


def test_one_round_object_stays_one():
    true = discs((30, 40), radius=25)
    assert agree(separate_objects((true > 0).astype(np.uint8), "semantic"), true)


def test_a_border_class_cuts_what_a_distance_cannot():
    """Two halves of one square: only the border between them tells them apart."""
    true = np.zeros((40, 60), int)
    true[10:30, 10:30], true[10:30, 30:50] = 1, 2
    assert agree(separate_objects(interior_and_border(true), "instances"), true)
    assert separate_objects((true > 0).astype(np.uint8), "semantic").max() < 2


def test_specks_are_no_objects():
    true = discs((30, 25), (30, 55))
    classes = interior_and_border(true)
    classes[2:4, 2:4] = 1
    assert agree(separate_objects(classes, "instances"), true)


@pytest.mark.parametrize("task", ["semantic", "instances"])
def test_nothing_gives_nothing(task):
    found = separate_objects(np.zeros((9, 9), np.uint8), task)
    assert found.dtype == np.uint32
    assert not found.any()
