import numpy as np
import pytest
import torch

from napari_segzoo.training.smoothness import DISTANCES, smoothness


def certain(classes, count=2):
    """Logits that leave no doubt about an integer class map."""
    hot = torch.nn.functional.one_hot(torch.as_tensor(classes)[None], count).movedim(-1, 1)
    return 50.0 * hot.float()


def halves(shape):
    image = np.zeros(shape, np.float32)
    image[..., shape[-1] // 2 :] = 1
    return image


@pytest.mark.parametrize("shape", [(32, 32), (16, 32, 32)])
def test_a_border_costs_least_where_the_image_has_one(shape):
    image = torch.from_numpy(halves(shape))[None, None]
    right = smoothness(certain(halves(shape).astype(int)), image)
    moved = smoothness(certain(np.roll(halves(shape), 4, axis=-1).astype(int)), image)
    assert right < moved / 5


def test_one_class_everywhere_costs_nothing():
    image = torch.rand(1, 1, 32, 32)
    assert smoothness(certain(np.ones((32, 32), int)), image) < 1e-6


def test_known_value_on_a_flat_image():
    """Columns alternate: pairs an odd number of columns apart disagree, all others agree."""
    classes = np.indices((16, 16))[1] % 2
    flat = torch.zeros(1, 1, 16, 16)
    offsets = sum(4 for d in DISTANCES if 2 * d <= 16)
    disagreeing = 3  # distance 1 along X and along both diagonals
    assert float(smoothness(certain(classes), flat)) == pytest.approx(disagreeing / offsets)


def test_the_scale_of_intensities_does_not_matter():
    image = torch.rand(1, 2, 24, 24)
    logits = torch.randn(1, 3, 24, 24)
    assert torch.allclose(smoothness(logits, image), smoothness(logits, 7 * image + 3), atol=1e-5)


def test_thin_stacks_have_fewer_pairs_and_finite_gradients():
    logits = torch.randn(2, 3, 1, 16, 16, requires_grad=True)
    smoothness(logits, torch.rand(2, 1, 1, 16, 16)).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0
