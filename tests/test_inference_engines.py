"""Folded, converted and half-precision networks give what plain float32 PyTorch gives."""

import copy
import platform

import numpy as np
import pytest
import torch
from tiny import noise, tiny_model
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.profiler import ProfilerActivity, profile
from zoo_cases import every_case

import napari_segzoo as segzoo
from napari_segzoo.inference.fold import fold_normalization
from napari_segzoo.inference.forward import make_forward, to_labels, torch_engine
from napari_segzoo.inference.kept_memory import kept_memory
from napari_segzoo.inference.onednn import PROCESSORS, OneDnnConv, convolve_by_onednn

CPU = torch.device("cpu")


def settled(network):
    """Give the normalisations statistics of their own, as training does."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return network.eval()


def count_norms(network):
    return sum(isinstance(m, _BatchNorm) for m in network.modules())


def test_bfloat16_runs_where_onednn_has_none(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    network = settled(tiny_model().network)
    converted = convolve_by_onednn(copy.deepcopy(network), torch.bfloat16)
    assert not any(isinstance(m, OneDnnConv) for m in converted.modules())
    x = torch.from_numpy(noise((1, 1, 32, 32)).astype(np.float32))
    compute = torch_engine(network, x.shape, CPU, torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(compute(x).float(), network(x), rtol=0.05, atol=0.1)


@pytest.mark.parametrize(
    "name, ndim, options, left",
    [
        ("unet", 2, {"widths": (4, 8)}, 0),
        ("unet", 3, {"widths": (4, 8), "attention": True}, 0),
        ("unet", 2, {"widths": (4, 8), "norm": "instance"}, 0),
        ("u2netp", 2, {}, 0),
        ("segnet", 2, {}, 0),
        ("deeplabv3plus_resnet50", 2, {}, 0),
        ("fc_densenet56", 2, {}, 49),
        ("hrnet_w18", 2, {}, 0),
    ],
)
def test_folding_changes_nothing_but_rounding(name, ndim, options, left):
    torch.manual_seed(0)
    network = settled(segzoo.create_model(name, ndim=ndim, in_channels=1, num_classes=3, **options))
    norms = count_norms(network)
    tile = tuple(max(32, d) for d in network.divisor)
    folded = fold_normalization(network, 1, tile)
    assert count_norms(network) == norms
    assert count_norms(folded) == left
    x = torch.rand(1, 1, *tile)
    with torch.inference_mode():
        expected, found = network(x), folded(x)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


class Twice(nn.Module):
    """Uses the output of a convolution both before and after its normalisation."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)

    def forward(self, x):
        y = self.conv(x)
        return y + self.norm(y)


class Shared(nn.Module):
    """Normalises two convolutions by one layer."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        return self.norm(self.one(x)) + self.norm(self.two(x))


@pytest.mark.parametrize("build", [Twice, Shared])
def test_a_normalisation_that_cannot_be_folded_stays(build):
    network = settled(build())
    folded = fold_normalization(network, 1, (8, 8))
    assert count_norms(folded) == 1
    x = torch.rand(1, 1, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), network(x))


@every_case
def test_every_network_gives_the_same_by_onednn(case):
    torch.manual_seed(0)
    network = settled(case.build(1, 2))
    x = torch.rand(1, 1, *case.size)
    compute = torch_engine(network, x.shape, CPU, torch.float32)
    with torch.inference_mode():
        expected, found = network(x), compute(x)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.skipif(platform.machine() not in PROCESSORS, reason="oneDNN is for x86 processors")
def test_no_neighbourhoods_are_written_out_and_no_pass_is_spent_on_relu():
    network = settled(tiny_model(3).network)
    x = torch.rand(1, 1, 16, 16, 16)
    compute = torch_engine(network, x.shape, CPU, torch.float32)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        compute(x)
    called = {event.key for event in seen.key_averages()}
    assert "mkldnn::_convolution_pointwise" in called
    assert not called & {"aten::slow_conv3d", "aten::slow_conv3d_forward", "aten::relu_"}


@pytest.mark.skipif(platform.machine() not in PROCESSORS, reason="oneDNN is for x86 processors")
@pytest.mark.parametrize("ndim", [2, 3])
def test_no_pass_is_spent_on_a_residual_sum(ndim):
    network = settled(tiny_model(ndim, residual=True).network)
    x = torch.rand(1, 1, *[16] * ndim)
    compute = torch_engine(network, x.shape, CPU, torch.float32)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        compute(x)
    assert "aten::add" not in {event.key for event in seen.key_averages()}


@pytest.mark.parametrize("precision, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("ndim, norm", [(2, "batch"), (2, "instance"), (3, "batch"), (3, "group")])
def test_residual_sums_are_those_of_plain_pytorch(ndim, norm, precision, tolerance):
    network = settled(tiny_model(ndim, norm=norm, residual=True, widths=(8, 16)).network)
    x = torch.rand(1, 1, *[16] * ndim)
    compute = torch_engine(network, x.shape, CPU, precision)
    with torch.inference_mode():
        expected, found = network(x), compute(x).float()
    assert (found - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("ndim, norm", [(2, "instance"), (3, "batch")])
@pytest.mark.parametrize(
    "engine, precision, tolerance",
    [
        ("torch", torch.float32, 1e-5),
        ("torch", torch.bfloat16, 0.1),
        ("openvino", torch.float32, 1e-5),
        ("openvino", torch.bfloat16, 0.1),
    ],
)
def test_every_engine_gives_the_probabilities_of_plain_pytorch(
    ndim, norm, engine, precision, tolerance
):
    if engine == "openvino":
        pytest.importorskip("openvino")
    network = settled(tiny_model(ndim, in_channels=2, norm=norm).network)
    tiles = noise((1, 2, *(16, 24, 32)[-ndim:]))
    forward = make_forward(
        network, shape=tiles.shape, device=CPU, precision=precision, engine=engine, tta=False
    )
    found = forward(tiles)
    with torch.no_grad():
        expected = network(torch.from_numpy(tiles)).softmax(1)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < tolerance
    same = (found.argmax(1) == expected.argmax(1)).float().mean()
    assert same > (0.9999 if precision == torch.float32 else 0.97)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_mirrored_tiles_are_averaged_by_every_engine(engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    network = settled(tiny_model().network)
    tiles = noise((1, 1, 16, 24))
    forward = make_forward(
        network, shape=tiles.shape, device=CPU, precision=torch.float32, engine=engine, tta=True
    )
    x = torch.from_numpy(tiles)
    with torch.no_grad():
        expected = sum(
            network(x.flip(axes)).softmax(1).flip(axes) for axes in ([], [2], [3], [2, 3])
        )
    torch.testing.assert_close(forward(tiles), expected / 4, atol=1e-5, rtol=0)


@pytest.mark.parametrize("classes", [2, 3, 300])
def test_labels_are_the_first_of_the_largest_scores(classes):
    scores = np.random.default_rng(0).integers(0, 4, (classes, 40, 30)).astype(np.float32)
    labels = to_labels(torch.from_numpy(scores), foreground_only=False)
    np.testing.assert_array_equal(labels, scores.argmax(0))
    assert labels.dtype == (np.uint8 if classes <= 256 else np.uint16)
    foreground = to_labels(torch.from_numpy(scores), foreground_only=True)
    np.testing.assert_array_equal(foreground, scores.argmax(0) > 0)


def test_memory_kept_for_a_run_is_ordinary_memory_again_afterwards():
    with kept_memory():
        inside = torch.ones(1 << 22)
    outside = torch.ones(1 << 22)
    assert inside.sum() == outside.sum() == 1 << 22
