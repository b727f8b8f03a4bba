import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_segzoo.training.augment import (
    Augmentation,
    _nearest,
    change_intensity,
    draw_centre,
    sample_patch,
)
from napari_segzoo.training.data import IGNORE, training_image

STILL = Augmentation(
    turn=0.0, flip=False, scale=1.0, elastic=0.0, gain=0.0, offset=0.0, gamma=1.0, noise=0.0,
    blur=0.0,
)  # fmt: skip


def item(shape, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(-1, 3, shape).astype(np.int8)
    return training_image(rng.random((2, *shape), dtype=np.float32), target)


@pytest.mark.parametrize("shape, patch", [((20, 24), (8, 8)), ((10, 20, 24), (4, 8, 6))])
def test_without_changes_a_patch_is_a_crop(shape, patch):
    source = item(shape)
    corner = np.array([n // 3 for n in shape])
    middle = corner + (np.array(patch) - 1) / 2

    class Centred:
        def uniform(self, low, high, size=None):
            return np.zeros(size) if size else 0.0

    image, target, _ = sample_patch(source, middle, patch, STILL, Centred())
    where = tuple(slice(c, c + n) for c, n in zip(corner, patch, strict=True))
    np.testing.assert_allclose(image, source.image[(slice(None), *where)], atol=1e-4)
    np.testing.assert_array_equal(target, source.target[where])


@pytest.mark.parametrize("shape, patch", [((30, 40), (16, 16)), ((9, 30, 40), (8, 16, 16))])
def test_changed_patches_hold_known_labels_only(shape, patch):
    source, rng = item(shape), np.random.default_rng(1)
    for _ in range(20):
        chosen, centre = draw_centre([source], [0, 1, 2], rng)
        image, target, _ = sample_patch(chosen, centre, patch, Augmentation(), rng)
        assert image.shape == (2, *patch)
        assert target.shape == patch
        assert set(target.unique().tolist()) <= {IGNORE, 0, 1, 2}
        assert torch.isfinite(change_intensity(image, Augmentation(), rng)).all()


def test_what_lies_outside_the_image_is_unknown():
    source = item((6, 6))
    _, target, _ = sample_patch(source, np.array([3, 3]), (16, 16), STILL, np.random.default_rng(0))
    assert (target == IGNORE).sum() >= 16 * 16 - 6 * 6


@pytest.mark.parametrize("shape", [(40, 30), (7, 5), (1, 30), (6, 20, 24), (1, 20, 9)])
def test_labels_are_those_of_the_nearest_voxel(shape):
    """PyTorch's own look-up, which turns the whole image into floats, finds the same."""
    source, rng = item(shape), np.random.default_rng(3)
    where = torch.from_numpy(rng.uniform(-4, np.add(shape, 4), (*(8,) * len(shape), len(shape))))
    extent = torch.tensor([max(n - 1, 1) for n in shape])
    grid = (2 * where / extent - 1).flip(-1)[None]
    known = (source.target.double() - IGNORE)[None, None]
    wanted = F.grid_sample(known, grid, mode="nearest", align_corners=True)[0, 0] + IGNORE
    np.testing.assert_array_equal(_nearest(source.target, where), wanted)


def test_image_and_labels_move_together():
    """Where the label is drawn as the image's own threshold, it stays so after any change."""
    rng = np.random.default_rng(0)
    bright = np.zeros((64, 64), bool)
    bright[16:48, 24:56] = True
    source = training_image(bright[None].astype(np.float32), bright.astype(np.int8))
    for _ in range(20):
        image, target, _ = sample_patch(source, np.array([32, 40]), (32, 32), Augmentation(), rng)
        known = target != IGNORE
        clear = known & ((image[0] < 0.05) | (image[0] > 0.95))
        assert ((image[0] > 0.5) == (target == 1))[clear].all()


def test_classes_are_drawn_evenly_however_rare():
    target = np.zeros((50, 50), np.int8)
    target[0, 0] = 1
    source = training_image(np.zeros((1, 50, 50), np.float32), target)
    rng = np.random.default_rng(0)
    rare = sum((draw_centre([source], [0, 1], rng)[1] == 0).all() for _ in range(400))
    assert 150 < rare < 250
