"""The fully connected CRF against the sum over all pairs of voxels, and what it is for."""

import numpy as np
import pytest
import torch

from napari_segzoo.postprocess.crf import CRF, DEFAULT, halo, refine_probabilities
from napari_segzoo.postprocess.lattice import PermutohedralLattice


def all_pairs(probabilities, image, crf, spacing):
    """Mean field with both kernels written out as matrices."""
    shape = image.shape[1:]
    axes = torch.meshgrid(
        *(torch.arange(n) * s / min(spacing) for n, s in zip(shape, spacing, strict=True)),
        indexing="ij",
    )
    place = torch.stack(axes).flatten(1).T.double()
    colour = image.flatten(1).T.double()

    def kernel(features):
        matrix = torch.exp(-(torch.cdist(features, features) ** 2) / 2)
        norm = matrix.sum(1).rsqrt()
        return norm[:, None] * matrix * norm

    near = kernel(place / crf.radius)
    alike = kernel(torch.cat([place / crf.reach, colour / crf.contrast], dim=1))
    both = crf.smoothness * near + crf.appearance * alike
    unary = probabilities.double().clamp_min(1e-6).log().flatten(1)
    q = unary.softmax(0)
    for _ in range(crf.iterations):
        q = (unary + q @ both).softmax(0)
    return q.view(probabilities.shape).float()


def blob(shape, classes=3, channels=1, noise=0.03, seed=0):
    """An image of two blobs, and uncertain probabilities that follow it loosely."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    truth = np.zeros(shape, int)
    truth[((grid - 0.35) ** 2).sum(0) < 0.25] = 1
    truth[((grid + 0.45) ** 2).sum(0) < 0.2] = classes - 1
    levels = rng.permutation(np.linspace(0.1, 0.9, classes * channels)).reshape(channels, classes)
    image = levels[:, truth] + rng.normal(0, noise, (channels, *shape))
    logits = 1.2 * (np.arange(classes).reshape(-1, *[1] * len(shape)) == truth)
    logits = logits + rng.normal(0, 1, (classes, *shape))
    p = torch.from_numpy(logits).float().softmax(0)
    return p, torch.from_numpy(image).float(), torch.from_numpy(truth)


@pytest.mark.parametrize(
    ("shape", "channels", "spacing"),
    [
        ((32, 27), 1, (1, 1)),
        ((24, 30), 3, (1, 1)),
        ((8, 13, 12), 1, (1, 1, 1)),
        ((6, 14, 12), 2, (2.5, 1, 1)),
    ],
)
def test_agrees_with_the_sum_over_all_pairs(shape, channels, spacing):
    """Probabilities within 0.05, 0.005 on average, and the same class at 99 of 100 voxels.

    The weights are low, so that the result stays uncertain and errors show.
    """
    p, image, _ = blob(shape, channels=channels, noise=0.05)
    crf = CRF(10.0, contrast=0.1, appearance=1.5, radius=1.5, smoothness=0.5, iterations=5)
    found = refine_probabilities(p, image, crf, spacing)
    expected = all_pairs(p, image, crf, spacing)
    torch.testing.assert_close(found.sum(0), torch.ones(shape))
    assert expected.amax(0).mean() < 0.85
    assert (found - expected).abs().max() < 0.05
    assert (found - expected).abs().mean() < 0.005
    assert (found.argmax(0) == expected.argmax(0)).float().mean() >= 0.99
    assert (expected.argmax(0) != p.argmax(0)).float().mean() > 0.1  # there was much to do


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_lattice_filters_like_a_gaussian(d):
    generator = torch.Generator().manual_seed(d)
    points = torch.rand(400, d, generator=generator) * 3
    values = torch.rand(400, 2, generator=generator)
    lattice = PermutohedralLattice(points)
    found = lattice.filter(values) / lattice.filter(torch.ones(400, 1))
    exact = torch.exp(-(torch.cdist(points, points) ** 2) / 2)
    expected = exact @ values / exact.sum(1, keepdim=True)
    # The spread of the result, beside the spread of what went in.
    assert (found - expected).std() < 0.03 < values.std()
    assert torch.corrcoef(torch.stack([found[:, 0], expected[:, 0]]))[0, 1] > 0.9


def test_the_lattice_is_linear_and_keeps_equal_values():
    points = torch.rand(300, 4, generator=torch.Generator().manual_seed(0)) * 5
    lattice = PermutohedralLattice(points)
    a, b = torch.rand(300, 1), torch.rand(300, 1)
    torch.testing.assert_close(
        lattice.filter(torch.cat([a, 2 * a + b], 1))[:, 1:],
        2 * lattice.filter(a) + lattice.filter(b),
    )
    assert (lattice.filter(torch.ones(300, 1)) > 0).all()


@pytest.mark.parametrize("ndim", [2, 3])
def test_borders_move_to_the_edges_of_the_image(ndim):
    shape = (64, 64) if ndim == 2 else (20, 24, 24)
    p, image, truth = blob(shape, classes=2)
    before = (p.argmax(0) == truth).float().mean()
    after = (refine_probabilities(p, image, DEFAULT[ndim], (1,) * ndim).argmax(0) == truth).float()
    assert before < 0.85 and after.mean() > 0.98


def test_without_pairs_nothing_changes():
    p, image, _ = blob((16, 16))
    crf = CRF(reach=5.0, appearance=0.0, smoothness=0.0)
    torch.testing.assert_close(refine_probabilities(p, image, crf, (1, 1)), p)


def test_flat_images_are_only_smoothed():
    """With nothing to tell voxels apart, a lone voxel yields to its neighbours."""
    p = torch.full((2, 15, 15), 0.1)
    p[0] = 0.9
    p[:, 7, 7] = torch.tensor([0.3, 0.7])
    found = refine_probabilities(p, torch.zeros(1, 15, 15), CRF(reach=5.0), (1, 1))
    assert found.argmax(0).sum() == 0


def test_the_halo_follows_the_voxel_size():
    assert halo(CRF(reach=10.0), (1, 1)) == (20, 20)
    assert halo(CRF(reach=10.0), (4.0, 1.0, 1.0)) == (5, 20, 20)
