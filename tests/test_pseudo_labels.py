"""Pseudo-labels: what a network makes of its own training images, as a target."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_segzoo.training import pseudo_labels
from napari_segzoo.training.augment import Augmentation, sample_patch
from napari_segzoo.training.batch import Batch, draw_batch
from napari_segzoo.training.data import IGNORE, training_image
from napari_segzoo.training.pseudo_labels import PseudoLabels
from napari_segzoo.training.undrawn import GROWING, UndrawnLoss

CPU = torch.device("cpu")


def checkerboard(shape, side=16):
    """Two channels, of which one is 4 in every other square and the other elsewhere."""
    odd = np.indices(shape) // side
    odd = odd.sum(axis=0) % 2
    target = np.full(shape, IGNORE, np.int8)
    target.flat[0], target.flat[-1] = 0, 1
    return training_image(4 * np.stack([odd == 0, odd == 1]).astype(np.float32), target)


def make(items):
    return PseudoLabels(items, 2, (1,) * items[0].target.ndim, torch.float32)


def look(found, step=16, stop=lambda: False):
    found.look(step, torch.nn.Identity(), CPU, stop)


@pytest.mark.parametrize("shape", [(70, 41), (18, 33, 20)])
@pytest.mark.parametrize("divisor", [1, 16])
def test_windows_make_up_the_probabilities_of_the_whole_image(monkeypatch, shape, divisor):
    monkeypatch.setattr(pseudo_labels, "WINDOW", 16)
    monkeypatch.setattr(pseudo_labels, "CONTEXT", 4)
    item = checkerboard(shape)
    found = PseudoLabels([item], 2, (divisor,) * len(shape), torch.float32)
    look(found)
    guess = found.items[0].guess
    assert guess.shape == (2, *shape)
    torch.testing.assert_close(guess.sum(dim=0), torch.ones(shape))
    assert (guess.argmax(dim=0) == item.image.argmax(dim=0)).all()
    inner = tuple(slice(2, 14) for _ in shape)
    expected = torch.softmax(item.image, dim=0)[(slice(None), *inner)]
    torch.testing.assert_close(guess[(slice(None), *inner)], expected)


def test_a_look_has_room_for_so_much_and_the_next_goes_on(monkeypatch):
    monkeypatch.setattr(pseudo_labels, "WINDOW", 32)
    monkeypatch.setattr(pseudo_labels, "ROOM", 32 * 64)
    found = make([checkerboard((64, 64)), checkerboard((32, 64))])
    seen = []
    for _ in range(3):
        look(found)
        seen.append([int((item.guess.sum(dim=0) > 0).sum()) for item in found.items])
    assert seen == [[32 * 64, 0], [64 * 64, 0], [64 * 64, 32 * 64]]


def test_a_stop_ends_a_look():
    found = make([checkerboard((32, 32))])
    look(found, stop=lambda: True)
    assert not found.items[0].guess.any()


@pytest.mark.parametrize("begun, at_once", [(0, []), (100, [0])])
def test_looks_become_rarer(begun, at_once):
    item = checkerboard((16, 16))
    found = PseudoLabels([item], 2, (1, 1), torch.float32, begun)
    steps = []
    for step in range(begun, begun + 200):
        if found.due(step):
            look(found, step)
            steps.append(step - begun)
    assert steps == [*at_once, 16, 32, 48, 64, 85, 113, 151]


def test_a_patch_shows_the_same_place_of_image_and_probabilities():
    item = checkerboard((64, 64))
    item = replace(item, guess=item.image / 4)
    rng = np.random.default_rng(0)
    for _ in range(5):
        image, _, guess = sample_patch(item, np.array([30, 30]), (32, 32), Augmentation(), rng)
        torch.testing.assert_close(guess, image / 4)


def test_batches_have_pseudo_labels_if_images_do():
    rng = np.random.default_rng(0)
    item = checkerboard((32, 32))
    assert draw_batch([item], [0, 1], (16, 16), 3, Augmentation(), rng).guess is None
    found = make([item])
    batch = draw_batch(found.items, [0, 1], (16, 16), 3, Augmentation(), rng)
    assert batch.guess.shape == (3, 2, 16, 16)


def test_pseudo_labels_count_where_there_are_some_and_nothing_is_drawn():
    torch.manual_seed(0)
    logits = torch.rand(1, 2, 3, 4, requires_grad=True)
    target = torch.full((1, 3, 4), IGNORE)
    target[0, 0] = 1
    guess = torch.softmax(torch.rand(1, 2, 3, 4), dim=1)
    guess[:, :, 1] = 0
    loss = UndrawnLoss(keep=2.0)
    assert loss.wants_guesses
    batch = Batch(logits, logits, target, guess)
    values = [loss(logits, batch, torch.float32) for _ in range(GROWING + 2)]
    surplus = F.kl_div(F.log_softmax(logits, dim=1), guess, reduction="none")
    expected = 2 * surplus.sum(dim=1)[0, 2].mean()
    torch.testing.assert_close(values[0], expected / GROWING)
    torch.testing.assert_close(values[-1], expected)
    values[-1].backward()
    assert logits.grad[0, :, 2].all()
    assert not logits.grad[0, :, :2].any()
    assert loss(logits, Batch(logits, logits, target, None), torch.float32) == 0
