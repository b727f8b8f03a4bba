"""Losses: values worked by hand, agreement with PyTorch, and voxels that must not count."""

import math

import pytest
import torch
from torch.nn import functional as F

from napari_segzoo import InputError, create_model
from napari_segzoo.training.boundary import distance_to_other_class
from napari_segzoo.training.data import IGNORE
from napari_segzoo.training.losses import (
    LOSSES,
    binary_cross_entropy,
    boundary,
    cross_entropy,
    focal,
    frequency_weights,
    make_loss,
    soft_dice,
    total_loss,
    tversky,
)

WEIGHTS = torch.tensor([0.5, 1.0, 3.0])


def example(ndim, classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(ndim)
    size = (5, 6, 7)[:ndim]
    logits = torch.randn(2, classes, *size, generator=generator, dtype=dtype) * 2
    target = torch.randint(0, classes, (2, *size), generator=generator)
    hidden = torch.rand(target.shape, generator=generator) < 0.3
    return logits, torch.where(hidden, IGNORE, target)


def by_name(name):
    weights = WEIGHTS.double() if name == "weighted_cross_entropy" else None
    return make_loss(name, weights=weights)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_hidden_voxels_change_neither_value_nor_gradient(name, ndim):
    logits, target = example(ndim)
    hidden = (target == IGNORE).unsqueeze(1)
    other = torch.where(hidden, 5 - 3 * logits, logits)
    values, gradients = [], []
    for x in (logits, other):
        x = x.clone().requires_grad_()
        loss = by_name(name)(x, target)
        loss.backward()
        values.append(float(loss.detach()))
        gradients.append(x.grad)
    assert values[0] == values[1] > 0
    assert torch.equal(gradients[0], gradients[1])
    assert (gradients[0].masked_select(hidden.expand_as(logits)) == 0).all()
    assert (gradients[0].masked_select(~hidden.expand_as(logits)) != 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_finite_differences(name):
    logits, target = example(2)
    logits, target = logits[:, :, :3, :3].contiguous(), target[:, :3, :3].contiguous()
    assert torch.autograd.gradcheck(lambda x: by_name(name)(x, target), logits.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_is_a_loss_of_zero_that_can_be_trained_on(name):
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = make_loss(name, weights=WEIGHTS if name.startswith("weighted") else None)
    value = loss(logits, torch.full((1, 4, 4), IGNORE))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_sure_and_right_network_has_no_loss_and_a_wrong_one_has(name):
    target = torch.tensor([[[0, 1], [2, 1]]])
    right = F.one_hot(target, 3).movedim(-1, 1) * 50.0
    loss = make_loss(name, weights=WEIGHTS if name.startswith("weighted") else None)
    assert loss(right, target) < 1e-6
    assert loss(-right, target) > 0.4


@pytest.mark.parametrize("ndim", [2, 3])
def test_cross_entropies_are_those_of_pytorch(ndim):
    logits, target = example(ndim)
    for weights in (None, WEIGHTS.double()):
        expected = F.cross_entropy(logits, target, weights, ignore_index=IGNORE)
        torch.testing.assert_close(cross_entropy(logits, target, weights), expected)
    torch.testing.assert_close(
        focal(logits, target, gamma=0.0), F.cross_entropy(logits, target, ignore_index=IGNORE)
    )


def test_focal_by_hand():
    # Logits of equal size: the probability of the true class is 1/2.
    logits, target = torch.zeros(1, 2, 1, 3), torch.tensor([[[0, 1, IGNORE]]])
    assert float(focal(logits, target)) == pytest.approx(0.25 * math.log(2))


def test_binary_cross_entropy_is_that_of_the_softmax_probabilities():
    logits, target = example(2)
    p = logits.softmax(1)
    known = target != IGNORE
    wanted = F.one_hot(target.clamp_min(0), 3).movedim(-1, 1).double()
    expected = F.binary_cross_entropy(p, wanted, reduction="none").mean(1)[known].mean()
    torch.testing.assert_close(binary_cross_entropy(logits, target), expected)


def test_binary_cross_entropy_of_two_classes_and_of_one_logit_is_pytorchs():
    logits, target = example(3, classes=2)
    known = target != IGNORE
    margin = logits[:, 1:] - logits[:, :1]
    expected = F.binary_cross_entropy_with_logits(margin[:, 0][known], target[known].double())
    torch.testing.assert_close(binary_cross_entropy(logits, target), expected)
    torch.testing.assert_close(binary_cross_entropy(margin, target), expected)


def test_binary_cross_entropy_stays_finite_for_a_network_that_is_sure_and_wrong():
    logits = torch.tensor([[200.0, 0.0, -200.0]]).view(1, 3, 1, 1).requires_grad_()
    loss = binary_cross_entropy(logits, torch.tensor([[[2]]]))
    loss.backward()
    # Class 0 is wrong by 200, class 2 by 400, class 1 is right.
    assert float(loss.detach()) == pytest.approx(600 / 3)
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] < 0 < logits.grad[0, 0]


def test_soft_dice_by_hand():
    # Probabilities of class 1: 3/4 and 1/4; target 1, 0. Both classes: overlap 3/4, volumes 1.
    logits = torch.tensor([[[[0.0, math.log(3)]], [[math.log(3), 0.0]]]])
    target = torch.tensor([[[1, 0]]])
    assert float(soft_dice(logits, target)) == pytest.approx(1 - (1.5 + 1) / (1 + 1 + 1))
    assert float(soft_dice(logits, target, smooth=0.0)) == pytest.approx(1 - 0.75)


def test_tversky_by_hand_and_as_dice():
    logits = torch.tensor([[[[0.0, math.log(3)]], [[math.log(3), 0.0]]]])
    target = torch.tensor([[[1, 0]]])
    # Each class: hits 3/4, false alarms 1/4, misses 1/4.
    expected = 1 - (0.75 + 1) / (0.75 + 0.3 * 0.25 + 0.7 * 0.25 + 1)
    assert float(tversky(logits, target)) == pytest.approx(expected)
    logits, target = example(3)
    torch.testing.assert_close(
        tversky(logits, target, 0.5, 0.5, smooth=0.5), soft_dice(logits, target, smooth=1.0)
    )


def test_misses_cost_more_than_false_alarms_in_tversky():
    target = torch.tensor([[[1] * 5 + [0] * 15]])

    def loss(found):
        p = (torch.arange(20) < found).float().view(1, 1, 20) * 40 - 20
        return float(tversky(torch.stack([-p, p], 1), target, smooth=0.0))

    missed = 1 - (4 / (4 + 0.7) + 15 / (15 + 0.3)) / 2
    assert loss(4) == pytest.approx(missed, abs=1e-6)
    assert loss(5) < 1e-6
    assert loss(6) < loss(4)


def test_distance_agrees_with_scipy():
    from scipy.ndimage import distance_transform_edt

    generator = torch.Generator().manual_seed(0)
    for ndim in (2, 3):
        blocks = torch.randint(0, 3, (1, 1, *(3,) * ndim), generator=generator).float()
        target = F.interpolate(blocks, scale_factor=5)[0].long()
        target[:, 6:9] = IGNORE
        found = distance_to_other_class(target, 6)[0]
        for value in range(3):
            others = ((target != value) & (target != IGNORE))[0]
            expected = torch.from_numpy(distance_transform_edt(~others.numpy())).float()
            here = (target == value)[0] & (expected <= 6)
            torch.testing.assert_close(found[here], expected[here])
            assert found[(target == value)[0] & (expected > 6)].isinf().all()
        assert found[(target == IGNORE)[0]].isinf().all()


def test_boundary_weights_by_hand():
    # One row 0 0 1: distances 2, 1, 1 to the other class; probabilities 1/2 but at the first.
    target = torch.tensor([[[0, 0, 1]]])
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 0, 0, 0] = math.log(3)
    near, far = 1 + 10 * math.exp(-1 / 50), 1 + 10 * math.exp(-4 / 50)
    expected = (far * math.log(4 / 3) + 2 * near * math.log(2)) / (far + 2 * near)
    assert float(boundary(logits, target)) == pytest.approx(expected)


def test_boundary_without_a_boundary_is_cross_entropy():
    logits, _ = example(2)
    target = torch.ones(2, 5, 6, dtype=torch.int64)
    torch.testing.assert_close(boundary(logits, target), cross_entropy(logits, target))


def test_frequency_weights_are_median_over_frequency():
    assert frequency_weights([8, 2, 4]).tolist() == [0.5, 2.0, 1.0]
    assert frequency_weights([8, 0, 2]).tolist() == [5 / 8, 0.0, 2.5]
    with pytest.raises(InputError):
        frequency_weights([0, 0])


def test_frequencies_are_those_in_images_that_hold_the_class():
    """Voxels 8, 2 and 4 in images of 32, 8 and 8: frequencies 1/4, 1/4 and 1/2."""
    assert frequency_weights([8, 2, 4], [32, 8, 8]).tolist() == [1.0, 1.0, 0.5]
    assert frequency_weights([8, 0, 2], [16, 0, 8]).tolist() == [0.75, 0.0, 1.5]


def test_names():
    with pytest.raises(InputError, match="did you mean 'dice'"):
        make_loss("dicee")
    with pytest.raises(InputError, match="one weight per class"):
        make_loss("weighted_cross_entropy")
    with pytest.raises(InputError, match="not for dice"):
        make_loss("dice", weights=WEIGHTS)


def test_side_outputs_count_with_their_weights():
    torch.manual_seed(0)
    network = create_model(
        "unetpp", ndim=2, in_channels=1, num_classes=2, widths=(4, 8, 8), deep_supervision=True
    )
    x, target = torch.randn(1, 1, 8, 8), torch.randint(0, 2, (1, 8, 8))
    network.output_weights = (1.0, 0.5, 0.25)
    main, deep, shallow = (float(cross_entropy(y, target)) for y in network.outputs(x))
    found = total_loss(network, x, target, cross_entropy, torch.float32)
    assert float(found) == pytest.approx(main + 0.5 * deep + 0.25 * shallow)
    found.backward()
    assert all(p.grad is not None for p in network.parameters())


def test_a_network_without_side_outputs_has_the_plain_loss():
    network = torch.nn.Conv2d(1, 2, 1)
    x, target = torch.randn(1, 1, 4, 4), torch.randint(0, 2, (1, 4, 4))
    found = total_loss(network, x, target, cross_entropy, torch.float32)
    assert torch.equal(found, cross_entropy(network(x), target))
