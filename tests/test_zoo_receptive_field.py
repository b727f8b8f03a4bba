"""The measured receptive field is the one that changing single voxels shows."""

import pytest
import torch
from torch import nn

from napari_segzoo.zoo import create_model
from napari_segzoo.zoo.receptive_field import reach, receptive_field


class OneLayer(nn.Sequential):
    """A layer that keeps the size, as a network."""

    def __init__(self, *layers: nn.Module, divisor: tuple[int, ...] = (1, 1)) -> None:
        super().__init__(*layers)
        self.divisor = divisor


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (OneLayer(nn.Conv2d(1, 2, 1)), ((0, 0), (0, 0))),
        (OneLayer(nn.Conv2d(1, 2, (3, 5), padding=(1, 2))), ((1, 1), (2, 2))),
        (OneLayer(nn.Conv2d(1, 2, 3, padding=4, dilation=4)), ((4, 4), (4, 4))),
        (OneLayer(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)), ((2, 2), (2, 2))),
        (OneLayer(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), divisor=(2, 2)), ((1, 1), (1, 1))),
        (OneLayer(nn.MaxPool2d(3, 1, 1)), ((1, 1), (1, 1))),
        (OneLayer(nn.ZeroPad2d((2, 0, 0, 1)), nn.Conv2d(1, 1, (2, 3))), ((0, 1), (2, 0))),
        (OneLayer(nn.Conv3d(1, 1, 3, padding=1), divisor=(1, 1, 1)), ((1, 1), (1, 1), (1, 1))),
    ],
)
def test_reach_known_by_hand(network, expected):
    assert reach(network, 1) == expected


@pytest.mark.parametrize(
    "layer",
    [
        nn.InstanceNorm2d(1),
        nn.GroupNorm(1, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.BatchNorm2d(1, track_running_stats=False),
        nn.Sequential(nn.MaxPool2d(2), nn.UpsamplingBilinear2d(scale_factor=2)),
    ],
)
def test_no_bound_where_the_tile_itself_counts(layer):
    network = OneLayer(nn.Conv2d(1, 1, 3, padding=1), layer, divisor=(2, 2))
    assert reach(network, 1) is None
    assert receptive_field(network, 1) is None


def test_attention_over_the_whole_image_is_unbounded():
    class Attention(nn.Module):
        divisor = (1, 1)

        def forward(self, x):
            flat = x.flatten(2)
            weights = torch.softmax(flat.transpose(1, 2) @ flat, dim=-1)
            return (flat @ weights).reshape(x.shape)

    assert reach(Attention(), 1) is None


def reach_by_changing_voxels(network: nn.Module, axis: int, size: int) -> tuple[int, int]:
    """Reach along an axis, from the outputs that a change of each voxel moves."""
    ndim = len(network.divisor)
    shape = [network.divisor[a] for a in range(ndim)]
    shape[axis] = size
    x = torch.rand(1, 1, *shape, dtype=torch.float64)
    before = after = 0
    with torch.no_grad():
        base = network(x)
        for position in range(size // 3, size // 3 + 2 * network.divisor[axis]):
            changed = x.clone()
            changed.select(2 + axis, position).add_(torch.rand(()) + 0.5)
            moved = (network(changed) != base).movedim(2 + axis, 0).flatten(1).any(1).nonzero()
            before = max(before, int(moved.max()) - position)
            after = max(after, position - int(moved.min()))
    return before, after


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"widths": (4, 8, 16)},
        {"widths": (4, 8, 16), "upsampling": "linear"},
        {"widths": (4, 8), "residual": True, "norm": "none"},
    ],
)
def test_reach_is_what_changing_voxels_shows(ndim, options):
    torch.manual_seed(0)
    network = create_model("unet", ndim=ndim, in_channels=1, num_classes=2, **options)
    network.eval().double()
    before, after = reach(network, 1)[0]
    observed = reach_by_changing_voxels(network, 0, 128)
    # A dead ReLU or a voxel that is no maximum can hide an influence, never add one.
    assert observed[0] <= before <= observed[0] + 1
    assert observed[1] <= after <= observed[1] + 1


def test_reach_is_per_axis():
    strides = ((1, 2, 2), 2)
    network = create_model(
        "unet", ndim=3, in_channels=1, num_classes=2, widths=(4, 8, 16), strides=strides
    )
    assert network.divisor == (2, 4, 4)
    (z, y, x) = reach(network, 1)
    assert y == x
    assert z[0] < y[0]


def test_measuring_changes_nothing():
    torch.manual_seed(0)
    network = create_model("unet", ndim=2, in_channels=3, num_classes=2, widths=(4, 8)).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    reach(network, 3)
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_field_is_reach_on_both_sides_of_one_voxel():
    network = OneLayer(nn.Conv2d(1, 1, 5, padding=2), nn.Conv2d(1, 1, 3, padding=1))
    assert receptive_field(network, 1) == (7, 7)
